//! The registry of another vendor, used as Apicurio is: setup, requests, doctor, compatibility, unknown ids.

use genflow::contract::avro;
use genflow::engines::kafka::Headers;
use serde_json::json;

use super::{completes, tempfolder};
use crate::doctor::doctor;
use crate::setup::register;
use crate::support::axonops::AxonOps;
use crate::support::{Space, eventually};

#[tokio::test]
async fn a_registry_of_another_vendor_does_all_that_genflow_asks_of_one() {
    let folder = tempfolder();
    let registry = AxonOps::open(&folder).await;
    let url = ("SCHEMA_REGISTRY_URL", &*registry.url);
    let space = Space::with(&[url]).await;
    let topics = &space.config.kafka.topics;
    let again = space.succeed(&["setup", "--replication", "1"]).await;
    let subject = format!("schema {}-value", topics.requests);
    assert!(again.contains(&format!("{subject}: ")), "{again}");
    let well = doctor(&space, &[]).await;
    assert_eq!(well.failing(), [""; 0]);
    assert!(
        well.found(&subject).ends_with("FULL_TRANSITIVE"),
        "{}",
        well.found(&subject)
    );

    let _all = space.start(&["all"]);
    completes(&space, "elsewhere").await;

    // No such id: the registry itself says so, and the record is dead-lettered.
    let datum = avro::frame(2_000_000_000, b"datum");
    space
        .produce(&topics.requests, "unknown", Some(&datum), Headers::new())
        .await;
    let letter = eventually("the record is dead-lettered", async || {
        space.dead_letters().await.pop()
    })
    .await;
    let reason = letter.headers.iter().find(|(name, _)| name == "dlq.reason");
    assert_eq!(reason.unwrap().1.as_deref(), Some(&b"unknown_schema"[..]));

    // A subject and a schema that it lacks are told apart, and so are levels of its own and the default one.
    let missing = doctor(&space, &[("TOPIC_COMMANDS", "none-such")]).await;
    let found = missing.found("schema none-such-value");
    assert!(found.starts_with("is missing"), "{found}");
    let optional = json!({"name": "later", "type": ["null", "string"], "default": null});
    let required = json!({"name": "later_still", "type": "string"});
    let requests = &topics.requests;
    assert_eq!(
        register(&space, requests, &avro::REQUEST, optional).await,
        200
    );
    assert_eq!(
        register(&space, requests, &avro::REQUEST, required).await,
        409
    );
    // A role finds its schema though a newer one is the latest.
    assert_eq!(doctor(&space, &[]).await.verdict(&subject), "ok");
    std::fs::remove_dir_all(&folder).unwrap();
}
