//! The notifier: channels, schedule, whom it may call; and the keys that seal targets.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::dev;
use super::egress::{self, Egress, Names};
use super::vars::{Secret, Vars};
use crate::notifier::email::{Domains, FromAddress, Server};

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
    /// How mail goes out; without it the channel is not served.
    pub email: Option<Email>,
    /// A folder of templates that replace ours.
    pub templates: Option<PathBuf>,
}

/// How mail goes out.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server that takes it.
    pub server: Server,
    /// Whom it is from.
    pub from: FromAddress,
    /// Where it may go.
    pub allowed_domains: Domains,
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
        email: email(vars),
        templates: vars.optional("NOTIFY_TEMPLATES").map(PathBuf::from),
    }
}

fn email(vars: &mut Vars<'_>) -> Option<Email> {
    // Its faults show none of it: a password may stand in it.
    let server = vars.optional("SMTP_URL").and_then(|url| {
        let parsed = Server::parse(&url);
        parsed
            .map_err(|error| vars.fault("SMTP_URL", &error.to_string()))
            .ok()
    });
    let wanted = "local@domain or Name <local@domain>";
    let from = vars.parsed("EMAIL_FROM", dev::EMAIL_FROM, wanted);
    let domains = vars.string("EMAIL_ALLOWED_DOMAINS", "");
    let allowed_domains = Domains::parse(&domains).unwrap_or_else(|part| {
        let problem =
            format!("holds {part:?}, want domains by comma, as example.com,*.example.org");
        vars.fault("EMAIL_ALLOWED_DOMAINS", &problem);
        Domains::default()
    });
    Some(Email {
        server: server?,
        from,
        allowed_domains,
    })
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
