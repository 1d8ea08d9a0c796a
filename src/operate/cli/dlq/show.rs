//! `genflow dlq show`: prints one dead letter without its secrets.

use std::collections::BTreeSet;
use std::io::Write;

use ring::digest::{SHA256, digest};
use serde_json::Value as Json;

use super::TopicChoice;
use super::redact::{redacted, redacted_bytes, redacted_json};
use crate::domain::error_chain::causes;
use crate::domain::hex;
use crate::domain::time::rfc3339;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::dead_letters::{DeadLetter, Opener, Position};

/// `genflow dlq show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Position on the dead-letter topic, as dlq list shows it
    #[arg(value_name = "PARTITION:OFFSET")]
    pub position: Position,
    #[command(flatten)]
    pub topic: TopicChoice,
}

/// Headers whose values are credentials.
const SECRET_HEADERS: [&str; 4] = [
    "x-api-key",
    "authorization",
    "proxy-authorization",
    "cookie",
];
/// Characters that are shown of a value that cannot be read.
const LONGEST_VALUE: usize = 256;

pub(super) async fn show(config: &Config, show: &Show, out: &mut dyn Write) -> anyhow::Result<u8> {
    let Position { partition, offset } = show.position;
    let topic = show.topic.get().name(&config.kafka.topics);
    let extent = Extent::At(BTreeSet::from([(partition, offset)]));
    let mut snapshot = Snapshot::open(&config.kafka, topic, extent).await?;
    let Some(record) = snapshot.next().await? else {
        let held = match snapshot.bounds().get(&partition) {
            Some(held) => format!(
                "offsets {} to {}, the last one excluded",
                held.start, held.end
            ),
            None => format!("no partition {partition}"),
        };
        writeln!(
            out,
            "there is no dead letter {}: {topic} has {held}",
            show.position
        )?;
        return Ok(1);
    };
    let letter = DeadLetter(record);
    facts(&letter, out)?;
    let opener = Opener::new(&config.schema_registry, &config.kafka.topics);
    let json = match opener.json(&letter).await {
        Ok(json) => json,
        Err(error) => Err(causes(&error)),
    };
    match json {
        Ok(mut json) => {
            shorten_sealed(&mut json);
            writeln!(
                out,
                "{}",
                serde_json::to_string_pretty(&redacted_json(json))?
            )?;
        }
        Err(problem) => {
            writeln!(out, "{:<15}{}", "unreadable", redacted(&problem))?;
            let value = letter.0.value.as_deref().unwrap_or_default();
            writeln!(out, "{}", beginning(value))?;
        }
    }
    Ok(0)
}

/// Replaces the sealed targets of an event by their size, because nothing in them is readable.
fn shorten_sealed(json: &mut Json) {
    if let Some(sealed) = json.pointer_mut("/notify/sealed")
        && let Some(bytes) = sealed.as_array()
    {
        *sealed = format!("{} bytes", bytes.len()).into();
    }
}

/// Prints position, time and key, the headers in their order, and the size and hash of the value.
fn facts(letter: &DeadLetter, out: &mut dyn Write) -> std::io::Result<()> {
    let record = &letter.0;
    let time = record.timestamp.map_or("-".to_owned(), rfc3339);
    let key = letter.key().map_or("-".to_owned(), |key| redacted(&key));
    writeln!(out, "{:<15}{}", "dead letter", record.position)?;
    writeln!(out, "{:<15}{time}", "dead-lettered")?;
    writeln!(out, "{:<15}{key}", "key")?;
    writeln!(out, "headers")?;
    for (name, value) in &record.headers {
        writeln!(
            out,
            "  {}: {}",
            redacted(name),
            header(name, value.as_deref())
        )?;
    }
    let Some(value) = &record.value else {
        return writeln!(out, "{:<15}none", "value");
    };
    let hash = hex(digest(&SHA256, value).as_ref());
    writeln!(out, "{:<15}{} bytes, sha256 {hash}", "value", value.len())
}

/// Returns a header's value without secrets.
fn header(name: &str, value: Option<&[u8]>) -> String {
    let secret = SECRET_HEADERS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret));
    match value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "(null)".to_owned(),
        Some(_) if secret => "***".to_owned(),
        Some((_, Ok(text))) => redacted(text),
        Some((bytes, Err(_))) => format!("{} bytes, not text", bytes.len()),
    }
}

/// Returns the beginning of a value as text without secrets.
fn beginning(value: &[u8]) -> String {
    // The whole value is redacted before it is cut, because half a secret would not be recognised.
    let text = redacted_bytes(value);
    let shown: String = text.chars().take(LONGEST_VALUE).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    shown + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (name, value, shown) in [
            ("X-Api-Key", Some(&b"secret"[..]), "***"),
            ("mine", Some(b"kept"), "kept"),
            (
                "link",
                Some(b"https://a.example/tok"),
                "https://a.example/…",
            ),
            ("raw", Some(b"\xff\xfe"), "2 bytes, not text"),
            ("none", None, "(null)"),
        ] {
            assert_eq!(header(name, value), shown);
        }
    }

    #[test]
    fn sealed_targets_are_shown_by_their_size() {
        let mut json =
            serde_json::json!({"request_id": "a", "notify": {"on": [], "sealed": [1, 2, 3]}});

        shorten_sealed(&mut json);

        assert_eq!(json["notify"]["sealed"], "3 bytes");
    }

    #[test]
    fn the_beginning_of_a_value_shows_bytes_as_escapes_and_no_secret() {
        let mut value = b"not avro \x01 https://a.example/secret".to_vec();
        assert_eq!(beginning(&value), r"not avro \x01 https://a.example/…");

        value.extend([b' '; 300]);

        let shown = beginning(&value);
        assert!(shown.ends_with(" …") && shown.chars().count() == 257);
    }
}
