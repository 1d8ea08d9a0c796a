//! The settings of a space's processes: the shared engines, unique names, and short pauses.

use std::collections::BTreeMap;
use std::path::Path;

use genflow::dev::own_names;

use super::engines::Running;
use super::requests::{IMAGE_MODEL, VIDEO_MODEL};

/// Returns the settings of the space with that name, with its files in `folder`.
pub(crate) fn of(engines: &Running, name: &str, folder: &Path) -> BTreeMap<String, String> {
    let at = |part: &str| folder.join(part).display().to_string();
    let pairs = [
        ("KAFKA_BROKERS", engines.kafka.clone()),
        ("SCHEMA_REGISTRY_URL", engines.registry.clone()),
        ("TEMPORAL_HOST", engines.temporal.clone()),
        ("KAFKA_SESSION_TIMEOUT", "6s".to_owned()),
        ("SHUTDOWN_GRACE", "5s".to_owned()),
        // So that a flood of 1,500 records is more than intake takes at once.
        ("INTAKE_CONCURRENCY", "16".to_owned()),
        ("VIDEO_API_BASE_URL", engines.simulator.clone()),
        ("IMAGE_API_BASE_URL", engines.simulator.clone()),
        ("REPLICATE_API_BASE_URL", engines.simulator.clone()),
        ("OPENAI_API_BASE_URL", engines.simulator.clone()),
        ("FAL_API_BASE_URL", format!("{}/fal", engines.simulator)),
        (
            "FAL_JWKS_URL",
            format!("{}/.well-known/jwks.json", engines.simulator),
        ),
        // An account of its own: the provider's list has no jobs of others.
        ("VIDEO_API_KEY", name.to_owned()),
        ("REPLICATE_API_KEY", name.to_owned()),
        ("OPENAI_API_KEY", name.to_owned()),
        ("FAL_API_KEY", name.to_owned()),
        ("IMAGE_API_KEY", name.to_owned()),
        ("VIDEO_MODEL", VIDEO_MODEL.to_owned()),
        ("IMAGE_MODEL", IMAGE_MODEL.to_owned()),
        ("RESULTS_DIR", at("results")),
        ("TEMP_DIR", at("temp")),
        ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
        ("CONSOLE_ADDR", "off".to_owned()),
        ("WEBHOOK_ALLOW_PRIVATE", "true".to_owned()),
        ("FETCH_POLL_INTERVAL", "100ms".to_owned()),
        ("HEARTBEAT_TIMEOUT", "3s".to_owned()),
        ("FETCH_HEARTBEAT_TIMEOUT", "3s".to_owned()),
        ("SUBMIT_TIMEOUT", "10s".to_owned()),
        // Most stories are about runs whose jobs take longer; those of `quick` set it.
        ("SUBMIT_WAIT", "0s".to_owned()),
        ("RETRY_BACKOFF", "200ms".to_owned()),
        ("PROGRESS_INTERVAL", "200ms".to_owned()),
        ("NOTIFY_SCHEDULE", "100ms,200ms,400ms,800ms".to_owned()),
        ("LOG_LEVEL", "info".to_owned()),
    ];
    pairs
        .into_iter()
        .chain(own_names(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
