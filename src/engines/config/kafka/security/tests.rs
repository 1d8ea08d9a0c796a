//! Which combinations of settings are accepted, and which variable each fault names.

use super::*;
use crate::engines::config::{Config, Faults};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");

fn load(variables: &[(&str, &str)]) -> Result<KafkaSecurity, Faults> {
    Ok(Config::of(variables)?.kafka.security)
}

/// Returns the variables at fault, without repeats.
fn at_fault(variables: &[(&str, &str)]) -> Vec<&'static str> {
    let faults = load(variables).unwrap_err();
    let mut named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
    named.dedup();
    named
}

const USER: (&str, &str) = (USERNAME, "ann");
const WORD: (&str, &str) = (PASSWORD, "pa,ss=wo rd\"'");
const URL: (&str, &str) = (TOKEN_ENDPOINT, "https://idp.test/token");
const ID: (&str, &str) = (CLIENT_ID, "genflow");
const SECRET: (&str, &str) = (CLIENT_SECRET, "topsecret");

fn protocol(name: &str) -> (&str, &str) {
    (PROTOCOL, name)
}

fn mechanism(name: &str) -> (&str, &str) {
    (MECHANISM, name)
}

#[test]
fn nothing_is_set_by_default() {
    let security = load(&[]).unwrap();

    assert!(security.tls.is_none() && security.login.is_none());
}

#[test]
fn a_password_may_contain_anything_and_is_not_shown() {
    for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "scram-sha-512"] {
        let security = load(&[protocol("SASL_SSL"), mechanism(name), USER, WORD]).unwrap();

        let shown = format!("{security:?}");
        let Some(KafkaLogin::Password {
            mechanism,
            username,
            password,
        }) = security.login
        else {
            panic!("no login: {shown}");
        };
        assert_eq!(mechanism.as_str(), name.to_uppercase());
        assert_eq!((&*username, password.expose()), (USER.1, WORD.1));
        assert!(
            security.tls.is_some() && !shown.contains("pa,ss"),
            "{shown}"
        );
    }
}

#[test]
fn a_token_needs_a_url_an_id_and_a_secret() {
    let oauth = [protocol("SASL_SSL"), mechanism("OAUTHBEARER")];

    let security = load(&[oauth[0], oauth[1], URL, ID, SECRET, (SCOPE, "a b")]).unwrap();

    assert!(!format!("{security:?}").contains("topsecret"));
    let Some(KafkaLogin::Token(client)) = security.login else {
        panic!("no token");
    };
    assert_eq!(client.scope.as_deref(), Some("a b"));
    assert_eq!(at_fault(&oauth), [TOKEN_ENDPOINT, CLIENT_ID, CLIENT_SECRET]);
    let all = [oauth[0], oauth[1], URL, ID, SECRET, USER];
    assert_eq!(at_fault(&all), [USERNAME]);
    let plain = (TOKEN_ENDPOINT, "http://idp.test/token");
    assert_eq!(
        at_fault(&[oauth[0], oauth[1], plain, ID, SECRET]),
        [TOKEN_ENDPOINT]
    );
}

#[test]
fn combinations_that_cannot_work_are_faults_all_at_once() {
    let scram = mechanism("SCRAM-SHA-512");
    let ca = (CA_FILE, &*format!("{TLS}/ca.pem"));
    let certificate = (CERT_FILE, &*format!("{TLS}/server.pem"));
    let key = (KEY_FILE, &*format!("{TLS}/server.key"));
    let absent = (CA_FILE, "/nonexistent/ca.pem");
    let no_key = (KEY_FILE, ca.1);
    for (set, expected) in [
        (&[protocol("TLS"), USER][..], &[PROTOCOL][..]),
        (&[protocol("SASL_SSL"), mechanism("GSSAPI")], &[MECHANISM]),
        (&[protocol("SASL_SSL"), USER, WORD], &[MECHANISM]),
        (&[protocol("SASL_SSL"), scram], &[USERNAME, PASSWORD]),
        (&[protocol("SASL_SSL"), scram, USER, WORD, ID], &[CLIENT_ID]),
        (&[scram, USER, WORD], &[MECHANISM, USERNAME, PASSWORD]),
        (&[protocol("SSL"), USER], &[USERNAME]),
        (&[protocol("PLAINTEXT"), ca], &[CA_FILE]),
        (&[protocol("SSL"), certificate], &[KEY_FILE]),
        (&[protocol("SSL"), key], &[CERT_FILE]),
        (&[protocol("SSL"), (KEY_PASSWORD, "x")], &[KEY_PASSWORD]),
        (&[protocol("SSL"), absent], &[CA_FILE]),
        (&[protocol("SSL"), certificate, no_key], &[KEY_FILE]),
        (
            &[protocol("SASL_SSL"), scram, absent, certificate],
            &[CA_FILE, USERNAME, PASSWORD, KEY_FILE],
        ),
    ] {
        assert_eq!(at_fault(set), expected, "{set:?}");
    }
    assert!(load(&[protocol("SSL"), ca, certificate, key]).is_ok());
}

#[test]
fn a_password_or_token_does_not_leave_the_machine_unencrypted() {
    let there = ("KAFKA_BROKERS", "127.0.0.1:9092,kafka:9092");
    let plain = protocol("SASL_PLAINTEXT");
    for login in [
        &[mechanism("PLAIN"), USER, WORD][..],
        &[mechanism("OAUTHBEARER"), URL, ID, SECRET],
    ] {
        let here = [&[plain], login].concat();
        assert!(load(&here).is_ok());
        let elsewhere = [&[plain, there], login].concat();
        assert_eq!(at_fault(&elsewhere), [PROTOCOL]);
        let encrypted = [&[protocol("SASL_SSL"), there], login].concat();
        assert!(load(&encrypted).is_ok());
    }
    // SCRAM proves the password without sending it.
    let scram = [plain, there, mechanism("SCRAM-SHA-256"), USER, WORD];
    assert!(load(&scram).is_ok());
}

#[test]
fn kafka_options_may_not_contradict_the_variables() {
    let of = |options, variables: &[(&str, &str)]| {
        let options = [("KAFKA_OPTIONS", options)];
        Config::of(&[&options, variables].concat())
    };
    let login = "security.protocol=SASL_SSL,sasl.mechanisms=PLAIN,sasl.password=topsecret";
    let tls = [protocol("SSL")];

    assert!(of(login, &[]).is_ok(), "as before there were variables");
    assert!(of("ssl.cipher.suites=HIGH,socket.timeout.ms=9000", &tls).is_ok());
    let faults = of(login, &tls).unwrap_err();
    let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
    assert_eq!(named, ["KAFKA_OPTIONS"; 3]);
    assert!(!faults.to_string().contains("topsecret"), "{faults}");
    assert!(of("ssl.ca.location=/ca.pem", &[(PASSWORD, "x")]).is_err());
}
