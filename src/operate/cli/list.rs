//! `genflow list`: prints runs from Temporal, the newest first.

use std::io::Write;

use super::period::Period;
use super::table::{Cell, Column, Table, style_of};
use super::temporal::{LONGEST, connect, within};
use super::terminal::{ago, note};
use super::{Error, kind};
use crate::domain::{Kind, RequestId, UserId};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::temporal::list::{Listed, RunFilter, State};

/// `genflow list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only runs of this user
    #[arg(long)]
    pub user: Option<String>,
    /// Only runs of this kind
    #[arg(long, value_parser = kind())]
    pub kind: Option<Kind>,
    /// Only runs in this state
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
    } else if runs.is_empty() {
        note("no run matches");
    } else {
        table(&runs, now()).print(out)?;
    }
    out.flush()?;
    if more {
        note(format!(
            "these are the newest {limit}; there are more: raise --limit"
        ));
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

/// Returns the runs as a table; `now` is when it is printed.
fn table(runs: &[Listed], now: i64) -> Table {
    let columns = ["started", "state", "kind", "run", "user", "batch"];
    let mut table = Table::new(columns.map(Column::Left));
    for run in runs {
        let or_none = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or("-"));
        let state = run.state.as_str();
        table.row([
            Cell::from(ago(run.started_at, now)),
            Cell::from(state).styled(style_of(state)),
            or_none(&run.kind),
            Cell::from(&run.workflow_id),
            or_none(&run.user_id),
            Cell::from(run.batch_id.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::cli::table::without_colors;

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
        let table = table(&runs, 1_700_000_200_000);

        assert_eq!(
            without_colors(|out| table.print(out).unwrap()),
            "started    state      kind   run      user  batch\n\
             3 min ago  running    IMAGE  order-7  ann\n\
             3 min ago  cancelled  IMAGE  a        ann   b\n\
             3 min ago  claimed    -      gone     -\n"
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
