//! What a person who has signed in can do: cancel and retry requests, redrive dead letters, send notifications again and
//! test an endpoint (`by_hand`).
//!
//! Each action is first asked for as a dry run, which says how many would be sent and why others would not. The action
//! itself names the number that the dry run reported, and does nothing if it would now send more. Cancels and retries
//! (`crate::operate::requests::bulk`) are commands on `gen.commands`, and repeated notifications are deliveries; both name
//! the person, as the log does for all.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::access::{Who, refused};
use super::api;
use super::asked::{Asked, Verb, refused_if_grown};
use super::by_hand;
use super::letters;
use super::letters::topic;
use crate::domain::{Action, Command};
use crate::engines::clock::now;
use crate::operate::dead_letters::{
    self, DlqTopic, Position, RedriveOrder, RedrivePolicy, Redriven, redrive,
};
use crate::operate::requests::bulk::{self, Plan, Selection};

/// Dead letters that are sent again in a second.
const REDRIVE_RATE: u32 = 50;
/// The most dead letters of one redrive: the page waits for its end.
const MOST_REDRIVEN: usize = 1_000;
/// Dead letters that were dead-lettered this many times are not sent again.
const MOST_ATTEMPTS: u32 = 3;

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
        Verb::Cancel => command(&shared, &person, &asked, Action::Cancel).await,
        Verb::Retry => command(&shared, &person, &asked, Action::Retry).await,
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
async fn command(
    shared: &Shared,
    person: &str,
    asked: &Asked,
    action: Action,
) -> anyhow::Result<Response> {
    let plan = match plan(shared, asked, action) {
        Ok(plan) => plan,
        Err(why) => return Ok(refused(StatusCode::BAD_REQUEST, &why)),
    };
    if asked.dry_run {
        let answer = json!({
            "would": plan.ids.len(),
            "left": plan.left,
            "ids": plan.ids,
            "usual_cost_usd": plan.usual_cost,
        });
        return Ok(Json(answer).into_response());
    }
    if let Some(refusal) = refused_if_grown(asked, plan.ids.len()) {
        return Ok(refusal);
    }
    let issued_by = format!("console:{person}");
    let order = bulk::Order {
        action,
        reason: asked.reason.as_deref(),
        issued_by: &issued_by,
    };
    let mut log = |command: &Command| {
        let request = command.request.as_str();
        tracing::info!(
            person,
            request,
            ?action,
            "a command was sent from the console"
        );
    };
    bulk::send(
        &shared.config,
        shared.api_key.clone(),
        &order,
        &plan.ids,
        &mut log,
    )
    .await?;
    Ok(Json(json!({ "sent": plan.ids.len() })).into_response())
}

/// Chooses the requests that an action is for.
///
/// # Errors
/// What is wrong with what was asked.
fn plan(shared: &Shared, asked: &Asked, action: Action) -> Result<Plan, String> {
    let query = asked.filter::<api::Asked>()?;
    let filter = query.as_ref().map(api::Asked::filter).transpose()?;
    let selection = match &filter {
        Some(filter) => Selection::Matching(filter),
        None => Selection::Ids(&asked.ids),
    };
    Plan::of(&shared.known.memory().requests, action, &selection)
}

/// Redrives dead letters by their positions, or all that match a filter.
async fn send_again(shared: &Shared, person: &str, asked: &Asked) -> anyhow::Result<Response> {
    let (topic, selection) = match selection(asked) {
        Ok(selected) => selected,
        Err(why) => return Ok(refused(StatusCode::BAD_REQUEST, &why)),
    };
    let order = |dry_run| RedriveOrder {
        selection: selection.clone(),
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
    let would = usize::try_from(summary.sent.values().sum::<u64>())?;
    if would > MOST_REDRIVEN {
        let why = format!(
            "{would} match, expected at most {MOST_REDRIVEN}; use a narrower filter, or genflow dlq redrive"
        );
        return Ok(refused(StatusCode::BAD_REQUEST, &why));
    }
    if asked.dry_run {
        let skipped = summary.skipped.iter();
        let left: BTreeMap<String, u64> = skipped
            .map(|(why, count)| (why.to_string(), *count))
            .collect();
        return Ok(Json(json!({ "would": would, "left": left })).into_response());
    }
    if let Some(refusal) = refused_if_grown(asked, would) {
        return Ok(refusal);
    }
    tracing::info!(
        person,
        would,
        "dead letters are sent again from the console"
    );
    // In a task of its own, so that it goes on if the person closes the page.
    let (shared, order) = (shared.clone(), order(false));
    let sending = tokio::spawn(async move {
        let mut ignored = |_: &Redriven<'_>| Ok(());
        let done = redrive(&shared.config, &order, &stop, &mut ignored).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "not all dead letters were sent again from the console");
        }
        done
    });
    let sent: u64 = sending.await??.sent.values().sum();
    Ok(Json::<Value>(json!({ "sent": sent })).into_response())
}

/// Chooses the dead letters of a redrive.
///
/// # Errors
/// What is wrong with what was asked.
fn selection(asked: &Asked) -> Result<(DlqTopic, dead_letters::Selection), String> {
    let positions: Result<_, _> = asked.ids.iter().map(|id| id.parse::<Position>()).collect();
    let (Some(topic), Ok(positions)) = (topic(&asked.topic), positions) else {
        let why = "expected the topic requests or notifications, and positions such as 0:15";
        return Err(why.to_owned());
    };
    let Some(query) = asked.filter::<letters::Asked>()? else {
        return Ok((topic, dead_letters::Selection::At(positions)));
    };
    let filter = query.redrive();
    let mut filter = filter.ok_or("filter is invalid, expected reason, key, since or until")?;
    // A dead letter that comes between the count and the end of the redrive is not sent.
    filter.until = Some(filter.until.unwrap_or(i64::MAX).min(now()));
    Ok((topic, dead_letters::Selection::Matching(filter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_by_filter_takes_no_dead_letter_that_comes_later() {
        let until = |filter: Value| {
            let asked = json!({"verb": "redrive", "topic": "requests", "filter": filter});
            let asked: Asked = serde_json::from_value(asked).unwrap();
            let (_, selection) = selection(&asked).unwrap();
            match selection {
                dead_letters::Selection::Matching(filter) => filter.until.unwrap(),
                dead_letters::Selection::At(positions) => panic!("{positions:?}"),
            }
        };

        for filter in [json!({}), json!({"until": i64::MAX})] {
            let until = until(filter);
            assert!((1..=now()).contains(&until));
        }
        assert_eq!(until(json!({"until": 7})), 7);
    }
}
