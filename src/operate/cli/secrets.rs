//! `genflow secrets`: prints new secrets as lines for `.env`.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Prints two secrets that every deployment needs, and `WEBHOOK_SIGNING_KEY`, which is optional. `PAYLOAD_KEYS` is only a
/// comment, because Temporal's web UI cannot show what it encrypts without a codec server. The id of a key is today's date,
/// so that the next key has another id.
///
/// # Errors
/// The output is closed.
pub fn print(out: &mut dyn Write) -> std::io::Result<()> {
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::app::{Roles, settings};
    use crate::engines::config::Config;

    #[test]
    fn all_roles_start_with_the_printed_secrets_and_engines_elsewhere() {
        let made = || {
            let mut out = Vec::new();
            print(&mut out).unwrap();
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
        print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("# "));
        let (name, keys) = line.unwrap().split_once('=').unwrap();

        let config = Config::of(&[(name, keys)]).unwrap();

        assert!(config.temporal.payloads.encrypts);
        assert_eq!(config.temporal.payloads.keys.len(), 1);
    }
}
