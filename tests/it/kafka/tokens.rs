//! OAUTHBEARER: tokens of a token server, good and bad, and a token server that comes and goes.

use genflow::domain::EventType;

use super::{Set, but, kafka, open_space, record_goes_round, set, text};
use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::secured::tokens::{CLIENT, Grant, SECRET, TokenKey, TokenServer};
use crate::support::secured::{Secured, secured};
use crate::support::{Space, Watched, eventually, nowhere};

fn oauth(secured: &Secured, url: &str) -> Vec<Set> {
    vec![
        set("KAFKA_BROKERS", &secured.sasl_tls),
        set("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        super::file("KAFKA_SSL_CA_FILE", &secured.certificates.ca),
        set("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
        set("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", url),
        set("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", CLIENT),
        set("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", SECRET),
    ]
}

#[tokio::test]
async fn a_request_completes_with_tokens_and_setup_and_doctor_use_them_too() {
    let secured = secured().await;
    let tokens = TokenServer::start(secured.key.clone(), Grant::Good(3600));
    let settings = oauth(secured, &tokens.url);
    // Its creation runs setup, which needs an admin client with a token.
    let space = Space::with(&text(&settings)).await;
    let _all = space.start(&["all"]);
    let request = image("by-token");

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    space.succeed(&["doctor"]).await;
    record_goes_round(&space, &settings).await;
}

#[tokio::test]
async fn bad_tokens_and_a_bad_token_server_are_reported_with_their_variable() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let foreign = TokenKey::foreign(space.folder());
    let tokens = TokenServer::start(secured.key.clone(), Grant::Good(3600));
    let right = oauth(secured, &tokens.url);
    assert_eq!(kafka(&space, &right).await.0, "ok");
    let (id, endpoint) = (
        "check KAFKA_SASL_OAUTHBEARER_CLIENT_ID",
        "check KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL",
    );
    for (what, grant, expected) in [
        (
            "expired",
            Grant::Token(secured.key.token("kafka", -60)),
            "gives tokens that have expired",
        ),
        (
            "of another audience",
            Grant::Token(secured.key.token("other", 3600)),
            "the audience",
        ),
        (
            "signed by another key",
            Grant::Token(foreign.token("kafka", 3600)),
            "refuse the token",
        ),
        ("a failing server", Grant::Status(503), endpoint),
        ("a page that is none", Grant::Status(404), endpoint),
        ("a silent server", Grant::Silence, endpoint),
    ] {
        tokens.grant(grant);
        let (verdict, found) = kafka(&space, &right).await;
        assert_eq!(verdict, "FAIL", "{what}: {found}");
        let expected = if expected == "the audience" {
            "audience that the brokers expect"
        } else {
            expected
        };
        assert!(found.contains(expected), "{what}: {found}");
    }
    tokens.grant(Grant::Good(3600));
    let wrong = but(
        right.clone(),
        &[set("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "needle")],
    );
    let (verdict, found) = kafka(&space, &wrong).await;
    assert!(
        verdict == "FAIL" && found.contains(id) && !found.contains("needle"),
        "{found}"
    );
    let away = format!("http://{}/token", nowhere());
    let away = but(
        right,
        &[set("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", &away)],
    );
    let (verdict, found) = kafka(&space, &away).await;
    assert!(verdict == "FAIL" && found.contains(endpoint), "{found}");
}

#[tokio::test]
async fn a_role_whose_token_server_is_away_says_so_and_recovers_with_it() {
    let secured = secured().await;
    let space = open_space(secured).await;
    let tokens = TokenServer::start(secured.key.clone(), Grant::Status(503));
    let settings = oauth(secured, &tokens.url);
    let all = Watched::start(&space, "all", &text(&settings));
    let sentence = "check KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL";
    all.says("readyz", sentence).await;
    assert!(all.process.output().contains(sentence));
    let request = image("late-token");
    space.send(&request).await;

    // Tokens that live for 20 s are fetched again after 16 s.
    tokens.grant(Grant::Good(20));
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    eventually("the roles are ready", async || {
        (all.status("readyz").await == 200).then_some(())
    })
    .await;

    let before = tokens.asked();
    tokens.grant(Grant::Status(503));
    eventually("a refresh fails", async || {
        (tokens.asked() > before).then_some(())
    })
    .await;
    all.says("readyz", sentence).await;
    tokens.grant(Grant::Good(3600));
    let request = image("renewed");
    space.send(&request).await;
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    eventually("the roles are ready again", async || {
        (all.status("readyz").await == 200).then_some(())
    })
    .await;
}
