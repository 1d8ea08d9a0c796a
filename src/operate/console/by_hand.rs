//! Notifications that a person sends from the page: those of a request again, and a test of an endpoint.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use url::Url;

use super::Shared;
use super::access::refused;
use super::asked::{Asked, refused_if_grown};
use crate::contract::receipt::Channel;
use crate::engines::kafka::snapshot::Extent;
use crate::operate::notifications::{self, Chosen, Notified};
use crate::roles::notifier;

/// Sends notifications of one request again.
pub(super) async fn resend(
    shared: &Shared,
    person: &str,
    asked: &Asked,
) -> anyhow::Result<Response> {
    let (Some(channel), [id]) = (known_channel(asked), asked.ids.as_slice()) else {
        let why = "expected the id of one request, and a channel: WEBHOOK, EMAIL, SLACK or none";
        return Ok(refused(StatusCode::BAD_REQUEST, why));
    };
    let chosen = Chosen {
        event: asked.event.clone(),
        channel,
        target_hash: asked.target_hash.clone(),
    };
    let notified = notified(shared, id, true).await?;
    let by = format!("console:{person}");
    let would = notifications::resend(&shared.config, &notified, &chosen, &by, true).await?;
    let would = would.sent.len();
    if asked.dry_run {
        return Ok(Json(json!({ "would": would, "left": {} })).into_response());
    }
    if let Some(refusal) = refused_if_grown(asked, would) {
        return Ok(refusal);
    }
    let resent = notifications::resend(&shared.config, &notified, &chosen, &by, false).await?;
    let (sent, left) = (resent.sent.len(), resent.left);
    Ok(Json(json!({ "sent": sent, "left": left })).into_response())
}

/// Sends a test to a webhook that the console knows by its hash.
pub(super) async fn test(shared: &Shared, person: &str, asked: &Asked) -> anyhow::Result<Response> {
    let (Some(Some(Channel::Webhook)), Some(hash)) = (known_channel(asked), &asked.target_hash)
    else {
        let why = "expected the channel WEBHOOK and a target_hash";
        return Ok(refused(StatusCode::BAD_REQUEST, why));
    };
    let last = {
        let memory = shared.known.memory();
        memory.endpoints.last_request(Channel::Webhook, hash)
    };
    let found = match &last {
        Some(request) => target(shared, request, hash).await?,
        None => None,
    };
    let Some((url, user)) = found else {
        let why = "the address of the endpoint cannot be read: the console needs the NOTIFY_KEYS of intake, and the events of \
                   the endpoint's newest request";
        return Ok(refused(StatusCode::NOT_FOUND, why));
    };
    if asked.dry_run {
        return Ok(Json(json!({ "would": 1, "left": {} })).into_response());
    }
    if let Some(refusal) = refused_if_grown(asked, 1) {
        return Ok(refusal);
    }
    let by = format!("console:{person}");
    let answer = notifications::test(&shared.config, &url, &user, &by).await?;
    Ok(Json(json!({ "sent": 1, "test": answer })).into_response())
}

/// Returns the channel that was asked for, if any; `None` if there is no such channel.
fn known_channel(asked: &Asked) -> Option<Option<Channel>> {
    match &asked.channel {
        None => Some(None),
        Some(name) => Channel::parse(name).map(Some),
    }
}

/// Returns the URL of a webhook with this hash, and its user, by the sealed targets of a request's events.
async fn target(
    shared: &Shared,
    request: &str,
    hash: &str,
) -> anyhow::Result<Option<(Url, String)>> {
    let keys = &shared.config.notify_keys;
    let found = notified(shared, request, false).await?;
    let mut newest_first = found.events.into_iter().rev();
    Ok(newest_first.find_map(|(event, _)| {
        let url = notifier::webhook_target(&event, hash, keys)?;
        Some((url, event.user_id))
    }))
}

/// Reads the events of a request, and its receipts if `ends`, from the positions that are known.
async fn notified(shared: &Shared, request: &str, ends: bool) -> anyhow::Result<Notified> {
    let (events, receipts) = {
        let memory = shared.known.memory();
        let Some(row) = memory.requests.get(request) else {
            return Ok(Notified::default());
        };
        (row.events.clone(), row.receipts.clone())
    };
    let receipts = receipts.into_iter().filter(|_| ends);
    let extents = [
        Extent::At(events.into_iter().collect()),
        Extent::At(receipts.collect()),
    ];
    Notified::read(&shared.config, &shared.registry, request, extents).await
}
