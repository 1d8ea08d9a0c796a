//! Cancels and retries many requests: which ones an action is for, why it leaves others out, and what it usually costs.
//!
//! The command line and the console ask for a plan first, as a dry run. The action itself names the number that the dry run
//! reported, and does nothing if it would now send more.

use std::collections::{BTreeMap, HashSet};

use anyhow::Context as _;
use uuid::Uuid;

use super::{Filter, Requests, Row, State};
use crate::domain::{Action, Command, CommandId, Kind, RequestId};
use crate::engines::config::Config;
use crate::operate::sender::RecordSender;

/// The most requests of one action.
const MOST: usize = 10_000;

/// The requests that an action is for.
#[derive(Debug)]
pub(in crate::operate) enum Selection<'s> {
    Ids(&'s [String]),
    Matching(&'s Filter),
}

/// What an action would send.
#[derive(Debug, Default)]
pub(in crate::operate) struct Plan {
    pub ids: Vec<String>,
    /// How many are left out, by reason.
    pub left: BTreeMap<&'static str, usize>,
    /// What requests of these kinds usually cost, in US dollars; `None` if no cost of one of the kinds is known, and for a
    /// cancel.
    pub usual_cost: Option<f64>,
}

/// What is sent for each request.
#[derive(Debug)]
pub(in crate::operate) struct Order<'o> {
    pub action: Action,
    pub reason: Option<&'o str>,
    pub issued_by: &'o str,
}

impl Plan {
    /// Chooses the requests that an action is for, among those that are known.
    ///
    /// # Errors
    /// Too many match.
    pub(in crate::operate) fn of(
        requests: &Requests,
        action: Action,
        selection: &Selection<'_>,
    ) -> Result<Self, String> {
        let mut plan = Self::default();
        let mut kinds = Vec::new();
        let mut add =
            |row: Option<&Row>, id: &str| match row.map(|row| (row, left_out(action, row))) {
                None => *plan.left.entry("unknown").or_default() += 1,
                Some((_, Some(why))) => *plan.left.entry(why).or_default() += 1,
                Some((row, None)) => {
                    plan.ids.push(id.to_owned());
                    kinds.push(row.kind);
                }
            };
        match selection {
            Selection::Ids(ids) => distinct(ids).for_each(|id| add(requests.get(id), id)),
            Selection::Matching(filter) => {
                for row in requests.find(filter, None, 0, usize::MAX).rows {
                    add(Some(row), &row.id);
                }
            }
        }
        if action == Action::Retry {
            plan.usual_cost = requests.usual_cost(&kinds);
        }
        if plan.ids.len() > MOST {
            let count = plan.ids.len();
            return Err(format!(
                "{count} match, expected at most {MOST}; use a narrower filter"
            ));
        }
        Ok(plan)
    }
}

/// Returns what is wrong if more would be sent than the person has `seen` in the dry run.
pub(in crate::operate) fn grown(would: usize, seen: usize) -> Option<String> {
    let why = || format!("{would} would be sent, but the dry run said {seen}; make a new dry run");
    (would > seen).then(why)
}

/// Returns each id once: two commands for one request could be two paid runs.
pub(in crate::operate) fn distinct(ids: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    ids.iter()
        .map(String::as_str)
        .filter(move |id| seen.insert(*id))
}

/// Returns why an action leaves a request out.
fn left_out(action: Action, row: &Row) -> Option<&'static str> {
    match (action, row.state) {
        (Action::Cancel, state) if state.is_open() => None,
        (Action::Cancel, _) => Some("has ended"),
        (_, State::Failed | State::Cancelled) if row.kind == Kind::Batch => {
            Some("is a batch: retry its items")
        }
        (_, State::Failed | State::Cancelled) => None,
        (_, State::Completed) => Some("has completed"),
        (_, State::Rejected) => Some("was rejected: send it again as a new request"),
        (_, State::Started | State::Generating) => Some("is running"),
    }
}

/// Sends a command for each request, and calls `report` after each. Needs Kafka and the registry, not Temporal.
///
/// # Errors
/// An id is invalid, or an engine does not answer; the error says how many were sent.
pub(in crate::operate) async fn send(
    config: &Config,
    api_key: Option<String>,
    order: &Order<'_>,
    ids: &[String],
    report: &mut (dyn FnMut(&Command) + Send),
) -> anyhow::Result<()> {
    let sender = RecordSender::open(config, api_key).await?;
    let topic = &config.kafka.topics.commands;
    for (sent, id) in ids.iter().enumerate() {
        let command = Command {
            id: CommandId::try_from(Uuid::new_v4().to_string())?,
            request: RequestId::try_from(id.clone())?,
            action: order.action,
            reason: order.reason.map(str::to_owned),
            issued_by: Some(order.issued_by.to_owned()),
        };
        let sending = sender.command(topic, &command).await;
        sending.with_context(|| format!("{sent} of {} were sent", ids.len()))?;
        report(&command);
    }
    Ok(())
}
