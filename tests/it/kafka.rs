//! Brokers that let in only who can identify: every mechanism with right, wrong and expired credentials, the whole path
//! by TLS and SCRAM, and the rights of each role.

mod rights;
mod tokens;

use std::path::Path;

use genflow::domain::{EventType, Targets};
use genflow::engines::kafka::Headers;
use serde_json::Value;

use crate::support::ledger::types;
use crate::support::receiver::Receiver;
use crate::support::requests::image;
use crate::support::secured::{KEY_PASSWORD, PASSWORD, Secured, USER, password_of, secured};
use crate::support::{Space, Watched};

/// A setting.
type Set = (&'static str, String);

fn set(name: &'static str, value: &str) -> Set {
    (name, value.to_owned())
}

fn file(name: &'static str, path: &Path) -> Set {
    (name, path.display().to_string())
}

/// Returns the settings of a login at the listener with TLS.
fn login(secured: &Secured, mechanism: &str, username: &str, password: &str) -> Vec<Set> {
    vec![
        set("KAFKA_BROKERS", &secured.sasl_tls),
        set("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        file("KAFKA_SSL_CA_FILE", &secured.certificates.ca),
        set("KAFKA_SASL_MECHANISM", mechanism),
        set("KAFKA_SASL_USERNAME", username),
        set("KAFKA_SASL_PASSWORD", password),
    ]
}

/// Returns the settings of a user of the roles.
fn scram(secured: &Secured, username: &str) -> Vec<Set> {
    login(secured, "SCRAM-SHA-512", username, &password_of(username))
}

/// Returns the same settings with others in their place.
fn but(mut settings: Vec<Set>, others: &[Set]) -> Vec<Set> {
    settings.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
    settings.extend_from_slice(others);
    settings
}

fn without(mut settings: Vec<Set>, name: &str) -> Vec<Set> {
    settings.retain(|(known, _)| *known != name);
    settings
}

fn text(settings: &[Set]) -> Vec<(&str, &str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Returns doctor's finding about the brokers.
async fn kafka(space: &Space, settings: &[Set]) -> (String, String) {
    let mut process = space.start_with(&["doctor", "--json"], &text(settings));
    process.ended().await;
    let printed = process.output();
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
    let mut checks = report["checks"].as_array().unwrap().iter();
    let kafka = checks.find(|check| check["check"] == "Kafka").unwrap();
    let text = |name: &str| kafka[name].as_str().unwrap().to_owned();
    (text("verdict"), text("found"))
}

/// Creates a space whose records go through the plain listener; the processes of a test have settings of their own.
async fn open_space(secured: &Secured) -> Space {
    Space::with(&[("KAFKA_BROKERS", &secured.open)]).await
}

/// Sends and reads a record with these settings, by the commands.
async fn record_goes_round(space: &Space, settings: &[Set]) {
    let sent = ["submit", "image", "--prompt", "a fox"];
    let (code, printed) = space.run_with(&sent, &text(settings)).await;
    assert_eq!(code, 0, "{settings:?}: {printed}");
    let mut reader = space.read(&space.config.kafka.topics.requests).await;
    let keys = reader
        .all()
        .await
        .into_iter()
        .filter_map(|record| record.key);
    let mut keys = keys.map(|key| String::from_utf8(key).unwrap());
    assert!(keys.any(|key| printed.contains(&key)), "{printed}");
    let dlq = &space.config.kafka.topics.dlq;
    space
        .produce(dlq, "key", Some(b"a letter"), Headers::new())
        .await;
    let (code, printed) = space.run_with(&["dlq", "list"], &text(settings)).await;
    assert!(
        code == 0 && printed.contains("dead letters on"),
        "{settings:?}: {printed}"
    );
}

#[tokio::test]
async fn a_request_completes_by_tls_and_scram_and_every_client_of_a_role_logs_in() {
    let secured = secured().await;
    let settings = scram(secured, USER);
    let space = Space::with(&text(&settings)).await;
    let receiver = Receiver::start(&[]).await;
    let roles = ["intake", "worker", "notifier"].map(|role| space.start(&[role]));
    let mut request = image("by-scram");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    receiver.wait(1).await;
    for role in &roles {
        assert!(!role.output().contains("refused by Kafka"));
        assert!(!role.output().contains(&password_of(USER)));
    }
    space.succeed(&["doctor"]).await;
}

#[tokio::test]
async fn each_password_mechanism_works_and_a_wrong_login_is_reported_with_its_variables() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let mechanisms = [
        ("PLAIN", PASSWORD.to_owned()),
        ("SCRAM-SHA-256", password_of(USER)),
        ("SCRAM-SHA-512", password_of(USER)),
    ];
    for (mechanism, password) in &mechanisms {
        let right = login(secured, mechanism, USER, password);
        assert_eq!(kafka(&space, &right).await.0, "ok", "{mechanism}");
        record_goes_round(&space, &right).await;
        let plain = but(
            right.clone(),
            &[
                set("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
                set("KAFKA_BROKERS", &secured.sasl),
            ],
        );
        let plain = without(plain, "KAFKA_SSL_CA_FILE");
        assert_eq!(kafka(&space, &plain).await.0, "ok", "{mechanism}");

        let wrong = but(right, &[set("KAFKA_SASL_PASSWORD", "needle,wrong")]);
        let (verdict, found) = kafka(&space, &wrong).await;
        assert_eq!(verdict, "FAIL", "{found}");
        assert!(
            found.contains("refuse the login: check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"),
            "{found}"
        );
        assert!(!found.contains("needle"), "{found}");
    }
    // In a file, as secrets of a cluster come.
    let path = space.folder().join("password");
    std::fs::write(&path, format!("{}\n", mechanisms[0].1)).unwrap();
    let by_file = without(login(secured, "PLAIN", USER, ""), "KAFKA_SASL_PASSWORD");
    let by_file = but(by_file, &[file("KAFKA_SASL_PASSWORD_FILE", &path)]);
    assert_eq!(kafka(&space, &by_file).await.0, "ok");
}

#[tokio::test]
async fn wrong_settings_of_the_connection_are_reported_with_their_variable() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let certificates = &secured.certificates;
    let right = scram(secured, USER);
    let tls = vec![
        set("KAFKA_BROKERS", &secured.mutual),
        set("KAFKA_SECURITY_PROTOCOL", "SSL"),
        file("KAFKA_SSL_CA_FILE", &certificates.ca),
    ];
    let mutual = |pair: &crate::support::secured::Pair| {
        but(
            tls.clone(),
            &[
                file("KAFKA_SSL_CERT_FILE", &pair.certificate),
                file("KAFKA_SSL_KEY_FILE", &pair.key),
            ],
        )
    };
    let own = mutual(&certificates.client);
    assert_eq!(kafka(&space, &own).await.0, "ok");
    record_goes_round(&space, &own).await;
    let locked = but(
        own.clone(),
        &[
            file("KAFKA_SSL_KEY_FILE", &certificates.locked_key),
            set("KAFKA_SSL_KEY_PASSWORD", KEY_PASSWORD),
        ],
    );
    assert_eq!(kafka(&space, &locked).await.0, "ok");

    let (_, wrong_port) = secured.open.rsplit_once(':').unwrap();
    let plain_port = format!("127.0.0.1:{wrong_port}");
    for (what, settings, variable) in [
        (
            "a wrong CA",
            but(
                right.clone(),
                &[file("KAFKA_SSL_CA_FILE", &certificates.foreign_ca)],
            ),
            "check that KAFKA_SSL_CA_FILE",
        ),
        (
            "no CA",
            without(right.clone(), "KAFKA_SSL_CA_FILE"),
            "check that KAFKA_SSL_CA_FILE",
        ),
        (
            "TLS to a plain port",
            but(right.clone(), &[set("KAFKA_BROKERS", &plain_port)]),
            "check KAFKA_SECURITY_PROTOCOL",
        ),
        (
            "plain text to a TLS port",
            vec![set("KAFKA_BROKERS", &secured.sasl_tls)],
            "check KAFKA_SECURITY_PROTOCOL",
        ),
        (
            "no login where one is expected",
            vec![set("KAFKA_BROKERS", &secured.sasl)],
            "check KAFKA_SECURITY_PROTOCOL",
        ),
        (
            "a broker with an expired certificate",
            but(tls.clone(), &[set("KAFKA_BROKERS", &secured.expired)]),
            "has not expired",
        ),
        ("no client certificate", tls.clone(), "KAFKA_SSL_CERT_FILE"),
        (
            "an expired client certificate",
            mutual(&certificates.expired_client),
            "KAFKA_SSL_CERT_FILE",
        ),
        (
            "a certificate of another authority",
            mutual(&certificates.foreign_client),
            "KAFKA_SSL_CERT_FILE",
        ),
        (
            "a wrong password of the key",
            but(locked, &[set("KAFKA_SSL_KEY_PASSWORD", "needle")]),
            "check KAFKA_SSL_KEY_FILE and KAFKA_SSL_KEY_PASSWORD",
        ),
    ] {
        let (verdict, found) = kafka(&space, &settings).await;
        assert_eq!(verdict, "FAIL", "{what}: {found}");
        assert!(found.contains(variable), "{what}: {found}");
        assert!(!found.contains("needle"), "{found}");
    }
}

#[tokio::test]
async fn a_role_and_setup_and_submit_report_a_wrong_password_at_their_start() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let wrong = login(secured, "SCRAM-SHA-512", USER, "wrong");
    let sentence = "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD";
    for command in [
        &["setup", "--replication", "1"][..],
        &["submit", "image", "--prompt", "a fox"],
    ] {
        let (code, printed) = space.run_with(command, &text(&wrong)).await;
        assert_eq!(code, 69, "{command:?}: {printed}");
        assert!(printed.contains(sentence), "{command:?}: {printed}");
    }
    for role in ["intake", "worker", "notifier"] {
        let watched = Watched::start(&space, role, &text(&wrong));
        watched.says("readyz", sentence).await;
        assert_eq!(watched.status("readyz").await, 503, "{role}");
        assert!(watched.process.output().contains(sentence), "{role}");
    }
}
