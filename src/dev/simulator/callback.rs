//! Calls back when a job has ended, as Replicate and fal do: signed, repeated until it is answered with 2xx, and late, more
//! than once or never if the job's script says so.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use reqwest::{Client, RequestBuilder};
use ring::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet, time::sleep};
use uuid::Uuid;

use super::{
    SimulatorState, fal,
    job::{Callback, Protocol, SimulatedJob},
    play, replicate,
};
use crate::{
    domain::{
        Secret, hex,
        standard_webhooks::{bytes_of, sign},
    },
    engines::http,
};

/// What signs the callbacks of all accounts at Replicate.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What fal's key pair is made of.
const SEED: [u8; 32] = [7; 32];
/// The user at fal who has all accounts.
const USER: &str = "simulated-user";
/// Most sends of one callback.
const MOST_SENDS: u32 = 6;
/// Pause after the first send that is not answered with 2xx; it doubles.
const PAUSE: Duration = Duration::from_millis(250);

/// Returns the routes at which the providers publish what verifies their callbacks.
pub(super) fn routes() -> Router<Arc<SimulatorState>> {
    let secret = Router::new().route("/v1/webhooks/default/secret", get(secret));
    play::keyed(secret, "Bearer ", replicate::problem).route("/.well-known/jwks.json", get(keys))
}

/// Returns Replicate's secret.
async fn secret() -> Json<Value> {
    Json(json!({"key": SECRET}))
}

/// Returns fal's public keys.
async fn keys() -> Json<Value> {
    let public = BASE64.encode(pair().public_key());
    Json(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": public}]}))
}

#[expect(clippy::expect_used, reason = "the seed has 32 bytes")]
fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a seed of 32 bytes")
}

/// Calls back for all jobs whose ids come in `accepted`.
pub(super) async fn send_all(
    shared: Arc<SimulatorState>,
    mut accepted: UnboundedReceiver<String>,
) -> Result<(), reqwest::Error> {
    let client = http::client().timeout(Duration::from_secs(10)).build()?;
    let mut sending = JoinSet::new();
    loop {
        tokio::select! {
            Some(id) = accepted.recv() => {
                sending.spawn(call(shared.clone(), client.clone(), id));
            }
            Some(_) = sending.join_next() => {}
        }
    }
}

/// Calls back once a job has ended.
async fn call(shared: Arc<SimulatorState>, client: Client, id: String) {
    let Some(script) = shared
        .ledger()
        .job(&id)
        .map(|job| job.order.script.callback)
    else {
        return;
    };
    if script.never {
        return;
    }
    until_ended(&shared, &id).await;
    sleep(script.late.0).await;
    let callback_id = format!("msg_{}", Uuid::new_v4().simple());
    for _ in 0..script.copies.unwrap_or(1) {
        send(&shared, &client, &id, &callback_id).await;
    }
}

async fn until_ended(shared: &SimulatorState, id: &str) {
    let mut pause = Duration::from_millis(50);
    loop {
        let now = Instant::now();
        let left = match shared.ledger().job(id) {
            Some(job) if !job.phase(now).ended() => job.left(now),
            Some(_) | None => return,
        };
        // A job that runs until it is read or cancelled says nothing of its own accord.
        sleep(left.max(pause)).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Sends a callback until it is answered with 2xx.
async fn send(shared: &SimulatorState, client: &Client, id: &str, callback_id: &str) {
    for number in 0..MOST_SENDS {
        let request = shared
            .ledger()
            .job(id)
            .and_then(|job| request(client, job, callback_id));
        let Some(request) = request else { return };
        let status = request
            .send()
            .await
            .map_or(0, |answer| answer.status().as_u16());
        if let Some(job) = shared.ledger().job(id) {
            job.calls.callbacks.push(status);
        }
        if (200..300).contains(&status) {
            return;
        }
        sleep(PAUSE * 2_u32.pow(number)).await;
    }
}

fn request(client: &Client, job: &SimulatedJob, callback_id: &str) -> Option<RequestBuilder> {
    let Callback {
        url,
        protocol,
        base,
    } = job.callback.as_ref()?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let timestamp = since_epoch.unwrap_or_default().as_secs();
    let now = Instant::now();
    let request = client.post(url).header("content-type", "application/json");
    Some(match protocol {
        Protocol::Replicate => {
            let body = replicate::prediction(job, job.phase(now), now, base).to_string();
            let key = bytes_of(&Secret::new(SECRET.to_owned()))?;
            let signature = sign(&key, callback_id, timestamp, body.as_bytes());
            request
                .header("webhook-id", callback_id)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature)
                .body(body)
        }
        Protocol::Fal => {
            let body = fal::called_back(job, base).to_string();
            let hash = hex(digest(&SHA256, body.as_bytes()).as_ref());
            let text = format!("{}\n{USER}\n{timestamp}\n{hash}", job.id);
            request
                .header("x-fal-webhook-request-id", &job.id)
                .header("x-fal-webhook-user-id", USER)
                .header("x-fal-webhook-timestamp", timestamp)
                .header(
                    "x-fal-webhook-signature",
                    hex(pair().sign(text.as_bytes()).as_ref()),
                )
                .body(body)
        }
    })
}
