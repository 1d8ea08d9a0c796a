//! The text of a failure digest, which the mail and the Slack message are made from. Pure.

use super::wording::{line, moment};
use crate::contract::digest::{FailedRequest, FailedRequests};

/// A digest for people, in lines without markup.
#[derive(Debug)]
pub(super) struct DigestText {
    /// Such as `3 requests failed`.
    pub(super) title: String,
    /// How many failures there are of each code.
    pub(super) codes: Vec<String>,
    /// The failures that came first.
    pub(super) first: Vec<String>,
    /// Number of failures that are not listed.
    pub(super) more: u64,
    /// Identifies this digest: another one has other events, or another number of them.
    pub(super) id: String,
}

/// What operators can do to learn more about a failure.
pub(super) const ADVICE: &str = "`genflow status ID` shows more about a request.";
/// Longest id or message, in characters.
const LONGEST: usize = 200;

impl DigestText {
    pub(super) fn of(failures: &FailedRequests) -> Self {
        let FailedRequests {
            total,
            codes,
            first,
        } = failures;
        let title = match &first[..] {
            [only] if *total == 1 => {
                format!("Request failed: {}", line(&only.request_id, LONGEST))
            }
            _ => format!("{total} requests failed"),
        };
        let codes = codes
            .iter()
            .map(|(code, count)| format!("{count} x {code}"));
        let events: Vec<_> = first.iter().map(|failed| &failed.event_id).collect();
        Self {
            title,
            codes: codes.collect(),
            first: first.iter().map(of_failure).collect(),
            more: total.saturating_sub(first.len() as u64),
            // The ids in quotes, so that one with a separator in it does not look like two.
            id: format!("{total} {events:?}"),
        }
    }

    /// Returns the whole digest as plain text.
    pub(super) fn plain(&self) -> String {
        let mut parts = vec![
            self.title.clone(),
            self.codes.join("\n"),
            self.first.join("\n"),
        ];
        if self.more > 0 {
            parts.push(format!("and {} more", self.more));
        }
        parts.push(ADVICE.to_owned());
        parts.join("\n\n")
    }
}

fn of_failure(failed: &FailedRequest) -> String {
    let short = |text: &str| line(text, LONGEST);
    format!(
        "{}  {} of {}, {}: {}",
        moment(failed.occurred_at),
        short(&failed.request_id),
        short(&failed.user_id),
        failed.code,
        short(&failed.message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::digest::tests::{failed, failures};

    #[test]
    fn many_failures_are_counts_and_the_first_ones() {
        let text = DigestText::of(&failures(5000)).plain();

        assert!(text.starts_with("5000 requests failed\n\n2500 x content_policy\n"));
        assert!(text.contains(
            "2023-11-14 22:13 UTC  order-19 of alice, timed_out: the prompt was <refused>\n\nand 4980 more\n"
        ));
        assert!(!text.contains("order-20"));
    }

    #[test]
    fn one_failure_is_named_in_the_title() {
        let text = DigestText::of(&failures(1));

        assert_eq!(text.title, "Request failed: order-0");
        assert_eq!(text.more, 0);
    }

    #[test]
    fn one_message_has_one_id_and_another_has_another() {
        let id = |failures: &FailedRequests| DigestText::of(failures).id;

        assert_eq!(id(&failures(3)), id(&failures(3)));
        assert_ne!(id(&failures(30)), id(&failures(31)));
        assert_ne!(id(&failures(1)), id(&failed(7, "timed_out").into()));
        let mut other = failures(2);
        other.append(failed(7, "timed_out").into());
        assert_ne!(id(&failures(3)), id(&other), "the first event is the same");
    }
}
