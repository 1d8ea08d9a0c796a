//! The Slack message of a digest: many failures in one message. Pure.

use serde_json::{Value, json};

use super::message::{list, mrkdwn, time, whole};
use super::text::{code, plain};
use crate::contract::digest::{Failed, Gathered};

const HEADER: usize = 150;
/// Maximum length of an id or text in a line.
const VALUE: usize = 220;

/// Returns the message about all gathered failures.
pub(crate) fn digest(gathered: &Gathered) -> Value {
    let title = gathered.title();
    let counts = gathered.codes.iter();
    let counts = counts.map(|(word, count)| format!("{} {count}", code(word, VALUE)));
    let reported = gathered.first.len() as u64;
    let heading = if gathered.total > reported {
        format!("*The first {reported}*")
    } else {
        "*Requests*".to_owned()
    };
    let blocks = vec![
        json!({
            "type": "header",
            "text": {"type": "plain_text", "text": plain(&title, HEADER), "emoji": false},
        }),
        list("*By code*", counts),
        list(&heading, gathered.first.iter().map(line)),
        json!({
            "type": "context",
            "elements": [mrkdwn("`genflow status ID` shows more about a request")],
        }),
    ];
    whole(&title, &blocks)
}

fn line(failed: &Failed) -> String {
    let Failed {
        event_id: _,
        request_id,
        user_id,
        code: word,
        message,
        occurred_at,
    } = failed;
    format!(
        "{} of {} at {}: {} {}",
        code(request_id, VALUE),
        code(user_id, VALUE),
        time(*occurred_at),
        code(word, VALUE),
        code(message, VALUE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::digest::tests::{failed, gathered};
    use crate::roles::notifier::slack::message::tests::check;

    #[test]
    fn one_failure_is_told_of_by_its_id() {
        let reported = digest(&gathered(1));

        check(&reported);
        assert_eq!(reported["text"], "Request failed: order-0");
        assert_eq!(
            reported["blocks"][1]["text"]["text"],
            "*By code*\n`content_policy` 1"
        );
        let line = reported["blocks"][2]["text"]["text"].as_str().unwrap();
        assert!(line.starts_with("*Requests*\n`order-0` of `alice` at <!date^1700000000^"));
        assert!(
            line.ends_with("`content_policy` `the prompt was &lt;refused&gt;`"),
            "{line}"
        );
    }

    #[test]
    fn many_failures_fit_into_one_message() {
        let mut many = gathered(5000);
        for failed in &mut many.first {
            failed.message = "&".repeat(200);
            failed.user_id = "<!channel>".repeat(12);
        }
        (0..60).for_each(|at| many.add(failed(at, &"c".repeat(at * 10))));

        let reported = digest(&many);

        check(&reported);
        assert_eq!(reported["text"], "5060 requests failed");
        let listed = reported["blocks"][2]["text"]["text"].as_str().unwrap();
        assert!(listed.starts_with("*The first 20*\n") && listed.ends_with(" more"));
    }
}
