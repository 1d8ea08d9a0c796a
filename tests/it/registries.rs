//! Schema registries that ask who calls, and one of another vendor: right credentials, wrong ones and expired ones.

mod other_vendor;

use genflow::domain::EventType;

use crate::doctor::{Report, doctor};
use crate::support::apicurio::{PASSWORD, SecureApicurio, USER};
use crate::support::axonops::{AxonOps, token};
use crate::support::engines::engines;
use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::{Space, Watched, eventually, tls};

/// The variables of a client certificate.
const CERT: &str = "SCHEMA_REGISTRY_CERT_FILE";
const KEY: &str = "SCHEMA_REGISTRY_KEY_FILE";
const CA: &str = "SCHEMA_REGISTRY_CA_FILE";
const TOKEN: &str = "SCHEMA_REGISTRY_TOKEN";

/// Asserts that doctor fails because of the registry alone, and names these variables.
fn names(report: &Report, variables: &[&str]) {
    assert_eq!(report.failing(), ["schema registry"]);
    let found = report.found("schema registry");
    for variable in variables {
        assert!(found.contains(variable), "{variable}: {found}");
    }
    assert!(!found.contains("unavailable"), "{found}");
}

/// Sends a request and waits until it has completed.
async fn completes(space: &Space, id: &str) {
    let request = image(id);
    space.send(&request).await;
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
}

#[tokio::test]
async fn a_registry_with_tls_and_a_login_is_used_and_the_login_is_shown_nowhere() {
    let engines = tokio::task::spawn_blocking(engines).await.unwrap();
    let registry = SecureApicurio::start(engines).await;
    let ca = tls("ca.pem");
    let space = Space::with(&[
        ("SCHEMA_REGISTRY_URL", &registry.url),
        (CA, ca.to_str().unwrap()),
        ("SCHEMA_REGISTRY_USER", USER),
        ("SCHEMA_REGISTRY_PASSWORD", PASSWORD),
        ("LOG_LEVEL", "trace,genflow=trace"),
    ])
    .await;
    assert_eq!(doctor(&space, &[]).await.verdict("schema registry"), "ok");
    let all = space.start(&["all"]);

    completes(&space, "by-login").await;

    let shown = format!("{}/schemas/ids/", registry.url);
    let records = space.events().await.all().await;
    for record in &records {
        let text = format!("{:?}", record.headers);
        let header = record
            .headers
            .iter()
            .find(|(name, _)| name == "ce_dataschema");
        let value = header.unwrap().1.as_deref().unwrap();
        assert!(value.starts_with(shown.as_bytes()), "{text}");
        assert!(!text.contains(PASSWORD));
    }
    assert!(!records.is_empty() && !all.output().contains(PASSWORD));
    drop(all);
    wrong_at_apicurio(&space).await;
}

/// Tries out what is wrong; each time the variable to change is named.
async fn wrong_at_apicurio(space: &Space) {
    let stranger = tls("client-ca.pem");
    let password = "SCHEMA_REGISTRY_PASSWORD";
    for (settings, variable) in [
        (&[(password, "other-needle")][..], password),
        (&[("SCHEMA_REGISTRY_USER", "bob")], "SCHEMA_REGISTRY_USER"),
        (
            &[("SCHEMA_REGISTRY_USER", ""), (password, "")],
            "SCHEMA_REGISTRY_USER",
        ),
        (&[(CA, stranger.to_str().unwrap())], CA),
        (&[(CA, "")], CA),
    ] {
        let report = doctor(space, settings).await;

        names(&report, &[variable]);
        let found = report.found("schema registry");
        assert!(!found.contains("needle"), "{found}");
    }
    for command in [&["setup", "--replication", "1"][..], &["dlq", "list"]] {
        let (code, printed) = space.run_with(command, &[(password, "other-needle")]).await;
        assert!(!printed.contains("needle"), "{printed}");
        if command[0] == "setup" {
            assert_eq!(code, 69, "{printed}");
            assert!(printed.contains(password), "{printed}");
        }
    }
    held_with_a_wrong_password(space).await;
}

/// A role with a wrong password holds its records and names the variable; with the right one, they complete.
async fn held_with_a_wrong_password(space: &Space) {
    let wrong = [("SCHEMA_REGISTRY_PASSWORD", "other-needle")];
    let mut intake = Watched::start(space, "intake", &wrong);
    let request = image("held");
    space.send(&request).await;
    intake.says("readyz", "SCHEMA_REGISTRY_PASSWORD").await;
    let named = eventually("the log names the variable", async || {
        let log = intake.process.output();
        log.contains("SCHEMA_REGISTRY_PASSWORD").then_some(log)
    });
    assert!(!named.await.contains("other-needle"));
    intake.process.terminate().await;

    let _all = space.start(&["all"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert!(space.dead_letters().await.is_empty());
}

/// The settings for the registry of AxonOps that asks for a client certificate and a token.
fn secured<'a>(url: &'a str, files: &'a [String; 3], token: &'a str) -> [(&'a str, &'a str); 5] {
    let [ca, certificate, key] = files;
    [
        ("SCHEMA_REGISTRY_URL", url),
        (CA, ca),
        (CERT, certificate),
        (KEY, key),
        (TOKEN, token),
    ]
}

fn files(client: &str) -> [String; 3] {
    ["ca.pem", &format!("{client}.pem"), &format!("{client}.key")]
        .map(|name| tls(name).to_str().unwrap().to_owned())
}

#[tokio::test]
async fn client_certificates_and_tokens_are_used_and_what_is_wrong_with_them_is_named() {
    let folder = tempfolder();
    let registry = AxonOps::secured(&folder).await;
    let (known, valid) = (files("client"), token("admin", 600));
    let space = Space::with(&secured(&registry.url, &known, &valid)).await;
    assert_eq!(doctor(&space, &[]).await.failing(), [""; 0]);
    let all = space.start(&["all"]);
    completes(&space, "by-certificate").await;
    drop(all);

    for (client, variable) in [("client-stranger", CERT), ("client-expired", CERT)] {
        let other = files(client);
        names(
            &doctor(&space, &secured(&registry.url, &other, &valid)).await,
            &[variable],
        );
    }
    names(
        &doctor(&space, &[(CERT, ""), (KEY, "")]).await,
        &[CERT, KEY],
    );
    // Signed by the right key but over, and not signed by it.
    let [expired, forged] = [token("admin", -600), format!("{valid}A")];
    for (token, variables) in [
        (&*expired, &[TOKEN][..]),
        (&*forged, &[TOKEN]),
        ("", &[TOKEN, "SCHEMA_REGISTRY_USER"]),
    ] {
        let report = doctor(&space, &[(TOKEN, token)]).await;

        names(&report, variables);
        assert!(token.is_empty() || !report.found("schema registry").contains(token));
    }
    let reader = token("readonly", 600);
    let setup = ["setup", "--replication", "1"];
    let (code, printed) = space.run_with(&setup, &[(TOKEN, &reader)]).await;
    assert_eq!(code, 69, "{printed}");
    assert!(
        printed.contains("forbids POST /subjects/") && printed.contains(TOKEN),
        "{printed}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_role_with_an_expired_certificate_waits_and_goes_on_when_the_files_are_replaced() {
    let folder = tempfolder();
    let registry = AxonOps::secured(&folder).await;
    let (known, valid) = (files("client"), token("admin", 600));
    let space = Space::with(&secured(&registry.url, &known, &valid)).await;
    let mine = ["mine.pem", "mine.key"].map(|name| folder.join(name));
    let replace = |client: &str| {
        let [_, certificate, key] = files(client);
        std::fs::copy(certificate, &mine[0]).unwrap();
        std::fs::copy(key, &mine[1]).unwrap();
    };
    replace("client-expired");
    let own = [
        (CERT, mine[0].to_str().unwrap()),
        (KEY, mine[1].to_str().unwrap()),
    ];
    let all = space.start_with(&["all"], &own);
    let request = image("renewed");
    space.send(&request).await;
    eventually("the log names the variable", async || {
        all.output().contains(CERT).then_some(())
    })
    .await;

    replace("client");

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert!(space.dead_letters().await.is_empty());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Creates a folder for the files of a registry.
fn tempfolder() -> std::path::PathBuf {
    let name = format!(
        "registry-{}-{}",
        uuid::Uuid::new_v4().simple(),
        std::process::id()
    );
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
