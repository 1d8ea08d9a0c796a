//! `genflow dlq redrive`: prints a line for each dead letter it sends, then how many were sent or skipped, and why.

use std::collections::BTreeMap;
use std::io::Write;

use tokio_util::sync::CancellationToken;

use super::super::{Error, watch};
use super::{INTERRUPTED, Which, histogram};
use crate::engines::config::Config;
use crate::engines::telemetry;
use crate::operate::dead_letters;
use crate::operate::dead_letters::{
    Order, Position, Redriven, Rules, Selection, Summary, group, redacted,
};

/// `genflow dlq redrive`.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    /// Send only the dead letters at these positions, as dlq list shows them
    #[arg(value_name = "PARTITION:OFFSET", conflicts_with_all = ["reason", "since", "until", "key", "user"])]
    pub positions: Vec<Position>,
    /// Which dead letters.
    #[command(flatten)]
    pub which: Which,
    /// Send nothing; print how many would be sent, by reason
    #[arg(long)]
    pub dry_run: bool,
    /// Maximum dead letters sent per second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Skip those that were dead-lettered this often or more often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,
    /// Send each request under a new id, {id}.r{partition}-{offset} of its dead letter
    #[arg(long, conflicts_with = "notifications")]
    pub new_id: bool,
    /// Send also those that were too_old, and let intake accept them; make sure that they never ran. With
    /// --notifications: notify also of events that are older than NOTIFY_MAX_AGE
    #[arg(long)]
    pub accept_old: bool,
    /// Send also what was redriven before
    #[arg(long)]
    pub again: bool,
    /// API key, sent as the header x-api-key, which dead letters do not keep
    #[arg(
        long,
        value_name = "KEY",
        env = "GENFLOW_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// Who sends them; recorded in the log
    #[arg(
        long,
        value_name = "NAME",
        env = "USER",
        hide_env_values = true,
        default_value = "unknown"
    )]
    pub by: String,
}

pub(super) const ABOUT: &str = "\
Send dead letters to the topic they came from again, once the cause is fixed

Key and value are sent unchanged, with the record's own headers and dlq.attempts. Each record is acknowledged by all \
in-sync replicas and noted as sent before the next one is sent. The dead letter itself stays on its topic.

With --notifications, the dead letters are those of TOPIC_NOTIFICATIONS_DLQ. Each notification that was given up is \
handed over to a workflow again, which delivers it to its one target: at once, then by NOTIFY_SCHEDULE. An event that \
the notifier could not read is sent to TOPIC_EVENTS again.

Committed offsets of the group {KAFKA_GROUP}-redrive record what was sent. So after Ctrl-C or a fault, the same command \
continues where it stopped, and what a filter left out can be sent later. Kafka forgets these offsets after \
offsets.retention.minutes (7 days by default) without a redrive. Do not run two redrives at once: each overwrites part \
of what the other has recorded. A request that is sent twice does no harm within the dedup window, because intake \
recognises its id.

Exit code: 0 when everything that may be sent was sent, 1 when a given position holds no dead letter, 69 when an \
engine does not answer, 130 when it was interrupted.";

pub(super) async fn redrive(
    config: &Config,
    redrive: &Redrive,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<u8, Error> {
    let order = redrive.order()?;
    // The audit record of each redrive goes to the log of this process.
    telemetry::init(&config.log).map_err(|error| Error::Usage(error.to_string()))?;
    let by = redacted(&order.by);
    let mut tell = |redriven: &Redriven<'_>| {
        writeln!(out, "{}", line(redriven, &by))?;
        out.flush()
    };
    let summary = dead_letters::redrive(config, &order, stop, &mut tell).await?;
    print_summary(&summary, redrive.dry_run, &group(&config.kafka), out)?;
    Ok(match summary {
        Summary {
            interrupted: true, ..
        } => INTERRUPTED,
        Summary { missing, .. } if !missing.is_empty() => 1,
        Summary { .. } => 0,
    })
}

impl Redrive {
    fn order(&self) -> Result<Order, Error> {
        let selection = match self.positions.is_empty() {
            true => Selection::Matching(self.which.filter(super::now())?),
            false => Selection::At(self.positions.iter().copied().collect()),
        };
        // An empty variable counts as not set.
        let given = |text: &String| !text.is_empty();
        Ok(Order {
            selection,
            rules: Rules {
                shelf: super::shelf(self.which.notifications),
                max_attempts: self.max_attempts,
                new_id: self.new_id,
                accept_old: self.accept_old,
                again: self.again,
                api_key: self.api_key.clone().filter(given),
            },
            dry_run: self.dry_run,
            rate: self.rate,
            by: Some(&self.by)
                .filter(|by| given(by))
                .map_or("unknown".to_owned(), String::clone),
        })
    }
}

/// Formats a dead letter that was sent: time, source, destination, reason, attempts, key, operator.
fn line(redriven: &Redriven<'_>, by: &str) -> String {
    let letter = redriven.letter;
    let key = letter.key().map_or("-".to_owned(), |key| redacted(&key));
    let renamed = redriven.new_id.map(|id| format!(" as {id}"));
    format!(
        "{}  redriven {} to {}  {}  attempts {}  {key}{}  by {by}",
        watch::time(redriven.at),
        letter.position(),
        redriven.to,
        redacted(letter.reason()),
        letter.attempts(),
        renamed.unwrap_or_default(),
    )
}

fn print_summary(
    summary: &Summary,
    dry_run: bool,
    group: &str,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let what = if dry_run {
        "would be redriven"
    } else {
        "redriven"
    };
    histogram(out, what, &summary.sent)?;
    if !summary.skipped.is_empty() {
        let skipped = summary.skipped.iter();
        let skipped = skipped.map(|(why, count)| (why.explained().to_owned(), *count));
        histogram(out, "skipped", &skipped.collect::<BTreeMap<_, _>>())?;
    }
    for position in &summary.missing {
        writeln!(out, "there is no dead letter {position}")?;
    }
    if summary.left_out > 0 {
        writeln!(
            out,
            "group {group} has no room to record {} of them as sent: the next redrive sends these again",
            summary.left_out
        )?;
    }
    if summary.interrupted {
        writeln!(out, "interrupted: run the same command again to continue")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::dead_letters::Skip;

    #[test]
    fn a_summary_tells_what_went_and_why_the_rest_did_not() {
        let summary = Summary {
            sent: BTreeMap::from([("invalid".to_owned(), 1), ("too_old".to_owned(), 12)]),
            skipped: BTreeMap::from([(Skip::Attempts, 2)]),
            missing: vec!["0:7".parse().unwrap()],
            left_out: 3,
            interrupted: true,
        };
        let mut out = Vec::new();

        print_summary(&summary, true, "genflow-redrive", &mut out).unwrap();

        assert_eq!(
            String::from_utf8(out).unwrap(),
            "13 would be redriven
      12  too_old
       1  invalid
2 skipped
       2  parked too often: look for the cause, then raise --max-attempts
there is no dead letter 0:7
group genflow-redrive has no room to record 3 of them as sent: the next redrive sends these again
interrupted: run the same command again to continue
"
        );
    }
}
