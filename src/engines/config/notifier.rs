//! Settings of the notifier: channels, retry schedule, allowed addresses; and the keys that seal targets.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;

use super::dev;
use super::egress::{self, Egress};
use super::mail_server::MailServer;
use super::vars::{Vars, duration, has_login};
use crate::contract::seal::NotifyKey;
use crate::domain::email_address::{Domains, FromAddress, is_address};
use crate::domain::{Secret, parse_http_url, public_address};

#[derive(Clone, Debug)]
pub struct Notifier {
    /// Master secrets of `v1` webhook signatures. Each signs, in this order.
    pub signing_secrets: Vec<Secret>,
    /// Master keys of `v1a` (Ed25519) webhook signatures; none by default.
    pub signing_keys: Vec<Secret>,
    /// Rules for the addresses of webhooks.
    pub egress: Egress,
    /// Events handled at once, and attempts of delivery workflows at once.
    pub concurrency: usize,
    /// How long one attempt may take.
    pub try_timeout: Duration,
    /// Pauses before the second attempt, the third and so on. If the attempt after the last pause fails, the
    /// notification is given up.
    pub schedule: Vec<Duration>,
    /// Maximum notifications per second that are handed over to workflows.
    pub handovers_per_second: NonZeroU32,
    /// Slack incoming webhook of requests that name none.
    pub default_slack: Option<Secret<Url>>,
    /// Slack incoming webhook for failure reports to operators.
    pub ops_slack: Option<Secret<Url>>,
    /// Mail address for failure reports to operators.
    pub ops_email: Option<Secret>,
    /// Age above which an event is no longer notified.
    pub max_age: Duration,
    /// Hosts that Slack targets may name.
    pub slack_hosts: Vec<String>,
    /// How mail is sent; `None`: this notifier does not serve the channel.
    pub email: Option<Email>,
    /// Folder of templates that replace the built-in ones.
    pub templates: Option<PathBuf>,
}

/// How mail is sent.
#[derive(Clone, Debug)]
pub struct Email {
    pub server: MailServer,
    pub from: FromAddress,
    /// Domains of the addresses that tenants may name.
    pub allowed_domains: Domains,
    /// Limits of mail to addresses that tenants name.
    pub limits: MailLimits,
}

/// Maximum mails per hour to addresses that tenants name, in each notifier; `None`: no limit.
#[derive(Clone, Copy, Debug)]
pub struct MailLimits {
    pub address: Option<NonZeroU32>,
    pub user: Option<NonZeroU32>,
}

const SCHEDULE: &str = "5s,5m,30m,2h,5h,10h,14h,20h,24h";
const MOST_PAUSES: usize = 50;

pub(super) fn read(vars: &mut Vars<'_>) -> Notifier {
    let secrets = vars.secret("WEBHOOK_SIGNING_SECRET");
    let secrets = secrets.unwrap_or_else(|| dev::WEBHOOK_SIGNING_SECRET.to_owned());
    let keys = vars.secret("WEBHOOK_SIGNING_KEY").unwrap_or_default();
    let smtp_url = vars.secret("SMTP_URL");
    let slack_hosts = hosts(vars);
    let egress = egress::read(
        vars,
        [
            "WEBHOOK_ALLOW_PRIVATE",
            "WEBHOOK_ALLOW_HTTP",
            "WEBHOOK_PORTS",
        ],
    );
    Notifier {
        signing_secrets: masters(vars, "WEBHOOK_SIGNING_SECRET", &secrets, "whsec_", 24),
        signing_keys: masters(vars, "WEBHOOK_SIGNING_KEY", &keys, "whsk_", 32),
        concurrency: vars.number("NOTIFY_CONCURRENCY", 128, 1..=10_000) as usize,
        try_timeout: vars.duration_within("NOTIFY_TRY_TIMEOUT", "15s", "1ms"..="1m"),
        schedule: schedule(vars),
        handovers_per_second: NonZeroU32::new(vars.number(
            "NOTIFY_HANDOVERS_PER_SECOND",
            200,
            1..=100_000,
        ) as u32)
        .unwrap_or(NonZeroU32::MIN),
        default_slack: slack(vars, "SLACK_WEBHOOK_URL", &slack_hosts, &egress),
        ops_slack: slack(vars, "OPS_SLACK_WEBHOOK_URL", &slack_hosts, &egress),
        ops_email: ops_email(vars, smtp_url.is_some()),
        max_age: vars.duration("NOTIFY_MAX_AGE", "76h"),
        slack_hosts,
        egress,
        email: email(vars, smtp_url),
        templates: vars.optional("NOTIFY_TEMPLATES").map(PathBuf::from),
    }
}

/// Reads the master keys that users' keys are derived from: each `prefix` and base64, separated by commas.
fn masters(
    vars: &mut Vars<'_>,
    name: &'static str,
    text: &str,
    prefix: &str,
    shortest: usize,
) -> Vec<Secret> {
    let mut masters = Vec::new();
    for master in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let encoded = master.strip_prefix(prefix).unwrap_or_default();
        match random_bytes(encoded).filter(|bytes| (shortest..=64).contains(&bytes.len())) {
            Some(_) => masters.push(Secret::new(master.to_owned())),
            None => {
                let wanted = format!(
                    "is invalid, expected {prefix} and the base64 of {shortest} to 64 random bytes, several separated by commas"
                );
                vars.fault(name, &wanted);
            }
        }
    }
    masters
}

/// Decodes base64. `None` if it is not base64, or if all bytes are equal: no random source produces that.
fn random_bytes(encoded: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(encoded).ok()?;
    let first = bytes.first()?;
    bytes.iter().any(|byte| byte != first).then_some(bytes)
}

fn hosts(vars: &mut Vars<'_>) -> Vec<String> {
    let expected = "host names without ports, separated by commas";
    let hosts = vars.read("SLACK_ALLOWED_HOSTS", expected, |text| {
        let hosts = text.split(',').map(|host| url::Host::parse(host.trim()));
        hosts.map(|host| Some(host.ok()?.to_string())).collect()
    });
    hosts.unwrap_or_else(|| vec!["hooks.slack.com".to_owned()])
}

/// The default is the schedule of Standard Webhooks, without its immediate first attempt.
fn schedule(vars: &mut Vars<'_>) -> Vec<Duration> {
    let parse = |text: &str| {
        let pauses: Option<Vec<_>> = text.split(',').map(|part| duration(part.trim())).collect();
        pauses.filter(|pauses| pauses.len() <= MOST_PAUSES)
    };
    let expected = format!("1 to {MOST_PAUSES} times such as 5s,5m,2h");
    let given = vars.read("NOTIFY_SCHEDULE", &expected, parse);
    given.or_else(|| parse(SCHEDULE)).unwrap_or_default()
}

/// Reads a Slack URL and checks it at start. Otherwise each message to it would be refused later, perhaps unnoticed.
fn slack(
    vars: &mut Vars<'_>,
    name: &'static str,
    hosts: &[String],
    egress: &Egress,
) -> Option<Secret<Url>> {
    let text = vars.secret(name)?;
    // The fault does not show the value, which is a secret.
    let Some(url) = parse_http_url(&text) else {
        vars.fault(name, "is not an http or https URL");
        return None;
    };
    let host = url.host_str().unwrap_or_default();
    if !hosts.iter().any(|allowed| allowed == host) {
        vars.fault(name, "has a host that SLACK_ALLOWED_HOSTS does not list");
    } else if let Some(problem) = uncalled(&url, egress) {
        vars.fault(name, problem);
    }
    Some(Secret::new(url))
}

/// Returns why the rules for webhooks forbid calling a URL of the settings, if they do.
fn uncalled(url: &Url, egress: &Egress) -> Option<&'static str> {
    let port = url.port_or_known_default();
    if has_login(url) {
        Some("contains a user name or password, expected none")
    } else if url.scheme() == "http" && !egress.allow_http {
        Some("is http, expected https, or WEBHOOK_ALLOW_HTTP=true")
    } else if !port.is_some_and(|port| egress.ports.contain(port)) {
        Some("has a port that WEBHOOK_PORTS does not list")
    } else if !egress.allow_private && public_address::check(url).is_err() {
        Some("is in a private network, expected a public host, or WEBHOOK_ALLOW_PRIVATE=true")
    } else {
        None
    }
}

fn ops_email(vars: &mut Vars<'_>, has_server: bool) -> Option<Secret> {
    const NAME: &str = "OPS_EMAIL";
    let address = vars.optional(NAME)?;
    if !is_address(&address) {
        vars.fault(NAME, "is invalid, expected one address, local@domain");
    }
    if !has_server {
        vars.fault(NAME, "needs SMTP_URL too: without it no mail is sent");
    }
    Some(Secret::new(address))
}

fn email(vars: &mut Vars<'_>, smtp_url: Option<String>) -> Option<Email> {
    // The faults of SMTP_URL do not show its value, which may contain a password.
    let server = smtp_url.and_then(|url| {
        let parsed = MailServer::parse(&url);
        parsed
            .map_err(|error| vars.fault("SMTP_URL", &error.to_string()))
            .ok()
    });
    let wanted = "local@domain or Name <local@domain>";
    let from = vars.parsed("EMAIL_FROM", dev::EMAIL_FROM, wanted);
    let domains = vars.string("EMAIL_ALLOWED_DOMAINS", "");
    let allowed_domains = Domains::parse(&domains).unwrap_or_else(|part| {
        let problem = format!(
            "contains {part:?}, expected domains separated by commas, such as example.com,*.example.org, or * for all"
        );
        vars.fault("EMAIL_ALLOWED_DOMAINS", &problem);
        Domains::default()
    });
    let mut limit =
        |name, default| NonZeroU32::new(vars.number(name, default, 0..=1_000_000) as u32);
    let limits = MailLimits {
        address: limit("EMAIL_ADDRESS_LIMIT", 60),
        user: limit("EMAIL_USER_LIMIT", 1000),
    };
    Some(Email {
        server: server?,
        from,
        allowed_domains,
        limits,
    })
}

pub(super) fn notify_keys(vars: &mut Vars<'_>) -> Vec<NotifyKey> {
    const NAME: &str = "NOTIFY_KEYS";
    let given = vars.secret(NAME);
    let text = given.as_deref().unwrap_or(dev::NOTIFY_KEYS);
    let keys = named_keys(vars, NAME, text).into_iter();
    keys.map(|(id, key)| NotifyKey { id, key }).collect()
}

/// Reads keys of 32 bytes, each with an id: `id:base64`, separated by commas.
pub(super) fn named_keys(
    vars: &mut Vars<'_>,
    variable: &'static str,
    text: &str,
) -> Vec<(String, Secret)> {
    let mut keys = Vec::new();
    for part in text.split(',').map(str::trim) {
        let pair = part.split_once(':').filter(|(id, key)| {
            let is_key = random_bytes(key).is_some_and(|bytes| bytes.len() == 32);
            (1..=32).contains(&id.len()) && is_key
        });
        match pair {
            // What a key has encrypted names it by the id alone.
            Some((id, _)) if keys.iter().any(|(other, _)| other == id) => {
                let problem = format!("has two keys with the id {id:?}; expected ids that differ");
                vars.fault(variable, &problem);
            }
            Some((id, key)) => keys.push((id.to_owned(), Secret::new(key.to_owned()))),
            None => vars.fault(
                variable,
                "is invalid, expected id:key, an id of 1 to 32 bytes and the base64 of 32 random bytes, several \
                 separated by commas",
            ),
        }
    }
    keys
}
