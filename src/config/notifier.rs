//! The notifier: channels, schedule, whom it may call; and the keys that seal targets.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::dev;
use super::egress::{self, Egress, Names};
use super::vars::{Secret, Vars};

/// What the notifier needs.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// Master secrets of webhook signatures; the first signs first.
    pub signing_secrets: Vec<Secret>,
    /// What a webhook's address may be.
    pub egress: Egress,
    /// Events handled at once.
    pub concurrency: usize,
    /// How long one try may take.
    pub try_timeout: Duration,
    /// How often a webhook is tried.
    pub attempts: u32,
    /// First pause between tries; it doubles.
    pub backoff: Duration,
    /// Age above which an event is not notified of any more.
    pub max_age: Duration,
}

/// A key that seals notification targets.
#[derive(Clone, Debug)]
pub struct NotifyKey {
    /// Names the key in what it sealed.
    pub id: String,
    /// 32 bytes, base64.
    pub key: Secret,
}

pub(super) fn read(vars: &mut Vars<'_>) -> Notifier {
    let secrets = vars.string("WEBHOOK_SIGNING_SECRET", dev::WEBHOOK_SIGNING_SECRET);
    let mut signing_secrets = Vec::new();
    for secret in secrets.split(',').map(str::trim) {
        let bytes = secret
            .strip_prefix("whsec_")
            .and_then(|text| BASE64.decode(text).ok());
        match bytes {
            Some(bytes) if (24..=64).contains(&bytes.len()) => {
                signing_secrets.push(Secret::new(secret.to_owned()))
            }
            Some(_) | None => vars.fault(
                "WEBHOOK_SIGNING_SECRET",
                "want whsec_ and the base64 of 24 to 64 bytes, several by comma",
            ),
        }
    }
    Notifier {
        signing_secrets,
        egress: egress::read(
            vars,
            &Names {
                allow_private: "WEBHOOK_ALLOW_PRIVATE",
                allow_http: "WEBHOOK_ALLOW_HTTP",
                ports: "WEBHOOK_PORTS",
            },
        ),
        concurrency: vars.number("NOTIFY_CONCURRENCY", 64, 1..=10_000) as usize,
        try_timeout: vars.duration("NOTIFY_TRY_TIMEOUT", "5s"),
        attempts: vars.number("NOTIFY_MAX_ATTEMPTS", 5, 1..=100) as u32,
        backoff: vars.duration("NOTIFY_BACKOFF", "1s"),
        max_age: vars.duration("NOTIFY_MAX_AGE", "76h"),
    }
}

pub(super) fn notify_keys(vars: &mut Vars<'_>) -> Vec<NotifyKey> {
    let text = vars.string("NOTIFY_KEYS", dev::NOTIFY_KEYS);
    let mut keys = Vec::new();
    for part in text.split(',').map(str::trim) {
        let pair = part.split_once(':').filter(|(id, key)| {
            (1..=32).contains(&id.len()) && BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 32)
        });
        match pair {
            Some((id, key)) => keys.push(NotifyKey {
                id: id.to_owned(),
                key: Secret::new(key.to_owned()),
            }),
            None => vars.fault(
                "NOTIFY_KEYS",
                "want id:base64 of 32 bytes, several by comma",
            ),
        }
    }
    keys
}
