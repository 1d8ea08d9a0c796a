//! The notifier: channels, schedule, whom it may call; and the keys that seal targets.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::dev;
use super::vars::{Secret, Vars};

/// What the notifier needs.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// Master secrets of webhook signatures; the first signs first.
    pub signing_secrets: Vec<Secret>,
    /// Private keys of signatures that anybody can check; none by default.
    pub signing_keys: Vec<Secret>,
    /// Call private, loopback and link-local addresses too.
    pub allow_private: bool,
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
    /// Hosts that Slack targets may name.
    pub slack_hosts: Vec<String>,
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
        signing_keys: signing_keys(vars),
        allow_private: vars.flag("WEBHOOK_ALLOW_PRIVATE", false),
        concurrency: vars.number("NOTIFY_CONCURRENCY", 64, 1..=10_000) as usize,
        try_timeout: vars.duration("NOTIFY_TRY_TIMEOUT", "5s"),
        attempts: vars.number("NOTIFY_MAX_ATTEMPTS", 5, 1..=100) as u32,
        backoff: vars.duration("NOTIFY_BACKOFF", "1s"),
        max_age: vars.duration("NOTIFY_MAX_AGE", "76h"),
        slack_hosts: hosts(vars),
    }
}

fn signing_keys(vars: &mut Vars<'_>) -> Vec<Secret> {
    let text = vars.optional("WEBHOOK_SIGNING_KEY").unwrap_or_default();
    let mut keys = Vec::new();
    for key in text.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        let bytes = key
            .strip_prefix("whsk_")
            .and_then(|text| BASE64.decode(text).ok());
        if bytes.is_some_and(|bytes| matches!(bytes.len(), 32 | 64)) {
            keys.push(Secret::new(key.to_owned()));
        } else {
            vars.fault(
                "WEBHOOK_SIGNING_KEY",
                "want whsk_ and the base64 of 32 or 64 bytes, several by comma",
            );
        }
    }
    keys
}

fn hosts(vars: &mut Vars<'_>) -> Vec<String> {
    let text = vars.string("SLACK_ALLOWED_HOSTS", "hooks.slack.com");
    let mut hosts = Vec::new();
    for host in text.split(',').map(str::trim) {
        match url::Host::parse(host) {
            Ok(host) => hosts.push(host.to_string()),
            Err(_) => vars.fault("SLACK_ALLOWED_HOSTS", "want hosts without port, by comma"),
        }
    }
    hosts
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
