//! Settings of callbacks, by which providers notify workers that a job has ended.

use std::net::SocketAddr;

use url::Url;

use super::is_loopback;
use super::vars::{Vars, has_login};
use crate::domain::standard_webhooks::bytes_of;
use crate::domain::{Secret, parse_http_url};

/// Where callbacks are asked for and taken, and what verifies them.
#[derive(Clone, Debug)]
pub struct Callbacks {
    /// Base URL at which providers reach the workers.
    pub url: Url,
    /// Where a worker takes them.
    pub addr: SocketAddr,
    /// Secrets of Replicate, any of which verifies a callback; if empty, the worker reads the account's secret.
    pub replicate_secrets: Vec<Secret>,
    /// Where fal publishes the keys that verify its callbacks.
    pub fal_keys: Url,
}

/// Returns `None` if `CALLBACK_URL` is not set.
pub(super) fn read(vars: &mut Vars<'_>) -> Option<Callbacks> {
    let addr = vars.parsed(
        "CALLBACK_ADDR",
        "127.0.0.1:9465",
        "host:port, the host as an IP address",
    );
    let secrets = vars.secret("REPLICATE_WEBHOOK_SECRET");
    let replicate_secrets = secrets.as_deref().map(|text| replicate_secrets(vars, text));
    let fal_keys = vars.url("FAL_JWKS_URL", "https://rest.fal.ai/.well-known/jwks.json");
    let expected = "an https URL without login, query and fragment; http is for this machine only";
    let url = vars.read("CALLBACK_URL", expected, public)?;
    Some(Callbacks {
        url,
        addr,
        replicate_secrets: replicate_secrets.unwrap_or_default(),
        fal_keys,
    })
}

fn public(text: &str) -> Option<Url> {
    let url = parse_http_url(text)?;
    let is_here = url.host_str().is_some_and(is_loopback);
    let is_plain = !has_login(&url) && url.query().is_none() && url.fragment().is_none();
    (is_plain && (url.scheme() == "https" || is_here)).then_some(url)
}

/// Parses the secrets; the fault does not show them.
fn replicate_secrets(vars: &mut Vars<'_>, text: &str) -> Vec<Secret> {
    let secrets = text
        .split(',')
        .map(|part| Secret::new(part.trim().to_owned()));
    let secrets: Vec<_> = secrets.collect();
    if secrets.iter().any(|secret| bytes_of(secret).is_none()) {
        vars.fault(
            "REPLICATE_WEBHOOK_SECRET",
            "is invalid, expected whsec_ followed by base64, several separated by commas",
        );
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn callbacks(pairs: &[(&str, &str)]) -> Result<Option<Callbacks>, Vec<&'static str>> {
        let config = Config::of(pairs).map(|config| config.worker.callbacks);
        config.map_err(|faults| faults.0.iter().map(|fault| fault.variable).collect())
    }

    #[test]
    fn callbacks_are_off_unless_their_url_is_set() {
        assert!(callbacks(&[]).unwrap().is_none());
        assert!(
            callbacks(&[("CALLBACK_ADDR", "0.0.0.0:80")])
                .unwrap()
                .is_none()
        );
        let given = callbacks(&[("CALLBACK_URL", "https://callbacks.example/genflow")]);
        let given = given.unwrap().unwrap();
        assert_eq!(given.url.as_str(), "https://callbacks.example/genflow");
        assert!(given.replicate_secrets.is_empty());
    }

    #[test]
    fn the_url_of_callbacks_is_encrypted_unless_it_is_this_machine() {
        for good in [
            "https://a.example",
            "http://127.0.0.1:9465",
            "http://localhost",
        ] {
            assert!(callbacks(&[("CALLBACK_URL", good)]).is_ok(), "{good}");
        }
        for wrong in [
            "http://a.example",
            "https://ann:pw@a.example",
            "https://a.example/?x=1",
            "https://a.example/#x",
            "a.example",
        ] {
            let given = callbacks(&[("CALLBACK_URL", wrong)]);
            assert_eq!(given.unwrap_err(), ["CALLBACK_URL"], "{wrong}");
        }
    }

    #[test]
    fn a_malformed_secret_is_a_fault_that_does_not_show_it() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let url = ("CALLBACK_URL", "https://a.example");
        let two = format!("{secret}, {secret}");
        let given = callbacks(&[url, ("REPLICATE_WEBHOOK_SECRET", &two)]);
        assert_eq!(given.unwrap().unwrap().replicate_secrets.len(), 2);

        let wrong = [url, ("REPLICATE_WEBHOOK_SECRET", "hunter2")];
        let faults = Config::of(&wrong).unwrap_err();

        assert_eq!(faults.0.len(), 1);
        assert!(!faults.to_string().contains("hunter2"));
    }
}
