//! `genflow dlq show`: prints one dead letter without its secrets.

use std::collections::BTreeSet;
use std::io::Write;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::TopicChoice;
use crate::domain::error_chain::causes;
use crate::domain::hex;
use crate::domain::time::rfc3339;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::dead_letters::redact::{beginning, header, redacted, redacted_value};
use crate::operate::dead_letters::{DeadLetter, Opener, Position};

/// `genflow dlq show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Position on the dead-letter topic, as dlq list shows it
    #[arg(value_name = "PARTITION:OFFSET")]
    pub position: Position,
    #[command(flatten)]
    pub topic: TopicChoice,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

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
    let opener = Opener::new(&config.schema_registry, &config.kafka.topics);
    let json = match opener.json(&letter).await {
        Ok(json) => json,
        Err(error) => Err(causes(&error)),
    };
    if show.json {
        writeln!(out, "{}", as_json(&letter, json))?;
        return Ok(0);
    }
    facts(&letter, out)?;
    match json {
        Ok(json) => {
            let text = serde_json::to_string_pretty(&redacted_value(json))?;
            writeln!(out, "{text}")?;
        }
        Err(problem) => {
            writeln!(out, "{:<15}{}", "unreadable", redacted(&problem))?;
            let value = letter.0.value.as_deref().unwrap_or_default();
            writeln!(out, "{}", beginning(value))?;
        }
    }
    Ok(0)
}

/// Returns the same facts as an object; `value` is the value, or why it cannot be read.
fn as_json(letter: &DeadLetter, value: Result<Value, String>) -> Value {
    let record = &letter.0;
    let headers = record.headers.iter().map(
        |(name, value)| json!({"name": redacted(name), "value": header(name, value.as_deref())}),
    );
    let bytes = record.value.as_deref();
    let (value, unreadable) = match value {
        Ok(value) => (redacted_value(value), None),
        Err(problem) => (Value::Null, Some(redacted(&problem))),
    };
    json!({
        "partition": letter.position().partition,
        "offset": letter.position().offset,
        "dead_lettered_at": record.timestamp.map(rfc3339),
        "key": letter.key().map(|key| redacted(&key)),
        "headers": headers.collect::<Vec<_>>(),
        "bytes": bytes.map(<[u8]>::len),
        "sha256": bytes.map(|bytes| hex(digest(&SHA256, bytes).as_ref())),
        "value": value,
        "unreadable": unreadable,
    })
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
