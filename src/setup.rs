//! `genflow setup`: topics, schemas, namespaces, search attributes. May be run again, and leaves alone what is there.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

use crate::avro::{self, Ours};
use crate::config::{self, Config};
use crate::kafka::admin::{self, EVENTS_RETENTION};
use crate::registry::Registry;
use crate::temporal::admin::{self as temporal, Attribute, Change, Namespace};

/// How long engines may take to answer: setup is often run beside their start.
const PATIENCE: Duration = Duration::from_secs(15);

/// How far the schemas of a subject may change: they can be read both ways, back to the first.
pub const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// Sets everything up and tells what was done, a line each.
///
/// # Errors
/// The first engine that does not answer or refuses what is needed.
pub async fn run(config: &Config, grow: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    // Temporal first: its retention bounds the dedup window, and that the retention of requests.
    let deliveries = delivery_retention(config.notifier.max_age);
    let report = temporal::ensure(&config.temporal, deliveries, PATIENCE).await?;
    tell_temporal(&report, out)?;
    let retention = report.runs.retention;
    let window = dedup_window(config.intake.dedup_window, retention);
    if fit(window, retention) != Fit::Within {
        writeln!(
            out,
            "warning: DEDUP_WINDOW is {}, more than nine tenths of Temporal's retention of {}: an old record may run twice",
            span(window),
            span(retention),
        )?;
    }
    admin::wait_ready(&config.kafka, PATIENCE).await?;
    for topic in admin::ensure_topics(&config.kafka, window, grow).await? {
        writeln!(out, "{topic}")?;
    }
    register(config, out).await
}

/// Returns the age above which a record is `too_old`: as configured, else nine tenths of the retention.
pub fn dedup_window(configured: Option<Duration>, retention: Duration) -> Duration {
    configured.unwrap_or_else(|| bound(retention))
}

/// How a dedup window stands to the retention of the Temporal namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// At most nine tenths of it.
    Within,
    /// More than nine tenths: a run may be forgotten while its record waits to be taken.
    Tight,
    /// More than all of it: a run may be forgotten before its record is too old, which then runs twice.
    Beyond,
}

/// Says how a dedup window stands to the retention.
pub fn fit(window: Duration, retention: Duration) -> Fit {
    if window <= bound(retention) {
        Fit::Within
    } else if window <= retention {
        Fit::Tight
    } else {
        Fit::Beyond
    }
}

/// Returns the longest dedup window that a retention allows: nine tenths of it (contract, promise 2).
pub fn bound(retention: Duration) -> Duration {
    retention * 9 / 10
}

/// Returns how long the namespace of deliveries is to remember them: as long as their events can come again and are not
/// too old to be told (`max_age`), and as `gen.events` has them, so that what was closed from outside is found.
pub(crate) fn delivery_retention(max_age: Duration) -> Duration {
    max_age.max(EVENTS_RETENTION)
}

fn tell_temporal(report: &temporal::Report, out: &mut dyn Write) -> std::io::Result<()> {
    for (name, outcome) in &report.attributes {
        match outcome {
            Attribute::Created => writeln!(out, "search attribute {name}: created"),
            Attribute::Exists => writeln!(out, "search attribute {name}: exists"),
            Attribute::Refused(why) => writeln!(
                out,
                "search attribute {name}: refused ({why}), add it as a Keyword by hand"
            ),
        }?;
    }
    tell_namespace(&report.runs, out)?;
    match &report.deliveries {
        Some(apart) => tell_namespace(apart, out),
        None => Ok(()),
    }
}

fn tell_namespace(namespace: &Namespace, out: &mut dyn Write) -> std::io::Result<()> {
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
            "namespace {name}: retention is {now}, raising it was refused ({why})"
        ),
    }
}

/// Registers each schema under its topics' subjects, then fixes the subjects' compatibility.
async fn register(config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let registry = Registry::new(&config.schema_registry_url)?;
    for (subject, ours) in subjects(&config.kafka.topics) {
        let id = registry.id_of(&subject, ours).await;
        let id = id.with_context(|| registry.base().to_owned())?;
        registry.set_compatibility(&subject, COMPATIBILITY).await?;
        writeln!(out, "schema {subject}: {}, id {id}", ours.name)?;
    }
    Ok(())
}

/// Returns the subject of each topic that has a schema.
pub(crate) fn subjects(topics: &config::Topics) -> [(String, &'static Ours); 6] {
    let subject = |topic: &str| format!("{topic}-value");
    [
        (subject(&topics.requests), &avro::REQUEST),
        (subject(&topics.commands), &avro::COMMAND),
        (subject(&topics.events), &avro::EVENT),
        (subject(&topics.results), &avro::EVENT),
        (subject(&topics.notifications), &avro::RECEIPT),
        (subject(&topics.notifications_dlq), &avro::EVENT),
    ]
}

/// Returns a span of time in its largest whole unit.
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
    fn the_dedup_window_is_nine_tenths_of_the_retention_unless_configured() {
        let day = Duration::from_secs(86_400);

        assert_eq!(dedup_window(None, day * 30), day * 27);
        assert_eq!(dedup_window(Some(day), day * 30), day);
    }

    #[test]
    fn deliveries_are_remembered_as_long_as_their_events_can_come_again() {
        let hour = Duration::from_secs(3600);

        assert_eq!(delivery_retention(hour * 76), hour * 24 * 7);
        assert_eq!(delivery_retention(hour * 24 * 9), hour * 24 * 9);
    }

    #[test]
    fn a_window_within_nine_tenths_fits_and_one_beyond_the_retention_does_not() {
        let day = Duration::from_secs(86_400);

        assert_eq!(fit(day * 27, day * 30), Fit::Within);
        assert_eq!(fit(day * 28, day * 30), Fit::Tight);
        assert_eq!(fit(day * 30, day * 30), Fit::Tight);
        assert_eq!(fit(day * 31, day * 30), Fit::Beyond);
    }

    #[test]
    fn spans_are_told_in_their_largest_whole_unit() {
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
