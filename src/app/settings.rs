//! Loads the settings of a process and checks them for its roles; reports all faults at once, before anything starts.

use super::Roles;
use crate::engines::config::{Config, Fault, Faults};
use crate::engines::telemetry;
use crate::roles::notifier::email::check_templates;

/// Reads the settings of a process that runs `roles`.
///
/// # Errors
/// All faults, one per line.
pub fn load(roles: Roles, lookup: impl Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    Config::load_for(lookup, |config| faults(roles, config))
}

fn faults(roles: Roles, config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    if roles.intake {
        faults.extend(config.intake.check_access().err());
    }
    if roles.intake || roles.notifier {
        faults.extend(config.check_drain().err());
    }
    // The worker opens no sealed targets and signs nothing.
    if roles.intake || roles.notifier {
        faults.extend(config.check_notify_keys().err());
    }
    if roles.notifier {
        faults.extend(config.check_signing_secrets().err());
        let checked = check_templates(config.notifier.templates.as_deref());
        faults.extend(checked.err().map(|error| fault("NOTIFY_TEMPLATES", error)));
    }
    if roles.worker && config.mock_external_apis && !cfg!(feature = "dev") {
        faults.push(Fault {
            variable: "MOCK_EXTERNAL_APIS",
            problem: "is true, but this build has no provider simulator; expected false, or a build with the feature dev"
                .to_owned(),
        });
    }
    if roles == Roles::ALL {
        faults.extend(config.console.check().err());
    }
    let checked = telemetry::check(&config.log);
    faults.extend(checked.err().map(|error| fault("LOG_FILE_PATH", error)));
    faults
}

/// Turns an error and its causes into a fault of a variable.
fn fault(variable: &'static str, error: impl Into<anyhow::Error>) -> Fault {
    Fault {
        variable,
        problem: format!("{:#}", error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(roles: Roles) -> Vec<&'static str> {
        let loaded = load(roles, |name| {
            let value = match name {
                "LOG_LEVEL" => "verbose",
                "LOG_FILE_PATH" => "/nonexistent/genflow.log",
                "NOTIFY_TEMPLATES" => "/nonexistent",
                "REQUIRE_API_KEY" => "true",
                "SHUTDOWN_GRACE" => "4m",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let faults = loaded.unwrap_err().0;
        faults.iter().map(|fault| fault.variable).collect()
    }

    /// Returns the faulty variables if the environment is `set`.
    fn elsewhere(roles: Roles, set: &[(&str, &str)]) -> Vec<&'static str> {
        let own = |name: &str| set.iter().find(|(known, _)| *known == name);
        let loaded = load(roles, |name| {
            own(name).map(|(_, value)| (*value).to_owned())
        });
        match loaded {
            Ok(_) => Vec::new(),
            Err(faults) => faults.0.iter().map(|fault| fault.variable).collect(),
        }
    }

    #[test]
    fn a_role_starts_with_a_public_secret_that_it_uses_only_in_development() {
        let (keys, secret) = ("NOTIFY_KEYS", "WEBHOOK_SIGNING_SECRET");
        for engine in [
            ("KAFKA_BROKERS", "127.0.0.1:9092,kafka:9092"),
            ("SCHEMA_REGISTRY_URL", "http://registry/"),
            ("TEMPORAL_HOST", "10.0.0.1:7233"),
        ] {
            let at_fault = |roles, set: &[_]| elsewhere(roles, &[&[engine], set].concat());

            assert_eq!(at_fault(Roles::ALL, &[]), [keys, secret], "{engine:?}");
            assert_eq!(at_fault(Roles::INTAKE, &[]), [keys]);
            assert_eq!(at_fault(Roles::NOTIFIER, &[]), [keys, secret]);
            assert_eq!(at_fault(Roles::WORKER, &[]), [""; 0]);
            let insecure = ("GENFLOW_INSECURE_DEV", "true");
            assert_eq!(at_fault(Roles::ALL, &[insecure]), [""; 0]);
            // During a rotation, the public secret is still in use: it opens and signs.
            let own = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFE=";
            let half_keys = format!("own:{own},{}", crate::engines::config::dev::NOTIFY_KEYS);
            let half_secret = format!(
                "whsec_{own},{}",
                crate::engines::config::dev::WEBHOOK_SIGNING_SECRET
            );
            let half = [(keys, &*half_keys), (secret, &*half_secret)];
            assert_eq!(at_fault(Roles::ALL, &half), [keys, secret]);
            let own = [
                (keys, &*format!("own:{own}")),
                (secret, &*format!("whsec_{own}")),
            ];
            assert_eq!(at_fault(Roles::ALL, &own), [""; 0]);
        }
        let here = [
            ("KAFKA_BROKERS", "localhost:9092,[::1]:9092"),
            ("SCHEMA_REGISTRY_URL", "http://127.0.0.2:8081/"),
            ("TEMPORAL_HOST", "http://[::1]:7233"),
        ];
        assert_eq!(elsewhere(Roles::ALL, &here), [""; 0]);
    }

    #[test]
    fn to_check_the_settings_creates_no_log_file() {
        let name = format!("genflow-checked-{}", std::process::id());
        let path = std::env::temp_dir().join(name);

        let faulty = elsewhere(Roles::ALL, &[("LOG_FILE_PATH", path.to_str().unwrap())]);

        assert_eq!(faulty, [""; 0]);
        assert!(!path.exists());
    }

    #[test]
    fn each_role_reports_all_its_faults_at_once() {
        let (log, file) = ("LOG_LEVEL", "LOG_FILE_PATH");
        let (keys, grace, templates) = ("API_KEYS", "SHUTDOWN_GRACE", "NOTIFY_TEMPLATES");

        assert_eq!(variables(Roles::ALL), [log, keys, grace, templates, file]);
        assert_eq!(variables(Roles::INTAKE), [log, keys, grace, file]);
        assert_eq!(variables(Roles::WORKER), [log, file]);
        assert_eq!(variables(Roles::NOTIFIER), [log, grace, templates, file]);
    }
}
