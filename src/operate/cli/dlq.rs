//! `genflow dlq`: lists, shows and redrives dead letters. [`crate::operate::dead_letters`] does the work; this prints it.

mod redrive;
mod show;

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use self::redrive::Redrive;
pub use self::show::Show;
use super::{Error, watch};
use crate::domain::ErrorCode;
use crate::domain::error_chain::causes;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::dead_letters;
use crate::operate::dead_letters::{
    Filter, Letter, Moment, NoMoment, Opener, Position, Progress, REASONS, Shelf, redacted,
};

/// `genflow dlq`.
#[derive(Debug, clap::Subcommand)]
pub enum Dlq {
    /// List dead letters, one per line, the oldest first, and count them by reason
    List(List),
    /// Show one dead letter: its headers, and its value as JSON or as bytes; targets are redacted
    Show(Show),
    /// Send dead letters to the topic they came from again, once the cause is fixed
    #[command(long_about = redrive::ABOUT)]
    Redrive(Box<Redrive>),
}

/// `genflow dlq list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Which dead letters.
    #[command(flatten)]
    pub which: Which,
    /// Print each dead letter as a line of JSON; key and user are not redacted
    #[arg(long)]
    pub json: bool,
}

/// Which dead letters. A filter that is not given matches all.
#[derive(Debug, Default, clap::Args)]
pub struct Which {
    /// Use TOPIC_NOTIFICATIONS_DLQ: notifications that were given up, and events that the notifier could not read
    #[arg(long)]
    pub notifications: bool,
    /// Only those with this reason; several separated by commas
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = reason, conflicts_with = "notifications")]
    pub reason: Vec<ErrorCode>,
    /// Only those dead-lettered at this time or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only those dead-lettered before this time: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only those with exactly this record key, which for requests is the request id
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only requests of this user; leaves out values that cannot be read
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// Exit code after SIGINT or SIGTERM.
const INTERRUPTED: u8 = 130;
/// Characters of an error that a line shows.
const LONGEST_ERROR: usize = 100;

/// Runs one command, and returns its exit code. A `stop` ends a redrive after the record in flight.
///
/// # Errors
/// Each error is one line for standard error, and has its exit code.
pub async fn run(
    config: &Config,
    command: &Dlq,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<u8, Error> {
    // A command that only reads may be dropped at any time.
    let ended = match command {
        Dlq::List(list) => tokio::select! {
            ended = self::list(config, list, out) => ended,
            () = stop.cancelled() => Ok(INTERRUPTED),
        },
        Dlq::Show(show) => tokio::select! {
            ended = show::show(config, show, out) => ended,
            () = stop.cancelled() => Ok(INTERRUPTED),
        },
        // For a redrive, a closed output pipe is a fault: it ends before all dead letters are sent.
        Dlq::Redrive(redrive) => return redrive::redrive(config, redrive, stop, out).await,
    };
    match ended {
        Err(Error::Failed(error)) if super::run::is_closed_pipe(&error) => Ok(0),
        ended => ended,
    }
}

/// A line of the list, with what it is sorted by.
struct Row {
    parked: i64,
    position: Position,
    line: String,
}

async fn list(config: &Config, list: &List, out: &mut dyn Write) -> Result<u8, Error> {
    let filter = list.which.filter(now())?;
    let topic = shelf(list.which.notifications).topic(&config.kafka.topics);
    let extent = filter.since.map_or(Extent::All, Extent::Since);
    let mut snapshot = Snapshot::open(&config.kafka, topic, extent).await?;
    let mut more = More::open(config, topic, &snapshot).await?;
    let mut rows = Vec::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(record) = snapshot.next().await? {
        let letter = Letter { record };
        if !filter.takes(&letter) {
            continue;
        }
        let (id, user) = more.of(&letter, filter.user.is_some()).await?;
        if !filter.takes_user(user.as_deref()) {
            continue;
        }
        let sent = more.sent(&letter);
        *reasons.entry(letter.reason().to_owned()).or_default() += 1;
        let line = if list.json { json_line } else { line };
        rows.push(Row {
            parked: letter.record.timestamp.unwrap_or_default(),
            position: letter.position(),
            line: line(&letter, id.as_deref(), user.as_deref(), sent),
        });
    }
    rows.sort_unstable_by_key(|row| (row.parked, row.position));
    for row in &rows {
        writeln!(out, "{}", row.line)?;
    }
    out.flush()?;
    // On standard error, so that standard output has only the dead letters, also as JSON and in a pipe.
    let mut reported = std::io::stderr().lock();
    for problem in more.problems {
        writeln!(reported, "{problem}")?;
    }
    histogram(&mut reported, &format!("dead letters on {topic}"), &reasons)?;
    Ok(0)
}

/// What the list shows beside headers: request id and user, and what was redriven. If they cannot be read, the list
/// leaves them out and reports why.
struct More {
    opener: Option<Opener>,
    progress: Option<Progress>,
    problems: Vec<String>,
}

impl More {
    async fn open(config: &Config, topic: &str, snapshot: &Snapshot) -> Result<Self, Error> {
        let opener = Opener::new(&config.schema_registry_url, &config.kafka.topics)?;
        let mut problems = Vec::new();
        let progress = Progress::open(&config.kafka, topic, snapshot.bounds()).await;
        let progress = progress.map_err(|error| {
            let why = causes(&error);
            problems.push(format!("cannot show what was redriven: {why}"));
        });
        Ok(Self {
            opener: Some(opener),
            progress: progress.ok(),
            problems,
        })
    }

    /// Returns the request id and user of the value, if it can be read. If they are `needed`, a registry that does not
    /// answer is an error.
    async fn of(
        &mut self,
        letter: &Letter,
        needed: bool,
    ) -> Result<(Option<String>, Option<String>), Error> {
        let Some(opener) = &self.opener else {
            return Ok((None, None));
        };
        match opener.open(letter).await {
            Ok(opened) => Ok((opened.request_id, opened.user)),
            Err(error) if needed => Err(error.into()),
            Err(error) => {
                let why = causes(&error);
                self.problems.push(format!("cannot show users: {why}"));
                // A registry that hangs once would hang for each dead letter.
                self.opener = None;
                Ok((None, None))
            }
        }
    }

    fn sent(&self, letter: &Letter) -> Option<bool> {
        let progress = self.progress.as_ref()?;
        Some(progress.has(letter.position()))
    }
}

/// Formats a dead letter as one line.
fn line(letter: &Letter, id: Option<&str>, user: Option<&str>, sent: Option<bool>) -> String {
    let key = letter.key();
    let id = key.as_deref().or(id).map_or("-".to_owned(), redacted);
    let user = user.map_or("-".to_owned(), redacted);
    let from = letter.original();
    let mut line = format!(
        "{:<8}  {}  {:<22}  {id}  {user}  attempts {}  {}",
        letter.position(),
        watch::time(letter.record.timestamp.unwrap_or_default()),
        redacted(letter.reason()),
        letter.attempts(),
        from.map_or("-".to_owned(), |from| redacted(&from.to_string())),
    );
    if sent == Some(true) {
        line.push_str("  redriven");
    }
    if let Some((channel, hash)) = letter.notification() {
        line = format!("{line}  {} {}", channel.as_str(), redacted(hash));
    }
    if letter.is_truncated() {
        line.push_str("  truncated");
    }
    let error = redacted(letter.error());
    let cut: String = error.chars().take(LONGEST_ERROR).collect();
    let more = if cut.len() < error.len() { "…" } else { "" };
    format!("{line}  {cut}{more}").trim_end().to_owned()
}

fn json_line(letter: &Letter, id: Option<&str>, user: Option<&str>, sent: Option<bool>) -> String {
    let from = letter.original();
    let key = letter.key();
    json!({
        "partition": letter.position().partition,
        "offset": letter.position().offset,
        "parked_at": letter.record.timestamp.map(watch::time),
        "reason": letter.reason(),
        "key": key,
        "request_id": id.or(key.as_deref()),
        "user_id": user,
        "attempts": letter.attempts(),
        "original": from,
        "original_at": letter.original_timestamp().map(watch::time),
        "group": letter.record.header("dlq.group"),
        "redriven": sent,
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

impl Which {
    fn filter(&self, now: i64) -> Result<Filter, Error> {
        let millis = |moment: Option<Moment>| moment.map(|moment| moment.millis(now));
        let (since, until) = (millis(self.since), millis(self.until));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Error::Usage(format!(
                "--since {} is not before --until {}",
                watch::time(since),
                watch::time(until)
            )));
        }
        Ok(Filter {
            reasons: self.reason.clone(),
            since,
            until,
            key: self.key.clone(),
            user: self.user.clone(),
        })
    }
}

fn shelf(notifications: bool) -> Shelf {
    match notifications {
        true => Shelf::Notifications,
        false => Shelf::Requests,
    }
}

fn moment(text: &str) -> Result<Moment, NoMoment> {
    text.parse()
}

fn reason(text: &str) -> Result<ErrorCode, String> {
    let found = REASONS.into_iter().find(|code| code.as_str() == text);
    found.ok_or_else(|| {
        format!(
            "expected one of {}",
            REASONS.map(ErrorCode::as_str).join(", ")
        )
    })
}

impl From<dead_letters::Error> for Error {
    fn from(error: dead_letters::Error) -> Self {
        match error {
            dead_letters::Error::Read(error) => error.into(),
            dead_letters::Error::Progress(error) => Self::Unavailable(error.into()),
            dead_letters::Error::Registry(error) => error.into(),
            dead_letters::Error::Send(error) => error.into(),
            dead_letters::Error::Temporal(error) => Self::Unavailable(error.into()),
            dead_letters::Error::Encode(error) => Self::Failed(error.into()),
            dead_letters::Error::Output(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
