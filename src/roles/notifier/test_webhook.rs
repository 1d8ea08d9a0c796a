//! A test webhook, which a person asks for: one attempt, signed as all webhooks are, that says that it is a test. No
//! circuit, receipt or metric counts it.

use std::time::Instant;

use serde::Serialize;
use url::Url;
use uuid::Uuid;

use super::attempt::Tried;
use super::webhook::{Sender, UnusableWebhook};
use crate::contract::receipt::DeliveryError;
use crate::domain::time::millis;
use crate::engines::config;

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestAnswer {
    /// Whether the target accepted it.
    pub delivered: bool,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub error: Option<DeliveryError>,
    /// Its `webhook-id`: `test-` and a UUID.
    pub webhook_id: String,
    /// How long the target took, in milliseconds.
    pub took_ms: u64,
}

/// Sends a test to `target`, signed with the secrets of `user`.
///
/// # Errors
/// A signing secret is malformed, or the HTTP client cannot be built. That the target does not accept it is an answer.
pub async fn test_webhook(
    settings: &config::Notifier,
    target: &Url,
    user: &str,
) -> Result<TestAnswer, UnusableWebhook> {
    let sender = Sender::new(settings)?;
    let webhook_id = format!("test-{}", Uuid::new_v4());
    let began = Instant::now();
    let limit = settings.try_timeout;
    let tried = sender.test(user, &webhook_id, target, limit).await;
    let (delivered, status, error) = match tried {
        Tried::Delivered(status) => (true, Some(status), None),
        Tried::Refused { status, error } | Tried::Later { status, error, .. } => {
            (false, status, Some(error))
        }
    };
    Ok(TestAnswer {
        delivered,
        status,
        error,
        webhook_id,
        took_ms: millis(began.elapsed()),
    })
}
