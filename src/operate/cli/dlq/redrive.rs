//! `genflow dlq redrive`: prints a line for each dead letter it sends, then how many were sent or skipped, and why.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{FilterArgs, histogram};
use crate::domain::error_chain::causes;
use crate::domain::time::rfc3339;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::telemetry;
use crate::operate::cli::terminal::bar;
use crate::operate::cli::{ApiKey, Error};
use crate::operate::dead_letters;
use crate::operate::dead_letters::redact::redacted;
use crate::operate::dead_letters::{
    Position, RedriveOrder, RedrivePolicy, Redriven, Selection, Summary,
};

/// `genflow dlq redrive`.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    /// Send only the dead letters at these positions, as dlq list shows them
    #[arg(value_name = "PARTITION:OFFSET", conflicts_with_all = ["reason", "since", "until", "key"])]
    pub positions: Vec<Position>,
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Send nothing; print how many would be sent, by reason
    #[arg(long)]
    pub dry_run: bool,
    /// Maximum dead letters sent per second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Skip those that were dead-lettered this many times or more
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,
    /// Send each request under a new id, {id}.r{partition}-{offset} of its dead letter
    #[arg(long, conflicts_with = "notifications")]
    pub new_id: bool,
    /// Send also those that were too_old, and let intake accept them; make sure that they never ran. With
    /// --notifications: notify also of events that are older than NOTIFY_MAX_AGE
    #[arg(long)]
    pub accept_old: bool,
    /// Print each dead letter that is sent as a line of JSON, then the counts
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub key: ApiKey,
}

/// Exit code after SIGINT or SIGTERM.
const INTERRUPTED: u8 = 130;

pub(super) const ABOUT: &str = "\
Send dead letters again to the topic that they came from, once the cause is fixed

Key and value are sent unchanged, unless --new-id changes the id, with the record's own headers, dlq.attempts and \
genflow-first-seen. The record's own API key is not sent. Each record is acknowledged by all in-sync replicas before \
the next one is sent. The dead letter itself stays on its topic.

With --notifications, the dead letters are those of TOPIC_NOTIFICATIONS_DLQ. Each notification that was given up is \
handed over to a workflow again, which delivers it to its one target: at once, then by NOTIFY_SCHEDULE. An event that \
the notifier could not read is sent to TOPIC_EVENTS again.

A redrive that is run again sends again what it selects. For a request, that does no harm within the dedup window: \
intake recognises its id. A CANCEL ends the newest run again, so use --since or positions to leave it out. A \
notification that was delivered is skipped, as long as Temporal retains its delivery. Of a record that was \
dead-lettered again, only the last dead letter is sent, unless positions are given.";

pub(super) async fn redrive(
    config: &Config,
    redrive: &Redrive,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let order = redrive.order()?;
    // The audit record of each redrive goes to the log of this process.
    telemetry::init(&config.log, None).map_err(|error| unusable(&error))?;
    let bar = bar("dead letters sent", None);
    let mut report = |redriven: &Redriven<'_>| {
        bar.inc(1);
        let line = match redrive.json {
            true => json_line(redriven),
            false => line(redriven, now()),
        };
        bar.suspend(|| writeln!(out, "{line}"))?;
        out.flush()
    };
    let summary = dead_letters::redrive(config, &order, stop, &mut report).await?;
    bar.finish_and_clear();
    match redrive.json {
        true => writeln!(out, "{}", json_summary(&summary, redrive.dry_run))?,
        false => print_summary(&summary, redrive.dry_run, out)?,
    }
    Ok(match summary {
        Summary {
            interrupted: true, ..
        } => INTERRUPTED,
        Summary { missing, .. } if !missing.is_empty() => 1,
        Summary { .. } => 0,
    })
}

impl Redrive {
    fn order(&self) -> Result<RedriveOrder, Error> {
        let selection = match self.positions.is_empty() {
            true => Selection::Matching(self.filters.filter()?),
            false => Selection::At(self.positions.iter().copied().collect()),
        };
        Ok(RedriveOrder {
            selection,
            policy: RedrivePolicy {
                topic: self.filters.topic.get(),
                max_attempts: self.max_attempts,
                new_id: self.new_id,
                accept_old: self.accept_old,
                api_key: self.key.get()?,
            },
            dry_run: self.dry_run,
            rate: self.rate,
        })
    }
}

fn unusable(log: &telemetry::Error) -> Error {
    Error::Usage(causes(log))
}

/// Formats a dead letter that was sent: time, source, destination, reason, attempts, key.
fn line(redriven: &Redriven<'_>, now: i64) -> String {
    let letter = redriven.letter;
    let key = letter.key().map_or("-".to_owned(), |key| redacted(&key));
    let renamed = redriven.new_id.map(|id| format!(" as {id}"));
    format!(
        "{}  redriven {} to {}  {}  attempts {}  {key}{}",
        rfc3339(now),
        letter.position(),
        redriven.to,
        redacted(letter.reason()),
        letter.attempts(),
        renamed.unwrap_or_default(),
    )
}

fn json_line(redriven: &Redriven<'_>) -> String {
    let letter = redriven.letter;
    json!({
        "position": letter.position().to_string(),
        "to": redriven.to.to_string(),
        "reason": letter.reason(),
        "attempts": letter.attempts(),
        "key": letter.key(),
        "new_id": redriven.new_id,
    })
    .to_string()
}

fn json_summary(summary: &Summary, dry_run: bool) -> Value {
    let missing = summary.missing.iter().map(ToString::to_string);
    let skipped = summary.skipped.iter();
    let skipped = skipped.map(|(why, count)| (why.to_string(), *count));
    json!({
        "sent": summary.sent,
        "skipped": skipped.collect::<BTreeMap<_, _>>(),
        "missing": missing.collect::<Vec<_>>(),
        "interrupted": summary.interrupted,
        "dry_run": dry_run,
    })
}

fn print_summary(summary: &Summary, dry_run: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let what = if dry_run {
        "would be redriven"
    } else {
        "redriven"
    };
    histogram(out, what, &summary.sent)?;
    if !summary.skipped.is_empty() {
        let skipped = summary.skipped.iter();
        let skipped = skipped.map(|(why, count)| (why.to_string(), *count));
        histogram(out, "skipped", &skipped.collect::<BTreeMap<_, _>>())?;
    }
    for position in &summary.missing {
        writeln!(out, "there is no dead letter {position}")?;
    }
    if summary.interrupted {
        writeln!(
            out,
            "interrupted: the same command sends the rest, and sends again what was sent"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::config::{Log, LogFile};
    use crate::operate::dead_letters::Skip;

    #[test]
    fn a_log_file_that_cannot_be_opened_is_reported_with_the_cause() {
        let log = Log {
            filter: "info".to_owned(),
            json: false,
            file: Some(LogFile::at("/nonexistent/log".into())),
        };

        let error = unusable(&telemetry::check(&log).unwrap_err()).to_string();

        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_summary_counts_what_was_sent_and_what_was_not_and_why() {
        let summary = Summary {
            sent: BTreeMap::from([("invalid".to_owned(), 1), ("too_old".to_owned(), 12)]),
            skipped: BTreeMap::from([(Skip::Attempts, 2)]),
            missing: ["0:7".parse().unwrap()].into(),
            interrupted: true,
        };
        let mut out = Vec::new();

        print_summary(&summary, true, &mut out).unwrap();

        assert_eq!(
            String::from_utf8(out).unwrap(),
            "13 would be redriven
      12  too_old
       1  invalid
2 skipped
       2  dead-lettered too often: look for the cause, then raise --max-attempts
there is no dead letter 0:7
interrupted: the same command sends the rest, and sends again what was sent
"
        );
    }
}
