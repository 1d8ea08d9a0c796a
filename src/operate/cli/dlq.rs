//! `genflow dlq`: dead letters listed, shown and sent again. The work is that of [`crate::operate::dead_letters`]; here it is printed.

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
use crate::operate::dead_letters as dlq;
use crate::operate::dead_letters::{
    Filter, Letter, Moment, NoMoment, Opener, Position, Progress, REASONS, Shelf, redacted,
};

/// `genflow dlq`.
#[derive(Debug, clap::Subcommand)]
pub enum Dlq {
    /// Show each dead letter in a line, the oldest first, and how many there are by reason
    List(List),
    /// Show one dead letter: its headers, and its value as JSON or as bytes; targets are redacted
    Show(Show),
    /// Send dead letters again to the topic they came from, once their cause is gone
    #[command(long_about = redrive::ABOUT)]
    Redrive(Box<Redrive>),
}

/// `genflow dlq list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Which dead letters.
    #[command(flatten)]
    pub which: Which,
    /// Print each dead letter as a line of JSON; key and user stand there as they are
    #[arg(long)]
    pub json: bool,
}

/// Which dead letters; what is not given takes all.
#[derive(Debug, Default, clap::Args)]
pub struct Which {
    /// Those of TOPIC_NOTIFICATIONS_DLQ: notifications that were given up, and events that the notifier could not read
    #[arg(long)]
    pub notifications: bool,
    /// Parked for this reason; several by comma
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = reason, conflicts_with = "notifications")]
    pub reason: Vec<ErrorCode>,
    /// Parked at that time or later: RFC 3339, or how long ago as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Parked before that time: RFC 3339, or how long ago as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// With exactly this record key, which for requests is the request id
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Requests of this user; takes none whose value cannot be read
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// Exit code after SIGINT or SIGTERM.
const INTERRUPTED: u8 = 130;
/// How much of an error stands in a line.
const LONGEST_ERROR: usize = 100;

/// Carries out one command; returns the exit code. A `stop` ends a redrive behind the record under way.
///
/// # Errors
/// Each is one line for standard error, and knows its exit code.
pub async fn run(
    config: &Config,
    command: &Dlq,
    stop: &CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<u8, Error> {
    // Who only looks can leave at any time.
    let ended = match command {
        Dlq::List(list) => tokio::select! {
            ended = self::list(config, list, out) => ended,
            () = stop.cancelled() => Ok(INTERRUPTED),
        },
        Dlq::Show(show) => tokio::select! {
            ended = show::show(config, show, out) => ended,
            () = stop.cancelled() => Ok(INTERRUPTED),
        },
        // A redrive that nobody reads ends as a fault: it did not come to its end.
        Dlq::Redrive(redrive) => return redrive::redrive(config, redrive, stop, out).await,
    };
    match ended {
        Err(Error::Failed(error)) if super::run::is_closed_pipe(&error) => Ok(0),
        ended => ended,
    }
}

/// One dead letter as it is listed.
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
    // Not among the lines of JSON, and not in the way of a pipe.
    let mut told = std::io::stderr().lock();
    for problem in more.problems {
        writeln!(told, "{problem}")?;
    }
    histogram(&mut told, &format!("dead letters on {topic}"), &reasons)?;
    Ok(0)
}

/// What is told of dead letters beside their headers. Without it the list is shorter, and still a list.
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
            problems.push(format!("what was redriven is not shown: {why}"));
        });
        Ok(Self {
            opener: Some(opener),
            progress: progress.ok(),
            problems,
        })
    }

    /// Returns request id and user, as far as the value tells; where they are `needed` it must be asked.
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
                self.problems.push(format!("users are not shown: {why}"));
                // A registry that hangs once would hang at each.
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

/// Returns a dead letter in one line.
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

/// Prints counts with their sum, the largest first.
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
    found.ok_or_else(|| format!("want one of {}", REASONS.map(ErrorCode::as_str).join(", ")))
}

impl From<dlq::Error> for Error {
    fn from(error: dlq::Error) -> Self {
        match error {
            dlq::Error::Read(error) => error.into(),
            dlq::Error::Progress(error) => Self::Unavailable(error.into()),
            dlq::Error::Registry(error) => error.into(),
            dlq::Error::Send(error) => error.into(),
            dlq::Error::Temporal(error) => Self::Unavailable(error.into()),
            dlq::Error::Encode(error) => Self::Failed(error.into()),
            dlq::Error::Output(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
