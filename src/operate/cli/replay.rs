//! `genflow replay`: checks, before a deploy, whether runs can continue under this build.

use std::fmt;
use std::io::Write;

use indicatif::ProgressBar;
use serde::Serialize;

use super::table::style_of;
use super::temporal::{LONGEST, PATIENCE, RunName, connect, not_found, within};
use super::terminal::{bar, note};
use crate::engines::clock::now;
use crate::engines::config;
use crate::engines::config::Config;
use crate::operate::replay::{
    Effect, Misfit, Recorded, Replayer, types_of_notifications, types_of_requests,
};
use crate::operate::text::plain;

/// `genflow replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Runs, open or closed: ID is the newest run of a request, ID~n its n-th retry [default: the open runs]
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Maximum number of open runs to replay of each workflow type, the newest first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with = "ids"
    )]
    pub limit: u32,
    /// Print each history as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Characters of a problem that a FAIL line shows: the SDK may put a whole event into it.
const LONGEST_PROBLEM: usize = 500;

pub(super) async fn replay(
    config: &Config,
    replay: &Replay,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut replays = Replays {
        replayer: Replayer::new()?,
        json: replay.json,
        out,
        bar: ProgressBar::hidden(),
        replayed: 0,
        misfits: 0,
        unknown: 0,
    };
    if replay.ids.is_empty() {
        replays.open(config, replay.limit).await?;
    } else {
        replays.named(&config.temporal, &replay.ids).await?;
    }
    replays.sum()
}

/// Replays histories, one after the other, and counts the results.
struct Replays<'o> {
    replayer: Replayer,
    json: bool,
    out: &'o mut dyn Write,
    bar: ProgressBar,
    replayed: usize,
    misfits: usize,
    unknown: usize,
}

/// The result of one history, as a line of JSON.
#[derive(Serialize)]
struct ReplayLine<'r> {
    workflow_id: &'r str,
    run_id: &'r str,
    workflow_type: &'r str,
    open: bool,
    ok: bool,
    event: Option<i64>,
    event_type: Option<&'r str>,
    problem: Option<&'r str>,
    #[serde(skip)]
    effect: Option<Effect>,
}

impl Replays<'_> {
    /// Replays the open runs of requests, and those of notifications, which may have a namespace of their own.
    async fn open(&mut self, config: &Config, limit: u32) -> anyhow::Result<()> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let notifications = config.temporal.for_deliveries();
        for (server, types) in [
            (&config.temporal, types_of_requests()),
            (&notifications, types_of_notifications()),
        ] {
            let temporal = connect(server).await?;
            for workflow_type in types {
                let listing = temporal.open(&workflow_type, limit, now());
                let (runs, all) = within(LONGEST, server, listing).await?;
                if all > 0 {
                    note(format!(
                        "{workflow_type}: {all} open, {} replayed",
                        runs.len()
                    ));
                }
                self.bar = bar(
                    format!("replaying {workflow_type}"),
                    Some(runs.len() as u64),
                );
                for (workflow_id, run_id) in &runs {
                    let reading = temporal.recorded(workflow_id, Some(run_id));
                    // A run without a history has ended since, and its retention is over.
                    if let Some(recorded) = within(LONGEST, server, reading).await? {
                        self.one(&recorded).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Replays the given runs.
    async fn named(&mut self, server: &config::Temporal, ids: &[String]) -> anyhow::Result<()> {
        let names = ids.iter().map(|id| RunName::parse(id));
        let names: Vec<_> = names.collect::<Result<_, _>>()?;
        self.bar = bar("replaying", Some(ids.len() as u64));
        let temporal = connect(server).await?;
        for (id, name) in ids.iter().zip(names) {
            let run = within(PATIENCE, server, name.workflow(&temporal)).await?;
            let recorded = match &run {
                Some(run) => within(LONGEST, server, temporal.recorded(run.as_str(), None)).await?,
                None => None,
            };
            match recorded {
                Some(recorded) => self.one(&recorded).await?,
                None => {
                    not_found(id, &temporal, server).await?;
                    self.unknown += 1;
                }
            }
        }
        Ok(())
    }

    async fn one(&mut self, recorded: &Recorded) -> anyhow::Result<()> {
        let misfit = self.replayer.replay(recorded).await?;
        self.replayed += 1;
        self.misfits += usize::from(misfit.is_some());
        let line = ReplayLine::of(recorded, misfit.as_ref());
        let line = match self.json {
            true => serde_json::to_string(&line)?,
            false => line.colored(),
        };
        self.bar.inc(1);
        self.bar.suspend(|| writeln!(self.out, "{line}"))?;
        // Flushed, so that a long list is visible while it grows.
        Ok(self.out.flush()?)
    }

    /// Prints the summary; returns the exit code, 1 if any run cannot continue or is unknown.
    fn sum(self) -> anyhow::Result<u8> {
        self.bar.finish_and_clear();
        let (replayed, misfits) = (self.replayed, self.misfits);
        let sum = match (replayed, misfits) {
            // The unknown runs are reported already.
            (0, _) if self.unknown > 0 => return Ok(1),
            (0, _) => "no run is open: there is nothing to replay".to_owned(),
            (_, 0) => format!("{replayed} replayed: all can continue under this build"),
            _ => format!(
                "{replayed} replayed, {misfits} FAIL: under this build such runs make no progress, or publish events again with \
                 other content. Keep workers of the build that the runs began with until the runs have ended, and \
                 start no worker of this build before then"
            ),
        };
        note(sum);
        Ok(u8::from(misfits + self.unknown > 0))
    }
}

impl<'r> ReplayLine<'r> {
    fn of(recorded: &'r Recorded, misfit: Option<&'r Misfit>) -> Self {
        Self {
            workflow_id: &recorded.workflow_id,
            run_id: &recorded.run_id,
            workflow_type: &recorded.workflow_type,
            open: recorded.open,
            ok: misfit.is_none(),
            event: misfit.map(|misfit| misfit.event),
            event_type: misfit.map(|misfit| misfit.kind.as_str()),
            problem: misfit.map(|misfit| misfit.problem.as_str()),
            effect: misfit.map(|misfit| misfit.effect),
        }
    }
}

impl ReplayLine<'_> {
    /// Returns the line with a coloured verdict.
    fn colored(&self) -> String {
        let line = self.to_string();
        let (verdict, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let style = style_of(verdict);
        format!("{style}{verdict}{style:#} {rest}")
    }
}

impl fmt::Display for ReplayLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = format!("{}  {}", plain(self.workflow_id), plain(self.workflow_type));
        let (Some(event), Some(kind), Some(problem), Some(effect)) =
            (self.event, self.event_type, self.problem, self.effect)
        else {
            return write!(f, "ok    {run}");
        };
        let problem: String = plain(problem).chars().take(LONGEST_PROBLEM).collect();
        let one = match self.open {
            true => "the run",
            false => "the run has ended; an open one like it",
        };
        let would = match effect {
            Effect::NoProgress => "would make no progress",
            Effect::OtherContent => "would publish events again with other content",
        };
        write!(
            f,
            "FAIL  {run}  event {event}, {kind}, does not match: {problem}; {one} {would}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_one_line() {
        let fits = ReplayLine {
            workflow_id: "order-7",
            run_id: "r",
            workflow_type: "generation.v1",
            open: false,
            ok: true,
            event: None,
            event_type: None,
            problem: None,
            effect: None,
        };
        assert_eq!(fits.to_string(), "ok    order-7  generation.v1");

        let fails = ReplayLine {
            ok: false,
            event: Some(11),
            event_type: Some("ActivityTaskScheduled"),
            problem: Some("finish.v1\nis missing"),
            effect: Some(Effect::NoProgress),
            ..fits
        };

        assert_eq!(
            fails.to_string(),
            "FAIL  order-7  generation.v1  event 11, ActivityTaskScheduled, does not match: finish.v1 is missing; the run \
             has ended; an open one like it would make no progress"
        );
    }
}
