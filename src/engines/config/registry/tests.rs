//! Credentials are sent by TLS or stay on this machine, and contradictions are faults.

use super::super::Config;
use super::*;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/client.pem");
const CLIENT_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/client.key");
const SERVER_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/server.key");
const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem");

/// Returns the variables at fault.
fn at_fault(variables: &[(&str, &str)]) -> Vec<&'static str> {
    match Config::of(variables) {
        Ok(_) => Vec::new(),
        Err(faults) => {
            let text = faults.to_string();
            assert!(!text.contains("needle"), "{text}");
            faults.0.iter().map(|fault| fault.variable).collect()
        }
    }
}

#[test]
fn credentials_are_sent_by_tls_or_stay_on_this_machine() {
    let login = [(USER, "ann"), (PASSWORD, "needle")];
    for url in [
        "https://registry.test/api",
        "http://localhost:8081",
        "http://[::1]:8081",
    ] {
        assert_eq!(at_fault(&[&login[..], &[(URL, url)]].concat()), [""; 0]);
        assert_eq!(at_fault(&[(TOKEN, "needle"), (URL, url)]), [""; 0]);
    }
    let url = (URL, "http://registry.test");
    assert_eq!(at_fault(&[url]), [""; 0]);
    assert_eq!(at_fault(&[&login[..], &[url]].concat()), [URL]);
    assert_eq!(at_fault(&[(TOKEN, "needle"), url]), [URL]);
}

#[test]
fn contradictions_are_reported_all_at_once() {
    let secure = (URL, "https://registry.test");
    for (set, expected) in [
        (&[(USER, "ann")][..], &[USER][..]),
        (&[(PASSWORD, "needle")], &[PASSWORD]),
        (
            &[(USER, "ann"), (PASSWORD, "needle"), (TOKEN, "needle")],
            &[TOKEN],
        ),
        (&[(USER, "ann"), (TOKEN, "needle")], &[TOKEN]),
        (&[(USER, "ann:b"), (PASSWORD, "needle")], &[USER]),
        (&[(TOKEN, "two\nneedles")], &[TOKEN]),
        (&[(TLS.certificate, CLIENT)], &[TLS.certificate]),
        (&[(TLS.key, CLIENT_KEY)], &[TLS.key]),
        (
            &[(USER, "ann"), (TLS.key, CLIENT_KEY), (TLS.authorities, "/")],
            &[USER, TLS.key, TLS.authorities],
        ),
    ] {
        assert_eq!(at_fault(&[&[secure], set].concat()), expected, "{set:?}");
    }
    let login_in_url = (URL, "https://ann:needle@registry.test");
    assert_eq!(at_fault(&[login_in_url]), [URL]);
    let plain = (URL, "http://127.0.0.1:8081");
    assert_eq!(
        at_fault(&[plain, (TLS.authorities, CA)]),
        [TLS.authorities],
        "no TLS, so the file has no effect"
    );
}

#[test]
fn files_must_contain_what_their_variables_say() {
    let secure = (URL, "https://registry.test");
    let empty = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let identity = |certificate, key| [secure, (TLS.certificate, certificate), (TLS.key, key)];

    assert_eq!(at_fault(&identity(CLIENT, CLIENT_KEY)), [""; 0]);
    assert_eq!(at_fault(&[secure, (TLS.authorities, CA)]), [""; 0]);
    assert_eq!(
        at_fault(&[secure, (TLS.authorities, empty)]),
        [TLS.authorities]
    );
    assert_eq!(at_fault(&identity(CLIENT, SERVER_KEY)), [TLS.key]);
    assert_eq!(at_fault(&identity(CLIENT, CLIENT)), [TLS.key]);
    assert_eq!(at_fault(&identity(CLIENT, "/absent")), [TLS.key]);
    assert_eq!(
        at_fault(&identity(CLIENT_KEY, CLIENT_KEY)),
        [TLS.certificate]
    );
}

#[test]
fn a_query_is_dropped_because_it_may_hold_a_secret() {
    let config = Config::of(&[(URL, "http://127.0.0.1/api?key=needle#needle")]).unwrap();

    assert_eq!(config.schema_registry.url.as_str(), "http://127.0.0.1/api");
    assert!(!format!("{config:?}").contains("needle"));
}
