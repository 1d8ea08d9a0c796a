//! Writes a record to a dead-letter topic, with its headers (contract, section 4).

use ring::digest;

use super::{BoxError, Rejection};
use crate::contract::headers::API_KEY;
use crate::domain::error_chain::causes;
use crate::domain::hex;
use crate::engines::kafka::producer;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::{Headers, Record};
use crate::engines::telemetry::events;

/// The prefix of our headers. A redriven record may still have some; they are replaced.
const PREFIX: &str = "dlq.";
const LONGEST_ERROR: usize = 1000;
const TRUNCATED: &str = "dlq.truncated";

/// Publishes a record on the dead-letter topic `topic`, and returns when the brokers have acknowledged it.
pub(super) async fn publish(
    producer: &Producer,
    topic: &str,
    group: &str,
    record: &Record,
    rejection: &Rejection,
) -> Result<(), BoxError> {
    let message = Message {
        topic,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: headers(record, rejection, group),
    };
    // One record must not block a partition: a record too large even for this topic goes without its value, and if it
    // is still too large, without its key and its own headers.
    let whole = message.clone();
    let (cut, bare) = (without_value(&whole), bare(&whole));
    for (message, is_cut) in [(message, false), (cut, true), (bare, true)] {
        match producer.send(message).await {
            Err(producer::Error::TooLarge { .. }) => {}
            sent => {
                sent?;
                if is_cut {
                    events::record_truncated(&record.position);
                }
                return Ok(());
            }
        }
    }
    Err("the dead-letter topic refuses even a record without key and value: raise its max.message.bytes".into())
}

/// Returns the headers of a dead letter: the reason, the origin, and the record's own headers without credentials.
fn headers(record: &Record, rejection: &Rejection, group: &str) -> Headers {
    let attempts = record
        .header("dlq.attempts")
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(0);
    let error: String = causes(rejection.error.as_ref())
        .chars()
        .take(LONGEST_ERROR)
        .collect();
    let position = &record.position;
    let ours = [
        ("dlq.reason", rejection.reason.as_str().to_owned()),
        ("dlq.error", error),
        ("dlq.original.topic", position.topic.clone()),
        ("dlq.original.partition", position.partition.to_string()),
        ("dlq.original.offset", position.offset.to_string()),
        (
            "dlq.original.timestamp",
            record.timestamp.unwrap_or(-1).to_string(),
        ),
        ("dlq.attempts", (attempts + 1).to_string()),
        ("dlq.group", group.to_owned()),
    ];
    let own = record
        .headers
        .iter()
        .filter(|(name, _)| !is_credential(name) && !name.starts_with(PREFIX))
        .cloned();
    ours.into_iter()
        .map(|(name, text)| (name.to_owned(), Some(text.into_bytes())))
        .chain(own)
        .collect()
}

/// Dead letters are kept longer, and read by more people, than the topic they come from.
fn is_credential(name: &str) -> bool {
    let others = ["authorization", "proxy-authorization", "cookie"];
    let mut names = others.into_iter().chain([API_KEY]);
    names.any(|credential| name.eq_ignore_ascii_case(credential))
}

fn without_value<'a>(whole: &Message<'a>) -> Message<'a> {
    let mut message = Message {
        value: None,
        ..whole.clone()
    };
    message.headers.extend([
        (TRUNCATED.to_owned(), Some(b"true".to_vec())),
        ("dlq.sha256".to_owned(), hash(whole.value)),
    ]);
    message
}

fn bare<'a>(whole: &Message<'a>) -> Message<'a> {
    let mut message = without_value(whole);
    message.key = None;
    message.headers.retain(|(name, _)| name.starts_with(PREFIX));
    message
        .headers
        .push(("dlq.key.sha256".to_owned(), hash(whole.key)));
    message
}

fn hash(bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    let hash = digest::digest(&digest::SHA256, bytes.unwrap_or_default());
    Some(hex(hash.as_ref()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ErrorCode;

    fn record(headers: &[(&str, &str)]) -> Record {
        Record::of(2, headers)
    }

    #[test]
    fn a_dead_letter_keeps_its_headers_but_no_credentials() {
        let error = anyhow::anyhow!("it ends").context("read: it ends");
        let rejection = Rejection::new(ErrorCode::Invalid, error);
        let came = record(&[
            ("X-Api-Key", "secret"),
            ("Authorization", "secret"),
            ("proxy-authorization", "secret"),
            ("COOKIE", "secret"),
            ("traceparent", "00-1"),
            ("dlq.attempts", "2"),
            ("dlq.reason", "old"),
        ]);

        let letter = Record {
            headers: headers(&came, &rejection, "g"),
            ..came
        };

        assert_eq!(letter.header("dlq.reason"), Some("invalid"));
        assert_eq!(letter.header("dlq.error"), Some("read: it ends"));
        assert_eq!(letter.header("dlq.attempts"), Some("3"));
        assert_eq!(letter.header("traceparent"), Some("00-1"));
        let values = letter.headers.iter().map(|(_, value)| value.as_deref());
        assert!(!values.flatten().any(|value| value == b"secret"));
        assert_eq!(
            letter
                .headers
                .iter()
                .filter(|(name, _)| name == "dlq.reason")
                .count(),
            1
        );
    }
}
