//! `genflow dlq`: lists, shows and redrives dead letters. [`crate::operate::dead_letters`] does the work; this module
//! prints the results.

mod redrive;
mod show;

use std::collections::BTreeMap;
use std::io::Write;

use clap::builder::TypedValueParser;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use self::redrive::Redrive;
pub use self::show::Show;
use super::period::Period;
use super::run::ignoring_closed_pipe;
use super::table::{BAD, Cell, Column, Table, cut};
use super::terminal::{ago, bar, note};
use super::{Error, word};
use crate::domain::ErrorCode;
use crate::domain::error_chain::causes;
use crate::domain::time::rfc3339;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::dead_letters::redact::redacted;
use crate::operate::dead_letters::{DeadLetter, DlqTopic, Filter, Opener};

/// `genflow dlq`.
#[derive(Debug, clap::Subcommand)]
pub enum Dlq {
    /// List dead letters, oldest first, and count them by reason
    List(DlqList),
    /// Show one dead letter: its headers, and its value as JSON or as bytes; targets are redacted
    Show(Show),
    /// Send dead letters again to the topic that they came from, once the cause is fixed
    #[command(long_about = redrive::ABOUT)]
    Redrive(Box<Redrive>),
}

/// `genflow dlq list`.
#[derive(Debug, clap::Args)]
pub struct DlqList {
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Print each dead letter as a line of JSON; keys and users are not redacted
    #[arg(long)]
    pub json: bool,
}

/// The filters; a filter that is not set matches every dead letter.
#[derive(Debug, Default, clap::Args)]
pub struct FilterArgs {
    #[command(flatten)]
    pub topic: TopicChoice,
    /// Only dead letters with this reason; several separated by commas
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = reason(), conflicts_with = "notifications")]
    pub reason: Vec<ErrorCode>,
    #[command(flatten)]
    pub period: Period,
    /// Only dead letters with exactly this record key; a request's key is its id
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// `--notifications`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct TopicChoice {
    /// Use TOPIC_NOTIFICATIONS_DLQ: notifications that were given up, and events that the notifier could not read
    #[arg(long)]
    notifications: bool,
}

/// The longest error text in a line, in characters.
const LONGEST_ERROR: usize = 100;

/// Runs one command, and returns its exit code. A `stop` ends a redrive after the record in flight.
///
/// # Errors
/// [`super::exit_code`] maps each to an exit code.
pub async fn run(
    config: &Config,
    command: &Dlq,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    match command {
        Dlq::List(list) => ignoring_closed_pipe(self::list(config, list, out).await),
        Dlq::Show(show) => ignoring_closed_pipe(show::show(config, show, out).await),
        // A closed output stops a redrive before it has sent all dead letters, so it is an error.
        Dlq::Redrive(redrive) => redrive::redrive(config, redrive, stop, out).await,
    }
}

async fn list(config: &Config, list: &DlqList, out: &mut dyn Write) -> anyhow::Result<u8> {
    let filter = list.filters.filter()?;
    let topic = list.filters.topic.get().name(&config.kafka.topics);
    let extent = filter.since.map_or(Extent::All, Extent::Since);
    let mut snapshot = Snapshot::open(&config.kafka, topic, extent).await?;
    let mut opener = Some(Opener::new(&config.schema_registry, &config.kafka.topics));
    let mut letters = Vec::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let bar = bar("dead letters read", None);
    while let Some(record) = snapshot.next().await? {
        bar.inc(1);
        let letter = DeadLetter(record);
        if !filter.takes(&letter) {
            continue;
        }
        let (id, user) = request_and_user(&mut opener, &letter).await;
        *reasons.entry(letter.reason().to_owned()).or_default() += 1;
        let shown = match list.json {
            true => Row::Json(json_line(&letter, id.as_deref(), user.as_deref())),
            false => Row::Cells(Box::new(cells(
                &letter,
                id.as_deref(),
                user.as_deref(),
                now(),
            ))),
        };
        letters.push((letter.0.timestamp, letter.position(), shown));
    }
    bar.finish_and_clear();
    letters.sort_by_key(|(time, position, _)| (*time, *position));
    let columns = [
        "position", "age", "reason", "key", "user", "attempts", "from", "error",
    ];
    let mut table = Table::new(columns.map(Column::Left));
    for (_, _, shown) in letters {
        match shown {
            Row::Json(line) => writeln!(out, "{line}")?,
            Row::Cells(cells) => table.row(*cells),
        }
    }
    if !list.json && !reasons.is_empty() {
        table.print(out)?;
    }
    out.flush()?;
    // To standard error, so that standard output has only the dead letters when it is JSON or goes into a pipe.
    let mut counts = Vec::new();
    histogram(&mut counts, &format!("dead letters on {topic}"), &reasons)?;
    note(String::from_utf8_lossy(&counts).trim_end());
    Ok(0)
}

/// A dead letter as it is printed.
enum Row {
    Json(String),
    Cells(Box<[Cell; 8]>),
}

/// Returns the request id and user of the value, as far as it can be read. If the registry fails, reports why and drops
/// the opener: a registry that hangs once would hang again for each dead letter.
async fn request_and_user(
    opener: &mut Option<Opener>,
    letter: &DeadLetter,
) -> (Option<String>, Option<String>) {
    let Some(open) = opener else {
        return (None, None);
    };
    match open.open(letter).await {
        Ok(opened) => (opened.request_id, opened.user),
        Err(error) => {
            let why = causes(&error);
            *opener = None;
            note(format!(
                "cannot read the values, so users are not shown: {why}"
            ));
            (None, None)
        }
    }
}

/// Returns a dead letter as a row of the table; `now` is when it is printed.
fn cells(letter: &DeadLetter, id: Option<&str>, user: Option<&str>, now: i64) -> [Cell; 8] {
    let key = letter.key();
    let id = key.as_deref().or(id).map_or("-".to_owned(), redacted);
    let mut from = letter
        .original()
        .map_or("-".to_owned(), |from| redacted(&from.to_string()));
    if let Some((channel, hash)) = letter.notification() {
        from = format!("{from} to {} {}", channel.as_str(), redacted(hash));
    }
    let mut error = cut(&redacted(letter.error()), LONGEST_ERROR);
    if letter.is_truncated() {
        error = format!("(value truncated) {error}");
    }
    [
        Cell::from(letter.position().to_string()),
        Cell::from(ago(letter.0.timestamp.unwrap_or_default(), now)),
        Cell::from(redacted(letter.reason())).styled(BAD),
        Cell::from(id),
        Cell::from(user.map_or("-".to_owned(), redacted)),
        Cell::from(letter.attempts().to_string()),
        Cell::from(from),
        Cell::from(error),
    ]
}

fn json_line(letter: &DeadLetter, id: Option<&str>, user: Option<&str>) -> String {
    let from = letter.original();
    let key = letter.key();
    json!({
        "partition": letter.position().partition,
        "offset": letter.position().offset,
        "dead_lettered_at": letter.0.timestamp.map(rfc3339),
        "reason": letter.reason(),
        "key": key,
        "request_id": id.or(key.as_deref()),
        "user_id": user,
        "attempts": letter.attempts(),
        "original": from,
        "original_at": letter.original_timestamp().map(rfc3339),
        "group": letter.0.header("dlq.group"),
        "channel": letter.notification().map(|(channel, _)| channel.as_str()),
        "target_hash": letter.notification().map(|(_, hash)| hash),
        "truncated": letter.is_truncated(),
        "error": redacted(letter.error()),
    })
    .to_string()
}

/// Prints the sum of the counts, then each count, the largest first.
fn histogram(
    out: &mut dyn Write,
    what: &str,
    counts: &BTreeMap<String, u64>,
) -> std::io::Result<()> {
    writeln!(out, "{} {what}", counts.values().sum::<u64>())?;
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (name, count) in counts {
        writeln!(out, "{count:>8}  {}", redacted(name))?;
    }
    Ok(())
}

impl FilterArgs {
    fn filter(&self) -> Result<Filter, Error> {
        let (since, until) = self.period.bounds()?;
        Ok(Filter {
            reasons: self
                .reason
                .iter()
                .map(|code| code.as_str().to_owned())
                .collect(),
            since,
            until,
            key: self.key.clone(),
        })
    }
}

impl TopicChoice {
    fn get(self) -> DlqTopic {
        match self.notifications {
            true => DlqTopic::Notifications,
            false => DlqTopic::Requests,
        }
    }
}

fn reason() -> impl TypedValueParser<Value = ErrorCode> {
    word(ErrorCode::REASONS.map(|code| (code.as_str(), code)).into())
}

#[cfg(test)]
mod tests;
