//! `genflow replay`: checks, before a deploy, whether runs can continue under this build.

use std::io::Write;

use serde::Serialize;

use super::Error;
use super::status::{LONGEST, PATIENCE, named, nobody, within};
use super::text::plain;
use super::text::read;
use crate::domain::error_chain::causes;
use crate::engines::clock::now;
use crate::engines::config;
use crate::engines::config::Config;
use crate::engines::temporal::client::Temporal;
use crate::operate::replay::{
    Effect, Misfit, Open, Recorded, ReplayError, Replayer, types_of_notifications,
    types_of_requests,
};

/// `genflow replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Runs, open or closed: ID is the newest run of a request, ID~n its n-th retry [default: the open runs]
    #[arg(value_name = "ID", conflicts_with = "file")]
    pub ids: Vec<String>,
    /// Read a history, as Temporal exports it, from a JSON file (- for standard input)
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
    /// Maximum number of open runs to replay of each workflow type, the newest first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["ids", "file"]
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
) -> Result<u8, Error> {
    let mut replays = Replays {
        replayer: Replayer::new().map_err(anyhow::Error::from)?,
        json: replay.json,
        out,
        replayed: 0,
        misfits: 0,
        unknown: 0,
    };
    if let Some(file) = &replay.file {
        let recorded = Recorded::from_json(read(file)?.as_bytes());
        let recorded = recorded.map_err(|error| Error::Usage(format!("{file}: {error}")))?;
        replays.one(&recorded).await?;
    } else if replay.ids.is_empty() {
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
    replayed: usize,
    misfits: usize,
    unknown: usize,
}

/// The result of one history, as a line of JSON.
#[derive(Serialize)]
struct Line<'r> {
    workflow_id: &'r str,
    run_id: &'r str,
    workflow_type: &'r str,
    open: bool,
    ok: bool,
    event: Option<i64>,
    event_type: Option<&'r str>,
    problem: Option<&'r str>,
}

impl Replays<'_> {
    /// Replays the open runs of requests, and those of notifications, which may have a namespace of their own.
    async fn open(&mut self, config: &Config, limit: u32) -> Result<(), Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let notifications = config.temporal.for_deliveries();
        for (server, types) in [
            (&config.temporal, types_of_requests()),
            (&notifications, types_of_notifications()),
        ] {
            let temporal = within(PATIENCE, server, Temporal::connect(server)).await?;
            for workflow_type in types {
                let listing = temporal.open(&workflow_type, limit, now());
                let (runs, there) = within(LONGEST, server, listing).await?;
                if there > 0 {
                    // On standard error, so that standard output has only results.
                    let mut told = std::io::stderr().lock();
                    let taken = runs.len();
                    writeln!(told, "{workflow_type}: {there} open, {taken} replayed")?;
                }
                for Open {
                    workflow_id,
                    run_id,
                } in &runs
                {
                    let reading = temporal.recorded(workflow_id, Some(run_id));
                    // A run without a history has ended since, and its retention is over.
                    if let Some(recorded) = within(LONGEST, server, reading).await? {
                        self.one(&whole(workflow_id, recorded)?).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Replays the given runs.
    async fn named(&mut self, server: &config::Temporal, ids: &[String]) -> Result<(), Error> {
        let ids: Vec<_> = ids
            .iter()
            .map(|id| Ok((id, named(id)?)))
            .collect::<Result<_, Error>>()?;
        let temporal = within(PATIENCE, server, Temporal::connect(server)).await?;
        for (id, (request, retry)) in ids {
            let run = match retry {
                Some(retry) => Some(request.run(retry)),
                None => within(PATIENCE, server, temporal.newest(&request)).await?,
            };
            let recorded = match &run {
                Some(run) => within(LONGEST, server, temporal.recorded(run.as_str(), None)).await?,
                None => None,
            };
            match recorded {
                Some(recorded) => self.one(&whole(id, recorded)?).await?,
                None => {
                    within(PATIENCE, server, temporal.has_namespace()).await?;
                    nobody(id)?;
                    self.unknown += 1;
                }
            }
        }
        Ok(())
    }

    async fn one(&mut self, recorded: &Recorded) -> Result<(), Error> {
        let misfit = self.replayer.replay(recorded).await;
        let misfit = misfit.map_err(anyhow::Error::from)?;
        self.replayed += 1;
        self.misfits += usize::from(misfit.is_some());
        let line = match self.json {
            true => json(recorded, misfit.as_ref())?,
            false => line(recorded, misfit.as_ref()),
        };
        writeln!(self.out, "{line}")?;
        // Flushed, so that a long list is visible while it grows.
        Ok(self.out.flush()?)
    }

    /// Prints the summary; returns the exit code, 1 if any run cannot continue or is unknown.
    fn sum(self) -> Result<u8, Error> {
        let (replayed, misfits) = (self.replayed, self.misfits);
        let sum = match (replayed, misfits) {
            // The unknown runs are reported already.
            (0, _) if self.unknown > 0 => return Ok(1),
            (0, _) => "no run is open: there is nothing to replay".to_owned(),
            (_, 0) => format!("{replayed} replayed: all can continue under this build"),
            _ => format!(
                "{replayed} replayed, {misfits} FAIL: under this build such runs make no progress, or publish events again with \
                 other content. Keep workers of the build that the runs began with until the runs have ended, and \
                 start no worker of this build before"
            ),
        };
        writeln!(std::io::stderr().lock(), "{sum}")?;
        Ok(u8::from(misfits + self.unknown > 0))
    }
}

/// Returns the history. The server's histories are complete, so an error is unexpected; it gets the run's id.
fn whole(id: &str, recorded: Result<Recorded, ReplayError>) -> Result<Recorded, Error> {
    recorded.map_err(|error| Error::Failed(anyhow::anyhow!("{id}: {}", causes(&error))))
}

fn json(recorded: &Recorded, misfit: Option<&Misfit>) -> Result<String, Error> {
    let line = Line {
        workflow_id: &recorded.workflow_id,
        run_id: &recorded.run_id,
        workflow_type: &recorded.workflow_type,
        open: recorded.open,
        ok: misfit.is_none(),
        event: misfit.map(|misfit| misfit.event),
        event_type: misfit.map(|misfit| misfit.kind.as_str()),
        problem: misfit.map(|misfit| misfit.problem.as_str()),
    };
    Ok(serde_json::to_string(&line).map_err(anyhow::Error::from)?)
}

fn line(recorded: &Recorded, misfit: Option<&Misfit>) -> String {
    let id = match recorded.workflow_id.as_str() {
        "" => &recorded.run_id,
        id => id,
    };
    let run = format!("{}  {}", plain(id), plain(&recorded.workflow_type));
    let Some(Misfit {
        event,
        kind,
        problem,
        effect,
    }) = misfit
    else {
        return format!("ok    {run}");
    };
    let problem: String = plain(problem).chars().take(LONGEST_PROBLEM).collect();
    let one = match recorded.open {
        true => "the run",
        false => "the run has ended; an open one like it",
    };
    let would = match effect {
        Effect::StandsStill => "would make no progress",
        Effect::OtherContent => "would publish events again with other content",
    };
    format!("FAIL  {run}  event {event}, {kind}, does not match: {problem}; {one} {would}")
}
