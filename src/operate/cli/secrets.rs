//! `genflow secrets`: prints new secrets as lines for `.env`, or as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// `genflow secrets`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Secrets {
    /// Print JSON: an object of names and values
    #[arg(long)]
    pub json: bool,
}

/// Prints two secrets that every deployment needs, and `WEBHOOK_SIGNING_KEY`, which is optional. `PAYLOAD_KEYS` is only a
/// comment, because Temporal's web UI cannot show what it encrypts without a codec server. The id of a key is today's date,
/// so that the next key has another id. JSON has no comments, so it lacks that key.
///
/// # Errors
/// The output is closed.
pub fn print(secrets: Secrets, out: &mut dyn Write) -> std::io::Result<()> {
    if secrets.json {
        let fresh: BTreeMap<_, _> = fresh().into_iter().collect();
        return writeln!(out, "{}", serde_json::json!(fresh));
    }
    for (name, value) in fresh() {
        writeln!(out, "{name}={value}")?;
    }
    writeln!(out, "# PAYLOAD_KEYS={}:{}", today(), random())
}

/// Returns new secrets.
pub(super) fn fresh() -> Vec<(&'static str, String)> {
    vec![
        ("NOTIFY_KEYS", format!("{}:{}", today(), random())),
        ("WEBHOOK_SIGNING_SECRET", format!("whsec_{}", random())),
        ("WEBHOOK_SIGNING_KEY", format!("whsk_{}", random())),
    ]
}

fn random() -> String {
    BASE64.encode(rand::random::<[u8; 32]>())
}

fn today() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Roles, settings};
    use crate::engines::config::Config;

    #[test]
    fn all_roles_start_with_the_printed_secrets_and_engines_elsewhere() {
        let made = || {
            let mut out = Vec::new();
            print(Secrets::default(), &mut out).unwrap();
            let variables: Result<BTreeMap<_, _>, _> = dotenvy::from_read_iter(&*out).collect();
            variables.unwrap()
        };
        let (one, other) = (made(), made());

        let elsewhere = |name: &str| (name == "KAFKA_BROKERS").then(|| "kafka:9092".to_owned());
        let lookup = |name: &str| one.get(name).cloned().or_else(|| elsewhere(name));
        let config = settings::load(Roles::ALL, lookup).unwrap();

        assert!(!config.is_development());
        assert_eq!(config.notifier.signing_keys.len(), 1);
        assert!(one.iter().all(|(name, value)| other[name] != *value));
    }

    #[test]
    fn the_key_of_payloads_is_a_comment_that_can_be_uncommented() {
        let mut out = Vec::new();
        print(Secrets::default(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("# "));
        let (name, keys) = line.unwrap().split_once('=').unwrap();

        let config = Config::of(&[(name, keys)]).unwrap();

        assert!(config.temporal.payloads.encrypts);
        assert_eq!(config.temporal.payloads.keys.len(), 1);
    }

    #[test]
    fn json_has_the_names_and_values_of_the_lines() {
        let mut out = Vec::new();
        print(Secrets { json: true }, &mut out).unwrap();

        let printed: BTreeMap<String, String> = serde_json::from_slice(&out).unwrap();

        let names: Vec<_> = printed.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "NOTIFY_KEYS",
                "WEBHOOK_SIGNING_KEY",
                "WEBHOOK_SIGNING_SECRET"
            ]
        );
        assert!(Config::load(|name| printed.get(name).cloned()).is_ok());
    }
}
