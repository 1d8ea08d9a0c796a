//! `genflow dlq redrive`: what is sent, a line each; then what was sent and what was not, and why.

use std::collections::BTreeMap;
use std::io::Write;

use tokio_util::sync::CancellationToken;

use super::super::{Error, watch};
use super::{INTERRUPTED, Which, histogram};
use crate::engines::config::Config;
use crate::engines::telemetry;
use crate::operate::dead_letters as dlq;
use crate::operate::dead_letters::{
    Order, Position, Redriven, Rules, Selection, Summary, group, redacted,
};

/// `genflow dlq redrive`.
#[derive(Debug, clap::Args)]
pub struct Redrive {
    /// Send those that stand there, as dlq list shows it
    #[arg(value_name = "PARTITION:OFFSET", conflicts_with_all = ["reason", "since", "until", "key", "user"])]
    pub positions: Vec<Position>,
    /// Which dead letters.
    #[command(flatten)]
    pub which: Which,
    /// Send nothing; print how many would go, by reason
    #[arg(long)]
    pub dry_run: bool,
    /// Send at most so many a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Leave those that were parked so often, or more often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,
    /// Send each request under a fresh id, {id}.r{partition}-{offset} of its dead letter
    #[arg(long, conflicts_with = "notifications")]
    pub new_id: bool,
    /// Send those that were too_old, and have them taken all the same; make sure that they never ran. With
    /// --notifications: have events told that are older than NOTIFY_MAX_AGE
    #[arg(long)]
    pub accept_old: bool,
    /// Send also what was redriven before
    #[arg(long)]
    pub again: bool,
    /// Sent as the header x-api-key, which dead letters do not keep
    #[arg(
        long,
        value_name = "KEY",
        env = "GENFLOW_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// Who sends them; stands in the log
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
Send dead letters again to the topic they came from, once their cause is gone

Key and value go unchanged, with their own headers and dlq.attempts. Each is acknowledged by all in-sync replicas and \
noted before the next is sent. The dead letter itself stays where it is.

With --notifications those of TOPIC_NOTIFICATIONS_DLQ: each notification that was given up is put into the hands of a \
workflow again, which tries it at once and then by NOTIFY_SCHEDULE, for its target alone; an event that the notifier could \
not read is sent to TOPIC_EVENTS again.

What was sent is remembered as committed offsets of the group {KAFKA_GROUP}-redrive, so the same command can be run \
again after Ctrl-C or a fault and goes on where it was; what a filter left out can be sent later. Kafka forgets this \
after offsets.retention.minutes (7 days by default) without a redrive, and two redrives at once forget parts of each \
other's. A request that is sent twice does no harm within the dedup window: intake knows its id.

Exit code: 0 when all that may go went, 1 when a position that was named holds no dead letter, 69 when an engine does \
not answer, 130 when it was interrupted.";

pub(super) async fn redrive(
    config: &Config,
    redrive: &Redrive,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<u8, Error> {
    let order = redrive.order()?;
    // The audit goes to the log of the process, wherever that is.
    telemetry::init(&config.log).map_err(|error| Error::Usage(error.to_string()))?;
    let by = redacted(&order.by);
    let mut tell = |redriven: &Redriven<'_>| {
        writeln!(out, "{}", line(redriven, &by))?;
        out.flush()
    };
    let summary = dlq::redrive(config, &order, stop, &mut tell).await?;
    tell_summary(&summary, redrive.dry_run, &group(&config.kafka), out)?;
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
        // A variable that is set to nothing is not set.
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

/// Returns one that was sent as a line: when, from where to where, why it was parked, which request, who.
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

fn tell_summary(
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
        histogram(
            out,
            "left where they are",
            &skipped.collect::<BTreeMap<_, _>>(),
        )?;
    }
    for position in &summary.missing {
        writeln!(out, "there is no dead letter {position}")?;
    }
    if summary.left_out > 0 {
        writeln!(
            out,
            "group {group} has no room to remember {} of them: another redrive sends these again",
            summary.left_out
        )?;
    }
    if summary.interrupted {
        writeln!(out, "interrupted: the same command again goes on from here")?;
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

        tell_summary(&summary, true, "genflow-redrive", &mut out).unwrap();

        assert_eq!(
            String::from_utf8(out).unwrap(),
            "13 would be redriven
      12  too_old
       1  invalid
2 left where they are
       2  parked too often: look for the cause, then raise --max-attempts
there is no dead letter 0:7
group genflow-redrive has no room to remember 3 of them: another redrive sends these again
interrupted: the same command again goes on from here
"
        );
    }
}
