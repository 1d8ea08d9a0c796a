//! Settings of Temporal: the server, the namespaces and the task queues.

use url::Url;

use super::is_loopback;
use super::payloads::{self, PayloadCodec};
use super::vars::{Vars, has_login, trusted};
use crate::domain::{Secret, parse_http_url};

/// The Temporal server, the namespaces and the task queues.
#[derive(Clone, Debug)]
pub struct Temporal {
    /// `http://host:port` or `https://host:port`.
    pub url: Url,
    /// Namespace of the runs.
    pub namespace: String,
    /// Task queue of workflows, `submit` and `finish`. The names of the other queues begin with it: `-fetch`, `-notify`
    /// (deliveries), and `-submit-` with the name of a provider that has a rate limit.
    pub task_queue: String,
    /// Namespace of the delivery workflows.
    pub notify_namespace: String,
    /// API key of a hosted server.
    pub api_key: Option<Secret>,
    /// How the payloads of all workflows are stored.
    pub payloads: PayloadCodec,
}

impl Temporal {
    /// Returns the settings for delivery workflows: their namespace, and their task queue with the suffix `-notify`.
    pub fn for_deliveries(&self) -> Self {
        Self {
            namespace: self.notify_namespace.clone(),
            task_queue: format!("{}-notify", self.task_queue),
            ..self.clone()
        }
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> Temporal {
    let api_key = vars.key("TEMPORAL_API_KEY");
    let url = url(vars, api_key.is_some());
    let namespace = vars.name("TEMPORAL_NAMESPACE", "default");
    Temporal {
        url,
        notify_namespace: vars.name("NOTIFY_NAMESPACE", &namespace),
        namespace,
        task_queue: vars.name("TEMPORAL_TASK_QUEUE", "genflow"),
        api_key,
        payloads: payloads::read(vars),
    }
}

/// Reads the URL of the server. With an API key, TLS is the default; without TLS, a key is accepted only for a server
/// on this machine.
fn url(vars: &mut Vars<'_>, has_key: bool) -> Url {
    const NAME: &str = "TEMPORAL_HOST";
    let scheme = if has_key { "https" } else { "http" };
    let given = vars.read(NAME, "host:port or a URL", |host| {
        match host.contains("://") {
            true => parse_http_url(host),
            false => parse_http_url(&format!("{scheme}://{host}")),
        }
    });
    let default = || trusted(Url::parse(&format!("{scheme}://127.0.0.1:7233")));
    let url = given.unwrap_or_else(default);
    if has_login(&url) {
        vars.fault(
            NAME,
            "contains a user name or password, expected host:port; set a key with TEMPORAL_API_KEY",
        );
    }
    if has_key && url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
        vars.fault(
            NAME,
            "is http, which would send TEMPORAL_API_KEY unencrypted, expected https://host:port",
        );
    }
    url
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    /// Returns the URL, or the faulty variables.
    fn loaded(host: &str, key: &str) -> Result<String, Vec<&'static str>> {
        let loaded = Config::of(&[("TEMPORAL_HOST", host), ("TEMPORAL_API_KEY", key)]);
        let variable = |fault: &super::super::Fault| fault.variable;
        match loaded {
            Ok(config) => Ok(config.temporal.url.to_string()),
            Err(faults) => Err(faults.0.iter().map(variable).collect()),
        }
    }

    #[test]
    fn a_key_is_sent_by_tls_or_stays_on_this_machine() {
        let url = |url: &str| Ok(url.to_owned());
        let cloud = "eu.api.temporal.test:7233";

        assert_eq!(loaded(cloud, ""), url(&format!("http://{cloud}/")));
        assert_eq!(loaded(cloud, "key"), url(&format!("https://{cloud}/")));
        let spelt = format!("http://{cloud}");
        assert_eq!(loaded(&spelt, ""), url(&format!("http://{cloud}/")));
        assert_eq!(loaded(&spelt, "key"), Err(vec!["TEMPORAL_HOST"]));
        for local in ["localhost:7233", "127.0.0.1:7233", "[::1]:7233"] {
            let spelt = format!("http://{local}");
            assert_eq!(loaded(&spelt, "key"), url(&format!("{spelt}/")));
        }
    }

    #[test]
    fn a_login_in_the_address_is_a_fault_that_does_not_show_it() {
        for host in ["ann:needle@temporal.test:7233", "https://ann:needle@:x/"] {
            let loaded = Config::of(&[("TEMPORAL_HOST", host)]);

            let faults = loaded.unwrap_err();
            assert_eq!(faults.0[0].variable, "TEMPORAL_HOST");
            assert!(!faults.to_string().contains("needle"), "{faults}");
        }
    }
}
