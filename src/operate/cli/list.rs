//! `genflow list`: prints runs from Temporal, the newest first.

use std::io::Write;

use super::period::Period;
use super::temporal::{LONGEST, connect, within};
use super::{Error, kind};
use crate::domain::time::rfc3339;
use crate::domain::{Kind, RequestId, UserId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::temporal::list::{Listed, RunFilter, State};
use crate::operate::text::plain;

/// `genflow list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only runs of this user
    #[arg(long)]
    pub user: Option<String>,
    /// Only runs of this kind: video, image or batch
    #[arg(long, value_parser = kind)]
    pub kind: Option<Kind>,
    /// Only runs in this state: running, completed, failed, cancelled, terminated, timed_out, claimed
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only items of this batch
    #[arg(long, value_name = "ID")]
    pub batch: Option<String>,
    #[command(flatten)]
    pub period: Period,
    /// Maximum number of runs to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print each run as a line of JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn list(config: &Config, list: &List, out: &mut dyn Write) -> anyhow::Result<u8> {
    let which = list.which()?;
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let server = &config.temporal;
    let temporal = connect(server).await?;
    // One run above the limit shows whether there are more.
    let listing = temporal.list(&which, limit.saturating_add(1), now());
    let mut runs = within(LONGEST, server, listing).await?;
    let more = runs.len() > limit;
    runs.truncate(limit);
    if list.json {
        for run in &runs {
            let line = serde_json::to_string(run)?;
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
    fn which(&self) -> Result<RunFilter, Error> {
        let usage = |what: &str, error| Error::Usage(format!("{what} {error}"));
        let user = self.user.clone().map(UserId::try_from).transpose();
        let batch = self.batch.clone().map(RequestId::try_from).transpose();
        let (since, until) = self.period.bounds()?;
        Ok(RunFilter {
            user: user.map_err(|error| usage("--user", error))?,
            kind: self.kind,
            state: self.state,
            batch: batch.map_err(|error| usage("--batch", error))?,
            since,
            until,
        })
    }
}

/// Prints one line per run, in aligned columns.
fn table(runs: &[Listed], out: &mut dyn Write) -> std::io::Result<()> {
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

/// Returns the cells of a line: start, state, kind, workflow id, user, and the batch of an item.
fn row(run: &Listed) -> [String; COLUMNS] {
    let or_none = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
    let batch = run.batch_id.as_ref();
    [
        rfc3339(run.started_at),
        run.state.as_str().to_owned(),
        or_none(&run.kind),
        run.workflow_id.clone(),
        or_none(&run.user_id),
        batch.map_or_else(String::new, |batch| format!("of {}", plain(batch))),
    ]
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
    fn a_run_is_a_line_in_aligned_columns() {
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
    fn an_invalid_filter_is_a_usage_error() {
        use clap::Parser as _;

        let which = |arguments: &[&str]| {
            let line = [&["genflow", "list"], arguments].concat();
            let cli = super::super::Cli::try_parse_from(line).unwrap();
            let super::super::CliCommand::Operator(super::super::Operator::List(list)) =
                cli.command
            else {
                panic!("not a list");
            };
            list.which()
        };

        assert_eq!(
            which(&["--since", "2023-11-14T22:13:20Z"]).unwrap().since,
            Some(1_700_000_000_000)
        );
        for bad in [
            &["--user", ""][..],
            &["--batch", "a b"],
            &["--since", "1h", "--until", "2h"],
        ] {
            assert!(matches!(which(bad), Err(Error::Usage(_))), "{bad:?}");
        }
    }
}
