//! Temporal as hosted servers offer it: by TLS, with client certificates, with API keys, also with one that changes.

use std::path::{Path, PathBuf};

use genflow::domain::EventType;

use crate::support::certificates::{Authority, Certificate, Validity};
use crate::support::front::Front;
use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::{Space, eventually};

const CA: &str = "TEMPORAL_TLS_SERVER_CA_CERT_PATH";
const CERTIFICATE: &str = "TEMPORAL_TLS_CLIENT_CERT_PATH";
const KEY: &str = "TEMPORAL_TLS_CLIENT_KEY_PATH";
const API_KEY: &str = "TEMPORAL_API_KEY";

/// Settings, as `run_with` takes them.
type Settings<'s> = Vec<(&'static str, &'s str)>;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns the settings for a client certificate.
fn with(certificate: &Certificate) -> Settings<'_> {
    vec![
        (CERTIFICATE, text(&certificate.chain)),
        (KEY, text(&certificate.key)),
    ]
}

/// Runs `genflow list` by the server at `address`; returns what it prints if it fails.
async fn fault(space: &Space, address: &str, settings: &[(&'static str, &str)]) -> Option<String> {
    // `TEMPORAL_HOST` is set for the space; an empty value counts as not set.
    let server = [("TEMPORAL_HOST", ""), ("TEMPORAL_ADDRESS", address)];
    let (code, printed) = space
        .run_with(&["list"], &[&server, settings].concat())
        .await;
    assert!(!printed.contains("needle"), "{printed}");
    (code != 0).then(|| {
        assert_eq!(code, 69, "{printed}");
        printed
    })
}

/// Asserts that the command failed, with a text that has all these parts.
fn assert_says(printed: Option<String>, parts: &[&str]) {
    let printed = printed.expect("the command fails");
    for part in parts {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[tokio::test]
async fn a_request_completes_by_mutual_tls_with_a_key_and_metadata() {
    let space = Space::new().await;
    let ours = Authority::new("ours", space.folder());
    let server = ours.sign("localhost", Validity::Valid);
    let client = ours.sign("genflow", Validity::Valid);
    let front = Front::before(&space.engines.temporal, &server, Some(&ours.ca())).await;
    front.accept(&["right"]);
    let (address, ca) = (format!("localhost:{}", front.port), ours.ca());
    let mut settings = with(&client);
    settings.extend([
        ("TEMPORAL_HOST", &*address),
        (CA, text(&ca)),
        (API_KEY, "right"),
        ("TEMPORAL_GRPC_META_X_TENANT", "ann"),
    ]);

    let _all = space.start_with(&["all"], &settings);
    let request = image("by-mutual-tls");
    space.send(&request).await;
    let events = space.story(request.id.as_str()).await;

    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert!(front.calls_with("right") > 0);
    assert_eq!(front.header("x-tenant").as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_wrong_certificate_is_reported_with_the_variable_to_set() {
    let space = Space::new().await;
    let (ours, other) = (
        Authority::new("ours", space.folder()),
        Authority::new("other", space.folder()),
    );
    let (ca, other_ca) = (ours.ca(), other.ca());
    let ca = (CA, text(&ca));
    let temporal = &space.engines.temporal;
    let server = ours.sign("localhost", Validity::Valid);
    let front = Front::before(temporal, &server, None).await;
    let address = format!("https://localhost:{}", front.port);
    let expired = ours.sign("localhost", Validity::Expired);
    let expired = Front::before(temporal, &expired, None).await;
    let expired = format!("localhost:{}", expired.port);
    let elsewhere = ours.sign("temporal.test", Validity::Valid);
    let elsewhere = Front::before(temporal, &elsewhere, None).await;
    let elsewhere = format!("localhost:{}", elsewhere.port);

    assert_says(fault(&space, &address, &[]).await, &[CA]);
    let wrong = (CA, text(&other_ca));
    assert_says(fault(&space, &address, &[wrong]).await, &[CA]);
    assert_eq!(fault(&space, &address, &[ca]).await, None);
    let problem = "its certificate has expired";
    assert_says(fault(&space, &expired, &[ca]).await, &[problem]);
    let name = "TEMPORAL_TLS_SERVER_NAME";
    assert_says(fault(&space, &elsewhere, &[ca]).await, &[name]);
    let right = (name, "temporal.test");
    assert_eq!(fault(&space, &elsewhere, &[ca, right]).await, None);
    let any = ("TEMPORAL_TLS_DISABLE_HOST_VERIFICATION", "true");
    assert_eq!(fault(&space, &elsewhere, &[ca, any]).await, None);
    assert_says(fault(&space, &elsewhere, &[wrong, any]).await, &[CA]);
}

#[tokio::test]
async fn without_the_right_client_certificate_its_variable_is_reported() {
    let space = Space::new().await;
    let (ours, other) = (
        Authority::new("ours", space.folder()),
        Authority::new("other", space.folder()),
    );
    let server = ours.sign("localhost", Validity::Valid);
    let front = Front::before(&space.engines.temporal, &server, Some(&ours.ca())).await;
    let (address, ca) = (format!("localhost:{}", front.port), ours.ca());
    let by = async |certificate: Option<&Certificate>| {
        let mut settings = certificate.map(with).unwrap_or_default();
        settings.push((CA, text(&ca)));
        fault(&space, &address, &settings).await
    };

    let right = ours.sign("genflow", Validity::Valid);
    assert_eq!(by(Some(&right)).await, None);
    assert_says(by(None).await, &[CERTIFICATE, KEY]);
    let foreign = other.sign("genflow", Validity::Valid);
    assert_says(
        by(Some(&foreign)).await,
        &["client certificate", CERTIFICATE],
    );
    // The reason may be lost with the connection, so it is not always said which of the two it is.
    let expired = ours.sign("genflow", Validity::Expired);
    assert_says(by(Some(&expired)).await, &["expired", CERTIFICATE]);
}

#[tokio::test]
async fn tls_on_one_side_only_is_reported_with_the_variable_to_set() {
    let space = Space::new().await;
    let ours = Authority::new("ours", space.folder());
    let server = ours.sign("localhost", Validity::Valid);
    let front = Front::before(&space.engines.temporal, &server, None).await;
    let (address, plain) = (format!("localhost:{}", front.port), &space.engines.temporal);

    let no_tls = fault(&space, plain, &[("TEMPORAL_TLS", "true")]).await;
    assert_says(no_tls, &["does not speak TLS", "TEMPORAL_TLS=false"]);
    let tls = fault(&space, &address, &[]).await;
    assert_says(tls, &["TEMPORAL_TLS=true"]);
}

#[tokio::test]
async fn a_refused_key_is_reported_by_each_command_and_role_and_not_shown() {
    let space = Space::new().await;
    let ours = Authority::new("ours", space.folder());
    let server = ours.sign("localhost", Validity::Valid);
    let front = Front::before(&space.engines.temporal, &server, None).await;
    front.accept(&["right"]);
    let (address, ca) = (format!("localhost:{}", front.port), ours.ca());
    let ca = (CA, text(&ca));
    let wrong = [("TEMPORAL_HOST", &*address), ca, (API_KEY, "needle")];

    assert_eq!(
        fault(&space, &address, &[ca, (API_KEY, "right")]).await,
        None
    );
    assert_says(fault(&space, &address, &[ca]).await, &[API_KEY]);
    assert_says(fault(&space, &address, &[ca, wrong[2]]).await, &[API_KEY]);
    for command in ["doctor", "setup"] {
        let (code, printed) = space.run_with(&[command], &wrong).await;
        assert_ne!(code, 0, "{printed}");
        assert!(printed.contains("Request unauthorized"), "{printed}");
        assert!(printed.contains(API_KEY), "{printed}");
        assert!(!printed.contains("needle"), "{printed}");
    }
    let worker = space.start_with(&["worker"], &wrong);
    let printed = eventually("the worker says that it waits", async || {
        let printed = worker.output();
        printed.contains(API_KEY).then_some(printed)
    })
    .await;
    assert!(!printed.contains("needle"), "{printed}");
}

#[tokio::test]
async fn a_profile_is_used_and_variables_override_it() {
    let space = Space::new().await;
    let ours = Authority::new("ours", space.folder());
    let server = ours.sign("localhost", Validity::Valid);
    let front = Front::before(&space.engines.temporal, &server, None).await;
    front.accept(&["right"]);
    let file: PathBuf = space.folder().join("temporal.toml");
    let (port, ca) = (front.port, ours.ca());
    let profile = format!(
        "[profile.cloud]\naddress = \"localhost:{port}\"\napi_key = \"right\"\n\
         [profile.cloud.tls]\nserver_ca_cert_path = \"{}\"\n",
        ca.display()
    );
    std::fs::write(&file, profile).unwrap();
    let cloud = [
        ("TEMPORAL_CONFIG_FILE", text(&file)),
        ("TEMPORAL_PROFILE", "cloud"),
    ];

    assert_eq!(fault(&space, "", &cloud).await, None);
    assert!(front.calls_with("right") > 0);
    let other = [cloud[0], cloud[1], (API_KEY, "needle")];
    assert_says(fault(&space, "", &other).await, &[API_KEY]);
}

#[tokio::test]
async fn a_key_that_changes_in_its_file_is_used_without_a_restart() {
    let space = Space::new().await;
    let ours = Authority::new("ours", space.folder());
    let server = ours.sign("localhost", Validity::Valid);
    let front = Front::before(&space.engines.temporal, &server, None).await;
    front.accept(&["first"]);
    let (address, ca) = (format!("localhost:{}", front.port), ours.ca());
    let file = space.folder().join("key");
    std::fs::write(&file, "first\n").unwrap();
    let settings = [
        ("TEMPORAL_HOST", &*address),
        (CA, text(&ca)),
        ("TEMPORAL_API_KEY_FILE", text(&file)),
    ];
    let _all = space.start_with(&["all"], &settings);
    let completes = async |id: &str| {
        let request = image(id);
        space.send(&request).await;
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    };
    completes("by-the-first-key").await;

    front.accept(&["first", "second"]);
    std::fs::write(&file, "second\n").unwrap();
    eventually("the new key is used", async || {
        (front.calls_with("second") > 0).then_some(())
    })
    .await;
    front.accept(&["second"]);

    // Intake, worker and notifier each have connections of their own.
    completes("by-the-second-key").await;
}
