//! `genflow dlq show`: prints one dead letter in full, except for its secrets.

use std::collections::BTreeSet;
use std::io::Write;

use ring::digest::{SHA256, digest};
use serde_json::Value as Json;

use super::super::{Error, watch};
use crate::domain::error_chain::causes;
use crate::domain::hex;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::dead_letters::{
    Letter, Opener, Position, Progress, masked, redacted, redacted_json,
};

/// `genflow dlq show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Position on the dead-letter topic, as dlq list shows it
    #[arg(value_name = "PARTITION:OFFSET")]
    pub position: Position,
    /// Use TOPIC_NOTIFICATIONS_DLQ: notifications that were given up, and events that the notifier could not read
    #[arg(long)]
    pub notifications: bool,
}

/// Headers whose values are credentials.
const SECRET_HEADERS: [&str; 4] = [
    "x-api-key",
    "authorization",
    "proxy-authorization",
    "cookie",
];
/// Bytes of a value that a dump shows.
const LONGEST_DUMP: usize = 256;
const BYTES_A_LINE: usize = 16;

pub(super) async fn show(config: &Config, show: &Show, out: &mut dyn Write) -> Result<u8, Error> {
    let Position { partition, offset } = show.position;
    let topic = super::shelf(show.notifications).topic(&config.kafka.topics);
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
    let letter = Letter { record };
    let progress = Progress::open(&config.kafka, topic, snapshot.bounds()).await;
    let redriven = match progress {
        Ok(progress) if progress.has(letter.position()) => "yes",
        Ok(_) => "no",
        Err(_) => "unknown",
    };
    facts(&letter, redriven, out)?;
    let opener = Opener::new(&config.schema_registry_url, &config.kafka.topics)?;
    let json = match opener.json(&letter).await {
        Ok(json) => json,
        Err(error) => Err(causes(&error)),
    };
    match json {
        Ok(mut json) => {
            weigh(&mut json);
            let text = serde_json::to_string_pretty(&redacted_json(json));
            writeln!(out, "{}", text.map_err(anyhow::Error::from)?)?;
        }
        Err(problem) => {
            writeln!(out, "{:<12}{}", "unreadable", redacted(&problem))?;
            dump(letter.record.value.as_deref().unwrap_or_default(), out)?;
        }
    }
    Ok(0)
}

/// Replaces the sealed targets of an event by their size, because nothing in them is readable.
fn weigh(json: &mut Json) {
    if let Some(sealed) = json.pointer_mut("/notify/sealed")
        && let Some(bytes) = sealed.as_array()
    {
        *sealed = format!("{} bytes", bytes.len()).into();
    }
}

/// Prints position, time and key, the headers in their order, and the size and hash of the value.
fn facts(letter: &Letter, redriven: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let record = &letter.record;
    let parked = record.timestamp.map_or("-".to_owned(), watch::time);
    let key = letter.key().map_or("-".to_owned(), |key| redacted(&key));
    writeln!(out, "{:<12}{}", "dead letter", record.position)?;
    writeln!(out, "{:<12}{parked}", "parked")?;
    writeln!(out, "{:<12}{redriven}", "redriven")?;
    writeln!(out, "{:<12}{key}", "key")?;
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
        return writeln!(out, "{:<12}none", "value");
    };
    let hash = hex(digest(&SHA256, value).as_ref());
    writeln!(out, "{:<12}{} bytes, sha256 {hash}", "value", value.len())
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

/// Prints the first bytes of a value as offset, hex and printable ASCII, with stars for secrets.
fn dump(value: &[u8], out: &mut dyn Write) -> std::io::Result<()> {
    // The whole value is masked before it is cut, because half a secret would not be recognised.
    let shown = masked(value);
    let shown = shown.get(..LONGEST_DUMP).unwrap_or(&shown);
    for (index, line) in shown.chunks(BYTES_A_LINE).enumerate() {
        let hex: Vec<_> = line
            .iter()
            .map(|byte| byte.map_or("**".to_owned(), |byte| format!("{byte:02x}")))
            .collect();
        let text: String = line
            .iter()
            .map(|byte| match byte {
                None => '*',
                Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte),
                Some(_) => '.',
            })
            .collect();
        writeln!(
            out,
            "{:08x}  {:<47}  {text}",
            index * BYTES_A_LINE,
            hex.join(" ")
        )?;
    }
    let more = value.len().saturating_sub(LONGEST_DUMP);
    if more > 0 {
        writeln!(out, "and {more} more bytes")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_not_shown() {
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
    fn what_is_sealed_is_weighed() {
        let mut json =
            serde_json::json!({"request_id": "a", "notify": {"on": [], "sealed": [1, 2, 3]}});

        weigh(&mut json);

        assert_eq!(json["notify"]["sealed"], "3 bytes");
    }

    #[test]
    fn a_dump_shows_the_beginning_and_no_secret() {
        let mut value = b"not avro \x01 https://a.example/secret".to_vec();
        value.resize(300, b'x');
        let mut out = Vec::new();

        dump(&value, &mut out).unwrap();

        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "00000000  6e 6f 74 20 61 76 72 6f 20 01 20 68 74 74 70 73  not avro . https"
        );
        assert_eq!(lines.len(), 17);
        assert_eq!(lines[16], "and 44 more bytes");
        assert!(
            !text.contains("secre") && text.contains("a.example/***"),
            "{text}"
        );
    }
}
