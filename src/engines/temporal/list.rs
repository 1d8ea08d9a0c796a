//! Lists runs by their search attributes, newest first.
//!
//! Not every visibility store sorts, so the list goes back through time in windows: all runs that began within one are
//! read and sorted here. Each is longer than the one before, so a quiet month costs few calls; the first is short, so
//! in busy times few runs are read beyond the limit.

use std::collections::HashSet;
use std::fmt::Write as _;

use futures::StreamExt as _;
use serde::Serialize;
use temporalio_client::{WorkflowExecution, WorkflowExecutionStatus, WorkflowListOptions};
use temporalio_common::search_attributes::SearchAttributeKey;

use super::client::{Error, Temporal, answered};
use crate::contract::search_attributes::{
    CALLED_BACK, CANCELLING, GEN_BATCH, GEN_KIND, GEN_STATE, GEN_USER,
};
use crate::domain::time::{rfc3339, since_epoch};
use crate::domain::{Kind, RequestId, UserId};
use crate::workflows::{batch, claimed, generation};

/// The first window, in milliseconds.
const WINDOW: i64 = 60_000;
/// The factor by which each window is longer than the one before it.
const GROWTH: i64 = 4;

/// A filter for runs; a field that is not set matches all.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub user: Option<UserId>,
    pub kind: Option<Kind>,
    pub state: Option<State>,
    pub batch: Option<RequestId>,
    /// Runs that began at this time or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Runs that began before this time, in milliseconds since the epoch.
    pub until: Option<i64>,
}

/// The state of a run, as the server lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum State {
    /// Open, paused, or in a status that this version does not know.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended without a result.
    Failed,
    /// Ended by a cancel.
    Cancelled,
    /// Closed from outside; its status has the outcome.
    Terminated,
    /// Closed by Temporal's own time-out.
    TimedOut,
    /// A claim: the id was cancelled before its request arrived.
    Claimed,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub request_id: String,
    /// The run's workflow id: the request's id; the n-th retry appends `~n`.
    pub workflow_id: String,
    /// `VIDEO`, `IMAGE` or `BATCH`; a claim has none.
    pub kind: Option<String>,
    /// The tenant; a claim has none.
    pub user_id: Option<String>,
    /// The batch that it is an item of.
    pub batch_id: Option<String>,
    pub state: State,
    /// Milliseconds since the epoch; for a batch that continued as new, the start of its last run.
    pub started_at: i64,
    /// Milliseconds since the epoch.
    pub closed_at: Option<i64>,
}

/// Workflow ids of the runs that have set [`GEN_STATE`], by its value.
#[derive(Debug, Default)]
pub(crate) struct Flagged {
    pub(crate) cancelling: HashSet<String>,
    pub(crate) called_back: HashSet<String>,
}

impl Flagged {
    pub(crate) fn is_empty(&self) -> bool {
        self.cancelling.is_empty() && self.called_back.is_empty()
    }
}

impl Temporal {
    /// Lists runs of this task queue, newest first, at most `limit`; `now` is where the search back in time begins.
    pub async fn list(
        &self,
        which: &RunFilter,
        limit: usize,
        now: i64,
    ) -> Result<Vec<Listed>, Error> {
        let query = which.query(&self.task_queue());
        let between = (which.since.unwrap_or(0), which.until);
        let takes = |run: &WorkflowExecution| which.takes(run);
        let found = self.newest_first(&query, between, now, limit, takes);
        Ok(found.await?.iter().map(Listed::of).collect())
    }

    /// Adds all open runs that have set [`GEN_STATE`]. After an error, `flagged` has those read so far.
    pub(crate) async fn list_flagged(&self, flagged: &mut Flagged) -> Result<(), Error> {
        let query = format!(
            "TaskQueue = '{}' AND ExecutionStatus = 'Running' AND {GEN_STATE} IN ('{CANCELLING}', '{CALLED_BACK}')",
            self.task_queue()
        );
        let mut runs = self
            .lister()
            .list_workflows(query, WorkflowListOptions::default());
        while let Some(run) = runs.next().await {
            let run = run.map_err(answered)?;
            let is_called_back = label(&run, GEN_STATE).as_deref() == Some(CALLED_BACK);
            let ids = match is_called_back {
                true => &mut flagged.called_back,
                false => &mut flagged.cancelling,
            };
            ids.insert(run.id().to_owned());
        }
        Ok(())
    }

    /// Returns the runs that match the query and `takes`, and that began between the two times, newest first.
    pub(crate) async fn newest_first(
        &self,
        query: &str,
        (since, until): (i64, Option<i64>),
        now: i64,
        limit: usize,
        takes: impl Fn(&WorkflowExecution) -> bool,
    ) -> Result<Vec<WorkflowExecution>, Error> {
        let mut newest = Vec::new();
        for (from, to) in windows(since, until, now) {
            if newest.len() >= limit {
                break;
            }
            let mut query = format!("{query} AND StartTime >= '{}'", rfc3339(from));
            if let Some(to) = to {
                write!(query, " AND StartTime < '{}'", rfc3339(to)).ok();
            }
            let mut found = Vec::new();
            let mut runs = self
                .lister()
                .list_workflows(query, WorkflowListOptions::default());
            while let Some(run) = runs.next().await {
                let run = run.map_err(answered)?;
                if takes(&run) {
                    found.push(run);
                }
            }
            found.sort_by(|a: &WorkflowExecution, b| {
                let began = |run: &WorkflowExecution| run.start_time().map_or(0, since_epoch);
                let newest = began(b).cmp(&began(a));
                newest.then_with(|| a.id().cmp(b.id()))
            });
            newest.append(&mut found);
        }
        newest.truncate(limit);
        Ok(newest)
    }
}

impl RunFilter {
    /// Returns the visibility query, without the times.
    fn query(&self, task_queue: &str) -> String {
        let types = match self.state {
            None => &[generation::NAME, batch::NAME, claimed::NAME][..],
            Some(State::Claimed) => &[claimed::NAME],
            Some(
                State::Running
                | State::Completed
                | State::Failed
                | State::Cancelled
                | State::Terminated
                | State::TimedOut,
            ) => &[generation::NAME, batch::NAME],
        };
        // Of a batch that continued as new, only the last run counts.
        let mut query = format!(
            "WorkflowType IN ('{}') AND ExecutionStatus != 'ContinuedAsNew'",
            types.join("', '")
        );
        let mut is = |name: &str, value: Option<&str>| {
            if let Some(value) = value
                && is_plain(value)
            {
                // Writing to a string does not fail.
                write!(query, " AND {name} = '{value}'").ok();
            }
        };
        is("TaskQueue", Some(task_queue));
        is("ExecutionStatus", self.state.and_then(State::status));
        is(GEN_USER, self.user.as_ref().map(UserId::as_str));
        is(GEN_KIND, self.kind.map(Kind::as_str));
        is(GEN_BATCH, self.batch.as_ref().map(RequestId::as_str));
        query
    }

    /// Returns whether a run that the query found is of the wanted user, since a query cannot name every user.
    fn takes(&self, run: &WorkflowExecution) -> bool {
        let user = self.user.as_ref().map(UserId::as_str);
        user.is_none() || user == label(run, GEN_USER).as_deref()
    }
}

/// Returns whether a text can be quoted in a query. Visibility stores differ in how they read a quote or a backslash,
/// however it is escaped (seen on SQLite: `\"` and `\\` are never found), so no query contains such a text.
fn is_plain(text: &str) -> bool {
    !text.contains(['\'', '"', '\\', '`'])
}

impl State {
    /// Returns the state's name, as the CLI prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
            Self::TimedOut => "timed_out",
            Self::Claimed => "claimed",
        }
    }

    /// Returns the server's status; `None` for a claim, which may have any.
    fn status(self) -> Option<&'static str> {
        Some(match self {
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Canceled",
            Self::Terminated => "Terminated",
            Self::TimedOut => "TimedOut",
            Self::Claimed => return None,
        })
    }

    fn of(run: &WorkflowExecution) -> Self {
        match run.workflow_type() {
            claimed::NAME => Self::Claimed,
            _ => run.status().into(),
        }
    }
}

impl From<WorkflowExecutionStatus> for State {
    fn from(status: WorkflowExecutionStatus) -> Self {
        match status {
            WorkflowExecutionStatus::Completed => Self::Completed,
            WorkflowExecutionStatus::Failed => Self::Failed,
            WorkflowExecutionStatus::Canceled => Self::Cancelled,
            WorkflowExecutionStatus::Terminated => Self::Terminated,
            WorkflowExecutionStatus::TimedOut => Self::TimedOut,
            WorkflowExecutionStatus::Running
            | WorkflowExecutionStatus::ContinuedAsNew
            | WorkflowExecutionStatus::Paused
            | WorkflowExecutionStatus::Unspecified
            | WorkflowExecutionStatus::Unknown
            | _ => Self::Running,
        }
    }
}

impl Listed {
    fn of(run: &WorkflowExecution) -> Self {
        Self {
            request_id: request_of(run.id()).to_owned(),
            workflow_id: run.id().to_owned(),
            kind: label(run, GEN_KIND),
            user_id: label(run, GEN_USER),
            batch_id: label(run, GEN_BATCH),
            state: State::of(run),
            started_at: run.start_time().map_or(0, since_epoch),
            closed_at: run.close_time().map(since_epoch),
        }
    }
}

fn label(run: &WorkflowExecution, name: &'static str) -> Option<String> {
    run.search_attributes()
        .get(&SearchAttributeKey::keyword(name))
}

/// Returns the request id in a run's workflow id.
pub(super) fn request_of(workflow: &str) -> &str {
    workflow.split('~').next().unwrap_or_default()
}

/// Returns the start and end of each window, back through time; the newest has no end unless `until` is set.
fn windows(since: i64, until: Option<i64>, now: i64) -> impl Iterator<Item = (i64, Option<i64>)> {
    let mut next = Some((until, WINDOW));
    std::iter::from_fn(move || {
        let (to, length) = next.take()?;
        let end = to.unwrap_or(now);
        let from = end.saturating_sub(length).max(since);
        if from > since {
            next = Some((Some(from), length.saturating_mul(GROWTH)));
        }
        (to.is_none() || from < end).then_some((from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_leave_no_time_out_and_take_none_twice() {
        let now = 1_700_000_000_000;

        let all: Vec<_> = windows(0, None, now).collect();

        assert_eq!(all.first(), Some(&(now - WINDOW, None)));
        assert!(all.len() < 20, "{}", all.len());
        for pair in all.windows(2) {
            assert_eq!(pair[1].1, Some(pair[0].0));
        }
        assert_eq!(all.last().map(|(from, _)| *from), Some(0));
        let bounded: Vec<_> = windows(now - 100_000, Some(now - 20_000), now).collect();
        assert_eq!(
            bounded,
            [
                (now - 80_000, Some(now - 20_000)),
                (now - 100_000, Some(now - 80_000))
            ]
        );
    }

    #[test]
    fn since_later_than_now_still_takes_what_comes_after() {
        assert_eq!(windows(20, None, 10).collect::<Vec<_>>(), [(20, None)]);
        assert_eq!(windows(20, Some(20), 30).count(), 0);
    }

    #[test]
    fn a_query_names_the_filters_that_are_set() {
        let which = RunFilter {
            user: Some("ann lee".to_owned().try_into().unwrap()),
            state: Some(State::Cancelled),
            kind: Some(Kind::Image),
            ..RunFilter::default()
        };

        assert_eq!(
            which.query("genflow"),
            "WorkflowType IN ('generation.v1', 'batch.v1') AND ExecutionStatus != 'ContinuedAsNew' \
             AND TaskQueue = 'genflow' AND ExecutionStatus = 'Canceled' AND GenUser = 'ann lee' \
             AND GenKind = 'IMAGE'"
        );
    }

    #[test]
    fn a_user_that_no_query_can_name_is_left_out_of_the_query() {
        let query = RunFilter::default().query("genflow");
        for odd in ["o'brien", "x' OR GenUser != '", "ann\\", "q\"q"] {
            let which = RunFilter {
                user: Some(odd.to_owned().try_into().unwrap()),
                ..RunFilter::default()
            };

            assert_eq!(which.query("genflow"), query, "{odd}");
        }
    }
}
