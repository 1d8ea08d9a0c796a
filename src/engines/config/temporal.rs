//! Settings of Temporal: the server and how to reach it, the namespaces and the task queues.

mod profile;
mod tls;

use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use temporalio_common::envconfig::ClientConfigProfile;
use url::Url;

pub use self::tls::{Identity, Tls};
use super::is_loopback;
use super::payloads::{self, PayloadCodec};
use super::vars::{Vars, has_login, is_key, trusted, without_login};
use crate::domain::{Credential, Secret, parse_http_url};

/// The Temporal server, the namespaces and the task queues.
#[derive(Clone, Debug)]
pub struct Temporal {
    /// `http://host:port` or `https://host:port`.
    pub url: Url,
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<Tls>,
    /// Headers of each call, by their names in lower case.
    pub metadata: BTreeMap<String, Secret>,
    /// Namespace of the runs.
    pub namespace: String,
    /// Task queue of workflows, `submit` and `finish`. The names of the other queues begin with it: `-fetch`, `-notify`
    /// (deliveries), and `-submit-` with the name of a provider that has a rate limit.
    pub task_queue: String,
    /// Namespace of the delivery workflows.
    pub notify_namespace: String,
    /// API key of a hosted server.
    pub api_key: Option<Credential>,
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

const HOST: &str = "TEMPORAL_HOST";
const ADDRESS: &str = "TEMPORAL_ADDRESS";
const METADATA: &str = "TEMPORAL_GRPC_META_*";

pub(super) fn read(vars: &mut Vars<'_>) -> Temporal {
    let profile = profile::read(vars);
    let api_key = api_key(vars, profile.api_key.as_deref());
    let metadata = metadata(vars, &profile);
    let address = address(vars, profile.address.as_deref());
    let asked = tls::asked(vars, profile.tls.as_ref());
    let tls = tls::read(vars, profile.tls);
    let scheme = scheme(&address, asked, tls.is_some(), api_key.is_some());
    let url = url(vars, &address, scheme);
    check_scheme(vars, &address, &url, asked, tls.is_some());
    let secret = if api_key.is_some() {
        Some("TEMPORAL_API_KEY")
    } else {
        (!metadata.is_empty()).then_some(METADATA)
    };
    check_encryption(vars, &address, &url, secret);
    let given = vars.optional_name("TEMPORAL_NAMESPACE");
    let namespace = given.or(profile.namespace);
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    Temporal {
        tls: (url.scheme() == "https").then(|| tls.unwrap_or_default()),
        url,
        metadata,
        notify_namespace: vars.name("NOTIFY_NAMESPACE", &namespace),
        namespace,
        task_queue: vars.name("TEMPORAL_TASK_QUEUE", "genflow"),
        api_key,
        payloads: payloads::read(vars),
    }
}

fn api_key(vars: &mut Vars<'_>, of_profile: Option<&str>) -> Option<Credential> {
    let given = vars.key("TEMPORAL_API_KEY");
    let of_profile = of_profile.filter(|key| given.is_none() && !key.is_empty());
    if of_profile.is_some_and(|key| !is_key(key)) {
        let problem = "has an api_key with a line break or another control character";
        vars.fault(profile::FILE, problem);
    }
    given.or_else(|| of_profile.map(|key| Credential::new(key.to_owned())))
}

/// Reads the headers of each call. The name of a variable is the header's name in upper case, with `_` for `-`.
fn metadata(vars: &mut Vars<'_>, profile: &ClientConfigProfile) -> BTreeMap<String, Secret> {
    let mut metadata: BTreeMap<_, _> = profile.grpc_meta.clone().into_iter().collect();
    let prefix = METADATA.trim_end_matches('*');
    for variable in vars.names_with(prefix) {
        let header = variable.trim_start_matches(prefix).to_lowercase();
        let header = header.replace('_', "-");
        match vars.set_by_platform(&variable) {
            Some(value) => metadata.insert(header, value),
            None => metadata.remove(&header),
        };
    }
    for (header, value) in &metadata {
        let is_name = HeaderName::from_bytes(header.as_bytes()).is_ok();
        if !is_name || header.ends_with("-bin") || HeaderValue::from_str(value).is_err() {
            let expected = "expected a name of letters, digits and '_', and a value in ASCII";
            vars.fault(
                METADATA,
                &format!("{header} is no header of text, {expected}"),
            );
        }
    }
    let secret = |(name, value)| (name, Secret::new(value));
    metadata.into_iter().map(secret).collect()
}

/// The server's address as it is given, and by what.
struct Address {
    variable: &'static str,
    text: Option<String>,
}

impl Address {
    fn scheme(&self) -> Option<&str> {
        let (scheme, _) = self.text.as_deref()?.split_once("://")?;
        Some(scheme)
    }
}

fn address(vars: &mut Vars<'_>, of_profile: Option<&str>) -> Address {
    let host = vars.optional(HOST);
    let address = vars.optional(ADDRESS);
    if host.is_some() && address.is_some() && host != address {
        let problem = "is set to another address than TEMPORAL_HOST, expected only one of the two";
        vars.fault(ADDRESS, problem);
    }
    let (variable, text) = match (host, address) {
        (Some(host), _) => (HOST, Some(host)),
        (None, Some(address)) => (ADDRESS, Some(address)),
        (None, None) => (profile::FILE, of_profile.map(str::to_owned)),
    };
    Address { variable, text }
}

/// Returns the scheme of an address: its own, or else https if anything asks for TLS.
fn scheme(address: &Address, asked: Option<bool>, has_tls: bool, has_key: bool) -> &'static str {
    let is_tls = match address.scheme() {
        Some(own) => own.eq_ignore_ascii_case("https"),
        None => asked.unwrap_or(has_tls || has_key),
    };
    if is_tls { "https" } else { "http" }
}

fn url(vars: &mut Vars<'_>, address: &Address, scheme: &str) -> Url {
    let parse = |text: &str| match text.contains("://") {
        true => parse_http_url(text),
        false => parse_http_url(&format!("{scheme}://{text}")),
    };
    let url = address.text.as_deref().map(parse);
    if url == Some(None) {
        let text = without_login(address.text.as_deref().unwrap_or_default());
        let problem = format!("is {text:?}, expected host:port or a URL");
        vars.fault(address.variable, &problem);
    }
    let default = || trusted(Url::parse(&format!("{scheme}://127.0.0.1:7233")));
    let url = url.flatten().unwrap_or_else(default);
    if has_login(&url) {
        vars.fault(
            address.variable,
            "contains a user name or password, expected host:port; set a key with TEMPORAL_API_KEY",
        );
    }
    url
}

/// Checks that the scheme of the address and the settings of TLS say the same.
fn check_scheme(
    vars: &mut Vars<'_>,
    address: &Address,
    url: &Url,
    asked: Option<bool>,
    has_tls: bool,
) {
    let is_https = url.scheme() == "https";
    if is_https && asked == Some(false) {
        let problem = "is https, although TEMPORAL_TLS or the profile says that TLS is off";
        vars.fault(address.variable, problem);
    } else if !is_https && asked.unwrap_or(has_tls) {
        let problem = "is http, although other settings ask for TLS; expected https://host:port, or TEMPORAL_TLS=false";
        vars.fault(address.variable, problem);
    }
}

/// Checks that a secret is sent by TLS, or stays on this machine.
fn check_encryption(
    vars: &mut Vars<'_>,
    address: &Address,
    url: &Url,
    secret: Option<&'static str>,
) {
    let is_safe = url.scheme() == "https" || url.host_str().is_some_and(is_loopback);
    if let Some(secret) = secret.filter(|_| !is_safe) {
        let problem =
            format!("is http, which would send {secret} unencrypted, expected https://host:port");
        vars.fault(address.variable, &problem);
    }
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

    /// Returns the faulty variables, and all faults as text.
    fn faults(set: &[(&str, &str)]) -> (Vec<&'static str>, String) {
        match Config::of(set) {
            Ok(_) => (Vec::new(), String::new()),
            Err(faults) => {
                let text = faults.to_string();
                (faults.0.iter().map(|fault| fault.variable).collect(), text)
            }
        }
    }

    /// Writes a file of profiles; returns its path.
    fn written(text: &str) -> String {
        let path = std::env::temp_dir().join(format!("genflow-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn host_and_address_are_two_names_for_one_setting() {
        let url = |set: &[(&str, &str)]| Config::of(set).unwrap().temporal.url.to_string();
        let (host, address) = (
            ("TEMPORAL_HOST", "a.test:1"),
            ("TEMPORAL_ADDRESS", "a.test:1"),
        );

        assert_eq!(url(&[host]), "http://a.test:1/");
        assert_eq!(url(&[address]), "http://a.test:1/");
        assert_eq!(url(&[host, address]), "http://a.test:1/");
        let other = ("TEMPORAL_ADDRESS", "b.test:1");
        assert_eq!(faults(&[host, other]).0, ["TEMPORAL_ADDRESS"]);
    }

    #[test]
    fn the_address_or_any_setting_of_tls_switches_tls_on() {
        let tls = |set: &[(&str, &str)]| {
            let temporal = Config::of(set).unwrap().temporal;
            assert_eq!(temporal.tls.is_some(), temporal.url.scheme() == "https");
            temporal.tls.is_some()
        };
        let (host, url) = (
            ("TEMPORAL_HOST", "a.test:1"),
            ("TEMPORAL_HOST", "https://a.test:1"),
        );
        let named = ("TEMPORAL_TLS_SERVER_NAME", "b.test");
        let (on, off) = (("TEMPORAL_TLS", "true"), ("TEMPORAL_TLS", "false"));

        assert!(!tls(&[host]));
        assert!(tls(&[url]) && tls(&[host, on]) && tls(&[host, named]));
        assert!(!tls(&[host, named, off]));
        let plain = ("TEMPORAL_HOST", "http://a.test:1");
        for set in [[plain, on], [plain, named], [url, off]] {
            assert_eq!(faults(&set).0, ["TEMPORAL_HOST"], "{set:?}");
        }
    }

    #[test]
    fn nothing_secret_goes_to_another_machine_without_tls() {
        let profile = written(
            "[profile.default]\naddress = \"a.test:1\"\napi_key = \"needle\"\n[profile.default.tls]\ndisabled = true\n",
        );
        let file = ("TEMPORAL_CONFIG_FILE", &*profile);
        let key = ("TEMPORAL_API_KEY", "needle");
        let off = ("TEMPORAL_TLS", "false");
        for (set, variable) in [
            (vec![file], "TEMPORAL_CONFIG_FILE"),
            (
                vec![("TEMPORAL_ADDRESS", "http://a.test:1"), key],
                "TEMPORAL_ADDRESS",
            ),
            (
                vec![("TEMPORAL_HOST", "a.test:1"), key, off],
                "TEMPORAL_HOST",
            ),
            (vec![("TEMPORAL_HOST", "b.test:1"), file], "TEMPORAL_HOST"),
            (
                vec![
                    ("TEMPORAL_HOST", "a.test:1"),
                    ("TEMPORAL_GRPC_META_*", "TEMPORAL_GRPC_META_AUTHORIZATION"),
                    ("TEMPORAL_GRPC_META_AUTHORIZATION", "needle"),
                ],
                "TEMPORAL_HOST",
            ),
        ] {
            let (variables, text) = faults(&set);

            assert_eq!(variables, [variable], "{set:?}");
            assert!(!text.contains("needle"), "{text}");
        }
        std::fs::remove_file(profile).unwrap();
    }

    #[test]
    fn a_faulty_profile_is_reported_without_its_text() {
        let names = |path: &str, profile| {
            faults(&[
                ("TEMPORAL_CONFIG_FILE", path),
                ("TEMPORAL_PROFILE", profile),
            ])
        };
        let unknown = written("[profile.a]\n\nadress = \"needle\"\n");
        let broken = written("[profile.a]\napi_key = \"needle\n");

        for path in [&unknown, &broken] {
            let (variables, text) = names(path, "a");
            assert_eq!(variables, ["TEMPORAL_CONFIG_FILE"]);
            assert!(text.contains("line ") && !text.contains("needle"), "{text}");
        }
        let good = written("[profile.a]\naddress = \"a.test:1\"\n");
        assert_eq!(names(&good, "a").0, [""; 0]);
        assert_eq!(names(&good, "b").0, ["TEMPORAL_PROFILE"]);
        assert_eq!(names("/nonexistent", "a").0, ["TEMPORAL_CONFIG_FILE"]);
        for path in [unknown, broken, good] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn certificates_and_keys_are_checked_at_the_start() {
        let tls = |name: &str| format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let (certificate, key) = (tls("server.pem"), tls("server.key"));
        let chain = ("TEMPORAL_TLS_CLIENT_CERT_PATH", &*certificate);
        let own = ("TEMPORAL_TLS_CLIENT_KEY_PATH", &*key);
        let text = std::fs::read_to_string(&key).unwrap();

        assert_eq!(faults(&[chain, own]).0, [""; 0]);
        let in_place = ("TEMPORAL_TLS_CLIENT_KEY_DATA", &*text);
        assert_eq!(faults(&[chain, in_place]).0, [""; 0]);
        assert_eq!(faults(&[chain, own, in_place]).0, [in_place.0]);
        assert_eq!(faults(&[chain]).0, [own.0]);
        assert_eq!(faults(&[own]).0, [chain.0]);
        assert_eq!(faults(&[(chain.0, &key), own]).0, [chain.0]);
        assert_eq!(faults(&[chain, (own.0, &certificate)]).0, [own.0]);
        let of_another = tls("ca.pem");
        assert_eq!(faults(&[(chain.0, &of_another), own]).0, [own.0]);
        let ca = ("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "/nonexistent");
        assert_eq!(faults(&[ca]).0, [ca.0]);
        assert_eq!(faults(&[(ca.0, &key)]).0, [ca.0]);
        let any = ("TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "true");
        assert_eq!(faults(&[any]).0, [any.0]);
        assert_eq!(faults(&[any, (ca.0, &of_another)]).0, [""; 0]);
    }
}
