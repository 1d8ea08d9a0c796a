//! `genflow list`: prints runs from Temporal, the newest first.

use std::io::Write;

use clap::ValueEnum;

use super::status::{LONGEST, PATIENCE, within};
use super::text::plain;
use super::{Error, watch};
use crate::domain::{Kind, RequestId, UserId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::list::{Listed, State, Which};
use crate::operate::dead_letters::{Moment, NoMoment};

/// `genflow list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only runs of this user
    #[arg(long)]
    pub user: Option<String>,
    /// Only runs of this kind
    #[arg(long, value_enum)]
    pub kind: Option<Made>,
    /// Only runs in this state: running, completed, failed, cancelled, terminated, timed_out, claimed
    #[arg(long, value_enum)]
    pub state: Option<Stands>,
    /// Only items of this batch
    #[arg(long, value_name = "ID")]
    pub batch: Option<String>,
    /// Only runs that began at this time or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only runs that began before this time: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Maximum number of runs to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print each run as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// The kind of a run, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Made {
    /// A video.
    Video,
    /// Images.
    Image,
    /// A batch of both.
    Batch,
}

/// The state of a run, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Stands {
    /// Still open.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended without a result.
    Failed,
    /// Ended by a cancel.
    Cancelled,
    /// Closed from outside.
    Terminated,
    /// Closed by Temporal's own time-out.
    TimedOut,
    /// An id that was cancelled before its request arrived.
    Claimed,
}

pub(super) async fn list(config: &Config, list: &List, out: &mut dyn Write) -> Result<u8, Error> {
    let now = now();
    let which = list.which(now)?;
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let server = &config.temporal;
    let temporal = within(PATIENCE, server, Temporal::connect(server)).await?;
    // One run above the limit shows whether there are more.
    let listing = temporal.list(&which, limit.saturating_add(1), now);
    let mut runs = within(LONGEST, server, listing).await?;
    let more = runs.len() > limit;
    runs.truncate(limit);
    if list.json {
        for run in &runs {
            let line = serde_json::to_string(run).map_err(anyhow::Error::from)?;
            writeln!(out, "{line}")?;
        }
    } else {
        table(&runs, out)?;
    }
    out.flush()?;
    if more {
        // On standard error, so that standard output has only runs.
        let mut reported = std::io::stderr().lock();
        writeln!(
            reported,
            "these are the newest {limit}; there are more: raise --limit"
        )?;
    }
    Ok(0)
}

impl List {
    fn which(&self, now: i64) -> Result<Which, Error> {
        let usage = |what: &str, error| Error::Usage(format!("{what} {error}"));
        let user = self.user.clone().map(UserId::try_from).transpose();
        let batch = self.batch.clone().map(RequestId::try_from).transpose();
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
        Ok(Which {
            user: user.map_err(|error| usage("--user", error))?,
            kind: self.kind.map(Kind::from),
            state: self.state.map(State::from),
            batch: batch.map_err(|error| usage("--batch", error))?,
            since,
            until,
        })
    }
}

impl From<Made> for Kind {
    fn from(made: Made) -> Self {
        match made {
            Made::Video => Self::Video,
            Made::Image => Self::Image,
            Made::Batch => Self::Batch,
        }
    }
}

impl From<Stands> for State {
    fn from(stands: Stands) -> Self {
        match stands {
            Stands::Running => Self::Running,
            Stands::Completed => Self::Completed,
            Stands::Failed => Self::Failed,
            Stands::Cancelled => Self::Cancelled,
            Stands::Terminated => Self::Terminated,
            Stands::TimedOut => Self::TimedOut,
            Stands::Claimed => Self::Claimed,
        }
    }
}

/// Prints one line per run, in aligned columns.
fn table(runs: &[Listed], out: &mut dyn Write) -> Result<(), Error> {
    let rows: Vec<_> = runs.iter().map(row).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

const COLUMNS: usize = 6;

/// Start, state, kind, workflow id, user, and the batch of an item.
fn row(run: &Listed) -> [String; COLUMNS] {
    let or_none = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
    let batch = run.batch_id.as_ref();
    [
        watch::time(run.started_at),
        run.state.as_str().to_owned(),
        or_none(&run.kind),
        run.workflow_id.clone(),
        or_none(&run.user_id),
        batch.map_or_else(String::new, |batch| format!("of {}", plain(batch))),
    ]
}

fn moment(text: &str) -> Result<Moment, NoMoment> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, state: State, batch: Option<&str>) -> Listed {
        Listed {
            request_id: id.to_owned(),
            workflow_id: id.to_owned(),
            kind: (state != State::Claimed).then(|| "IMAGE".to_owned()),
            user_id: (state != State::Claimed).then(|| "ann".to_owned()),
            batch_id: batch.map(str::to_owned),
            state,
            started_at: 1_700_000_000_123,
            closed_at: None,
        }
    }

    #[test]
    fn a_run_is_a_line_and_columns_stand_below_each_other() {
        let runs = [
            run("order-7", State::Running, None),
            run("a", State::Cancelled, Some("b")),
            run("gone", State::Claimed, None),
        ];
        let mut out = Vec::new();

        table(&runs, &mut out).unwrap();

        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "2023-11-14T22:13:20.123Z  running    IMAGE  order-7  ann\n\
             2023-11-14T22:13:20.123Z  cancelled  IMAGE  a        ann  of b\n\
             2023-11-14T22:13:20.123Z  claimed    -      gone     -\n"
        );
    }

    #[test]
    fn what_cannot_be_asked_for_is_a_fault_of_usage() {
        use clap::Parser as _;

        let which = |arguments: &[&str]| {
            let line = [&["genflow", "list"], arguments].concat();
            let cli = super::super::Cli::try_parse_from(line).unwrap();
            let super::super::Command::Operator(super::super::Operator::List(list)) = cli.command
            else {
                panic!("not a list");
            };
            list.which(1_700_000_000_000)
        };

        assert_eq!(
            which(&["--since", "2h"]).unwrap().since,
            Some(1_699_992_800_000)
        );
        for bad in [
            &["--user", ""][..],
            &["--batch", "a b"],
            &["--since", "1h", "--until", "2h"],
        ] {
            assert_eq!(
                which(bad).unwrap_err().exit_code(),
                super::super::USAGE,
                "{bad:?}"
            );
        }
    }
}
