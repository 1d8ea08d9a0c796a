//! The settings of `genflow dev`: what it refuses, its defaults, and how it separates its names from those of other
//! deployments.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::app::{self, Roles};
use crate::engines::config::{Config, Fault, Faults, Topics};
use crate::operate::cli::local::Here;

/// Defaults for development; the environment overrides them.
const DEFAULTS: [(&str, &str); 8] = [
    ("GENFLOW_INSECURE_DEV", "true"),
    ("MOCK_EXTERNAL_APIS", "true"),
    ("WEBHOOK_ALLOW_PRIVATE", "true"),
    ("LOG_LEVEL", "warn"),
    ("FETCH_POLL_INTERVAL", "300ms"),
    ("PROGRESS_INTERVAL", "500ms"),
    ("SHUTDOWN_GRACE", "10s"),
    // A placeholder: the mail catcher's port is known only when it runs, but OPS_EMAIL needs a server before that.
    ("SMTP_URL", "smtp://localhost"),
];

/// Reads the settings. The engines' addresses come first, then the environment, then the defaults of development.
pub(super) fn load(
    here: &Here,
    engines: &BTreeMap<&'static str, String>,
    data: &Path,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Config, Faults> {
    let default = |name: &str| {
        if name == "TEMP_DIR" {
            return Some(data.join("temp").display().to_string());
        }
        let mut defaults = DEFAULTS.iter();
        let (_, value) = defaults.find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    };
    let mut config = app::settings::load(Roles::ALL, |name| {
        if name == "MOCK_EXTERNAL_APIS" && here.real.is_some() {
            return Some("false".to_owned());
        }
        let engine = engines.get(name).cloned();
        if engine.is_none() && engines.contains_key("TEMPORAL_HOST") && is_of_another_server(name) {
            return None;
        }
        engine.or_else(|| lookup(name)).or_else(|| default(name))
    })?;
    if here.use_existing {
        keep_apart(&mut config, lookup("USER").as_deref());
    }
    Ok(config)
}

/// Returns whether a variable says how to reach a Temporal server that dev has not started. The `temporal` command uses such
/// variables too, so they may be set for it.
fn is_of_another_server(name: &str) -> bool {
    let prefixes = [
        "ADDRESS",
        "API_KEY",
        "TLS",
        "CONFIG_FILE",
        "PROFILE",
        "GRPC_META_",
    ];
    let rest = name.strip_prefix("TEMPORAL_");
    rest.is_some_and(|rest| prefixes.iter().any(|prefix| rest.starts_with(prefix)))
}

/// Checks that dev uses no engine elsewhere (it may be production) and pays for nothing, unless the user says so.
pub(super) fn check(once: bool, here: &Here, config: &Config) -> Result<(), Faults> {
    let mut faults = Vec::new();
    if !here.use_existing {
        faults.extend(config.foreign_engines().into_iter().map(|variable| Fault {
            variable,
            problem: "is not on this machine; unset it and genflow dev starts one here, or add --use-existing \
                      to use it with separate topics, groups and task queues"
                .to_owned(),
        }));
    }
    if once && here.real.is_none() && !sends_samples(here, config) {
        faults.push(Fault {
            variable: "MOCK_EXTERNAL_APIS",
            problem: "is false, so the sample requests are paid for; unset it, or add --samples to pay for them"
                .to_owned(),
        });
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Faults(faults))
}

pub(super) fn sends_samples(here: &Here, config: &Config) -> bool {
    config.mock_external_apis || here.samples
}

/// Returns the variables that give a deployment topics, a group and queues of its own, named after `name`.
pub fn own_names(name: &str) -> [(&'static str, String); 9] {
    let of = |part: &str| format!("{name}.{part}");
    [
        ("TEMPORAL_TASK_QUEUE", name.to_owned()),
        ("KAFKA_GROUP", name.to_owned()),
        ("TOPIC_REQUESTS", of("requests")),
        ("TOPIC_COMMANDS", of("commands")),
        ("TOPIC_EVENTS", of("events")),
        ("TOPIC_RESULTS", of("results")),
        ("TOPIC_REQUESTS_DLQ", of("requests.dlq")),
        ("TOPIC_NOTIFICATIONS", of("notifications")),
        ("TOPIC_NOTIFICATIONS_DLQ", of("notifications.dlq")),
    ]
}

/// Puts `dev-` and the user's name before the names of topics, groups and queues, so that dev takes no work of another
/// deployment on these engines. Removes the operators' targets, so that they get no digests of dev's failures.
fn keep_apart(config: &mut Config, user: Option<&str>) {
    let user: String = user
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let Topics {
        requests,
        commands,
        events,
        results,
        dlq,
        notifications,
        notifications_dlq,
    } = &mut config.kafka.topics;
    for name in [
        requests,
        commands,
        events,
        results,
        dlq,
        notifications,
        notifications_dlq,
        &mut config.kafka.group,
        &mut config.temporal.task_queue,
    ] {
        *name = format!("dev-{user}.{name}");
    }
    config.notifier.ops_slack = None;
    config.notifier.ops_email = None;
}
