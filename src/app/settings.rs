//! The settings of a process, held against all that its roles ask for: every fault at once, before anything starts.

use super::Roles;
use crate::config::{Config, Fault, Faults};
use crate::notifier::email::check_templates;
use crate::telemetry;

/// Reads the settings of a process that runs `roles`.
///
/// # Errors
/// Every fault there is, a line each.
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
    if roles.notifier {
        let checked = check_templates(config.notifier.templates.as_deref());
        faults.extend(checked.err().map(|error| fault("NOTIFY_TEMPLATES", error)));
    }
    let checked = telemetry::check(&config.log);
    faults.extend(checked.err().map(|error| fault("LOG_FILE_PATH", error)));
    faults
}

/// An error with its causes, as what is wrong with a variable.
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

    #[test]
    fn each_role_hears_of_all_that_is_wrong_for_it_at_once() {
        let (log, file) = ("LOG_LEVEL", "LOG_FILE_PATH");
        let (keys, grace, templates) = ("API_KEYS", "SHUTDOWN_GRACE", "NOTIFY_TEMPLATES");
        let (intake, worker, notifier) = (
            Roles {
                intake: true,
                ..Roles::default()
            },
            Roles {
                worker: true,
                ..Roles::default()
            },
            Roles {
                notifier: true,
                ..Roles::default()
            },
        );

        assert_eq!(variables(Roles::ALL), [log, keys, grace, templates, file]);
        assert_eq!(variables(intake), [log, keys, grace, file]);
        assert_eq!(variables(worker), [log, file]);
        assert_eq!(variables(notifier), [log, grace, templates, file]);
    }
}
