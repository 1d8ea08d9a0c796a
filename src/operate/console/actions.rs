//! What a person who has signed in can do: cancel and retry requests, redrive dead letters, send notifications again and
//! test an endpoint (`by_hand`).
//!
//! Each action is first asked for as a dry run, which says how many would be sent and why others would not. The action
//! itself names the number that the dry run reported, and does nothing if it would now send more. Cancels and retries are
//! commands on `gen.commands`, and repeated notifications are deliveries; both name the person, as the log does for all.

use std::collections::BTreeMap;

use anyhow::Context as _;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Shared;
use super::access::{Who, refused};
use super::asked::{Asked, Verb, grown};
use super::by_hand;
use super::letters::topic;
use super::requests::{Row, State as RowState};
use crate::domain::{Action, Command, CommandId, Kind, RequestId};
use crate::operate::dead_letters::{
    Position, RedriveOrder, RedrivePolicy, Redriven, Selection, redrive,
};
use crate::operate::sender::RecordSender;

/// The most that one action sends.
const MOST: usize = 10_000;
/// Dead letters that are sent again in a second.
const REDRIVE_RATE: u32 = 50;
/// Dead letters that were dead-lettered this many times are not sent again.
const MOST_ATTEMPTS: u32 = 3;

/// What an action would send.
#[derive(Debug, Default)]
struct Plan {
    ids: Vec<String>,
    /// How many are left out, by reason.
    left: BTreeMap<&'static str, usize>,
    /// What requests of these kinds usually cost, in US dollars; `None` if no cost of one of the kinds is known.
    usual_cost: Option<f64>,
}

pub(super) async fn act(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Json(asked): Json<Asked>,
) -> Response {
    let Some(person) = who.0 else {
        let why = "the console is read-only: set CONSOLE_KEYS and sign in to act";
        return refused(StatusCode::FORBIDDEN, why);
    };
    let done = match asked.verb {
        Verb::Cancel | Verb::Retry => command(&shared, &person, &asked).await,
        Verb::Redrive => send_again(&shared, &person, &asked).await,
        Verb::Resend => Box::pin(by_hand::resend(&shared, &person, &asked)).await,
        Verb::Test => Box::pin(by_hand::test(&shared, &person, &asked)).await,
    };
    match done {
        Ok(answer) => answer,
        Err(error) => refused(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
    }
}

/// Cancels or retries requests.
async fn command(shared: &Shared, person: &str, asked: &Asked) -> anyhow::Result<Response> {
    let plan = match plan(shared, asked) {
        Ok(plan) => plan,
        Err(why) => return Ok(refused(StatusCode::BAD_REQUEST, &why)),
    };
    if asked.dry_run {
        let cost = plan.usual_cost.filter(|_| asked.verb == Verb::Retry);
        let answer = json!({
            "would": plan.ids.len(),
            "left": plan.left,
            "ids": plan.ids,
            "usual_cost_usd": cost,
        });
        return Ok(Json(answer).into_response());
    }
    if let Some(refusal) = grown(asked, plan.ids.len()) {
        return Ok(refusal);
    }
    let action = match asked.verb {
        Verb::Cancel => Action::Cancel,
        Verb::Retry | Verb::Redrive | Verb::Resend | Verb::Test => Action::Retry,
    };
    let sender = RecordSender::open(&shared.config, shared.api_key.clone()).await?;
    let topic = &shared.config.kafka.topics.commands;
    for (sent, id) in plan.ids.iter().enumerate() {
        let command = Command {
            id: CommandId::try_from(Uuid::new_v4().to_string())?,
            request: RequestId::try_from(id.clone())?,
            action,
            reason: asked.reason.clone(),
            issued_by: Some(format!("console:{person}")),
        };
        let sending = sender.command(topic, &command).await;
        sending.with_context(|| format!("{sent} of {} were sent", plan.ids.len()))?;
        tracing::info!(person, request = id, action = ?action, "a command was sent from the console");
    }
    Ok(Json(json!({ "sent": plan.ids.len() })).into_response())
}

/// Chooses the requests that an action is for.
///
/// # Errors
/// What is wrong with what was asked.
fn plan(shared: &Shared, asked: &Asked) -> Result<Plan, String> {
    let memory = shared.known.memory();
    let mut plan = Plan::default();
    let mut kinds = Vec::new();
    let mut add =
        |row: Option<&Row>, id: &str| match row.map(|row| (row, left_out(asked.verb, row))) {
            None => *plan.left.entry("unknown").or_default() += 1,
            Some((_, Some(why))) => *plan.left.entry(why).or_default() += 1,
            Some((row, None)) => {
                plan.ids.push(id.to_owned());
                kinds.push(row.kind);
            }
        };
    match &asked.filter {
        None => {
            for id in &asked.ids {
                add(memory.requests.get(id), id);
            }
        }
        Some(query) => {
            let filter = query.filter()?;
            for row in memory.requests.find(&filter, None, usize::MAX).rows {
                add(Some(row), &row.id);
            }
        }
    }
    plan.usual_cost = memory.requests.usual_cost(&kinds);
    if plan.ids.len() > MOST {
        let count = plan.ids.len();
        return Err(format!(
            "{count} match, expected at most {MOST}; use a narrower filter"
        ));
    }
    Ok(plan)
}

/// Returns why an action leaves a request out.
fn left_out(verb: Verb, row: &Row) -> Option<&'static str> {
    match (verb, row.state) {
        (Verb::Cancel, state) if state.is_open() => None,
        (Verb::Cancel, _) => Some("has ended"),
        (_, RowState::Failed | RowState::Cancelled) if row.kind == Kind::Batch => {
            Some("is a batch: retry its items")
        }
        (_, RowState::Failed | RowState::Cancelled) => None,
        (_, RowState::Completed) => Some("has completed"),
        (_, RowState::Rejected) => Some("was rejected: send it again as a new request"),
        (_, RowState::Started | RowState::Generating) => Some("is running"),
    }
}

/// Redrives dead letters by their positions.
async fn send_again(shared: &Shared, person: &str, asked: &Asked) -> anyhow::Result<Response> {
    let positions: Result<_, _> = asked.ids.iter().map(|id| id.parse::<Position>()).collect();
    let (Some(topic), Ok(positions)) = (topic(&asked.topic), positions) else {
        let why = "expected the topic requests or notifications, and positions such as 0:15";
        return Ok(refused(StatusCode::BAD_REQUEST, why));
    };
    let order = |dry_run| RedriveOrder {
        selection: Selection::At(std::collections::BTreeSet::clone(&positions)),
        policy: RedrivePolicy {
            topic,
            max_attempts: MOST_ATTEMPTS,
            new_id: false,
            accept_old: false,
            api_key: shared.api_key.clone(),
        },
        dry_run,
        rate: REDRIVE_RATE,
    };
    let stop = CancellationToken::new();
    let mut ignored = |_: &Redriven<'_>| Ok(());
    let summary = redrive(&shared.config, &order(true), &stop, &mut ignored).await?;
    let would: u64 = summary.sent.values().sum();
    let would = usize::try_from(would).unwrap_or(usize::MAX);
    let skipped = summary.skipped.iter();
    let left: BTreeMap<String, u64> = skipped
        .map(|(why, count)| (why.to_string(), *count))
        .collect();
    if asked.dry_run {
        return Ok(Json(json!({ "would": would, "left": left })).into_response());
    }
    if let Some(refusal) = grown(asked, would) {
        return Ok(refusal);
    }
    let summary = redrive(&shared.config, &order(false), &stop, &mut ignored).await?;
    let sent: u64 = summary.sent.values().sum();
    tracing::info!(
        person,
        sent,
        "dead letters were sent again from the console"
    );
    Ok(Json::<Value>(json!({ "sent": sent })).into_response())
}
