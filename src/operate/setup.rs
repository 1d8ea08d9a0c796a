//! `genflow setup`: creates topics, schemas, namespaces and search attributes.
//!
//! It may be run again. Of what exists, it changes only a retention that is too short, the compatibility of subjects,
//! and with `--grow` the partitions of the input topics.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

use crate::contract::avro;
use crate::contract::avro::Ours;
use crate::engines::config;
use crate::engines::config::Config;
use crate::engines::kafka::admin;
use crate::engines::kafka::admin::{Asked, EVENTS_RETENTION};
use crate::engines::registry::{Registry, subject};
use crate::engines::temporal::admin as temporal;
use crate::engines::temporal::admin::{Attribute, Change, Namespace};
use crate::roles::intake::dedup_window::dedup_window;

/// How long engines may take to answer: setup often runs while they start.
const PATIENCE: Duration = Duration::from_secs(15);

/// Compatibility level of the subjects: each version of a schema can read records of every other version.
pub const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// Sets everything up and prints what it did, one line per item.
///
/// # Errors
/// An engine does not answer, or refuses what is needed.
pub async fn run(config: &Config, asked: Asked, out: &mut dyn Write) -> anyhow::Result<()> {
    // Temporal comes first: its retention bounds the dedup window, which bounds the retention of the requests topic.
    let deliveries = delivery_retention(config.notifier.max_age);
    let report = temporal::ensure(&config.temporal, deliveries, PATIENCE).await?;
    print_temporal(&report, out)?;
    let window = bounded_window(config.intake.dedup_window, report.runs.retention, out)?;
    let replication = admin::replication(&config.kafka, asked.replication, PATIENCE).await?;
    writeln!(out, "{replication}")?;
    for topic in admin::ensure_topics(&config.kafka, window, replication, asked.grow).await? {
        writeln!(out, "{topic}")?;
    }
    register(config, out).await
}

/// Returns how long the requests topic may keep records. Warns if the dedup window is not as configured.
fn bounded_window(
    configured: Option<Duration>,
    retention: Duration,
    out: &mut dyn Write,
) -> std::io::Result<Duration> {
    let kept = span(retention);
    let Some(window) = dedup_window(configured, retention) else {
        writeln!(
            out,
            "warning: the namespace has no retention or does not report it: intake starts no requests until it does"
        )?;
        return Ok(configured.unwrap_or(EVENTS_RETENTION));
    };
    if let Some(asked) = configured.filter(|asked| *asked > window) {
        let (asked, window) = (span(asked), span(window));
        writeln!(
            out,
            "warning: DEDUP_WINDOW is {asked}, more than nine tenths of Temporal's retention of {kept}: intake uses {window}"
        )?;
    }
    Ok(window)
}

/// Returns the retention that the namespace of deliveries needs: as long as an event may come again and is young enough
/// for a notification (`max_age`), and as long as `gen.events` keeps it, so that a sweep finds each delivery that was
/// closed from outside.
pub(crate) fn delivery_retention(max_age: Duration) -> Duration {
    max_age.max(EVENTS_RETENTION)
}

fn print_temporal(report: &temporal::ServerReport, out: &mut dyn Write) -> std::io::Result<()> {
    for (name, outcome) in &report.attributes {
        match outcome {
            Attribute::Created => writeln!(out, "search attribute {name}: created"),
            Attribute::Exists => writeln!(out, "search attribute {name}: exists"),
            Attribute::Refused(why) => writeln!(
                out,
                "search attribute {name}: refused ({why}); add it as a Keyword by hand"
            ),
        }?;
    }
    print_namespace(&report.runs, out)?;
    match &report.deliveries {
        Some(apart) => print_namespace(apart, out),
        None => Ok(()),
    }
}

fn print_namespace(namespace: &Namespace, out: &mut dyn Write) -> std::io::Result<()> {
    let Namespace { name, change, .. } = namespace;
    let now = span(namespace.retention);
    match change {
        Change::Created => writeln!(out, "namespace {name}: created, retention is {now}"),
        Change::Kept => writeln!(out, "namespace {name}: retention is {now}"),
        Change::Raised { from } => writeln!(
            out,
            "namespace {name}: retention raised from {} to {now}",
            span(*from)
        ),
        Change::Refused(why) => writeln!(
            out,
            "namespace {name}: retention is {now}; the server refused to raise it ({why})"
        ),
    }
}

/// Registers the schema of each topic, and sets the compatibility of its subject.
async fn register(config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let registry = Registry::for_setup(&config.schema_registry);
    for (subject, ours) in subjects(&config.kafka.topics) {
        let id = registry.id_of(&subject, ours).await;
        let id = id.with_context(|| registry.base().to_owned())?;
        registry.set_compatibility(&subject, COMPATIBILITY).await?;
        writeln!(out, "schema {subject}: {}, id {id}", ours.name)?;
    }
    Ok(())
}

/// Returns the subject of each topic that has a schema, with the schema.
pub(crate) fn subjects(topics: &config::Topics) -> [(String, &'static Ours); 6] {
    [
        (subject(&topics.requests), &avro::REQUEST),
        (subject(&topics.commands), &avro::COMMAND),
        (subject(&topics.events), &avro::EVENT),
        (subject(&topics.results), &avro::EVENT),
        (subject(&topics.notifications), &avro::RECEIPT),
        (subject(&topics.notifications_dlq), &avro::EVENT),
    ]
}

/// Formats a duration in its largest whole unit: `30d`, `25h`, `90s`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_remembered_as_long_as_their_events_can_come_again() {
        let hour = Duration::from_secs(3600);

        assert_eq!(delivery_retention(hour * 76), hour * 24 * 7);
        assert_eq!(delivery_retention(hour * 24 * 9), hour * 24 * 9);
    }

    #[test]
    fn spans_are_written_in_their_largest_whole_unit() {
        for (seconds, text) in [
            (30 * 86_400, "30d"),
            (90_000, "25h"),
            (120, "2m"),
            (90, "90s"),
            (0, "0s"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
