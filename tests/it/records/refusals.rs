//! Refusals: their causes, and that a repeat has the same content.

use std::collections::BTreeSet;

use genflow::contract::avro;
use genflow::domain::{Action, Command, EventType};
use genflow::engines::kafka::Headers;

use crate::support::Space;
use crate::support::described::Described as _;
use crate::support::ledger::types;
use crate::support::requests::image;

#[tokio::test]
async fn a_refusal_that_is_repeated_after_a_restart_has_the_same_content() {
    let space = Space::with(&[("DEDUP_WINDOW", "2h")]).await;
    let first = [("GENFLOW_FAILPOINT", "intake.rejected=kill")];
    let mut first = space.start_with(&["intake"], &first);
    let mut request = image("old");
    request.requested_at = Some(1_700_000_000_000);
    space.send(&request).await;
    first.ended().await;

    let _second = space.start_with(&["intake"], &[("DEDUP_WINDOW", "1h")]);
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;

    let events = space.all_events(request.id.as_str()).await;
    assert_eq!(
        (types(&events), events.len()),
        (vec![EventType::Rejected], 2)
    );
    assert_eq!(events[0], events[1]);
    let letters = space.dead_letters().await;
    let errors: BTreeSet<_> = letters.iter().map(|it| it.header("dlq.error")).collect();
    assert_eq!(
        errors.len(),
        2,
        "dead letters contain the setting: {errors:?}"
    );
}

#[tokio::test]
async fn a_record_whose_key_is_not_its_request_id_is_invalid_and_answered() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let topic = &space.config.kafka.topics.requests;
    let (runs, other) = (image("runs"), image("other"));
    space.send(&runs).await;
    space.story(runs.id.as_str()).await;

    for request in [&other, &runs] {
        let datum = avro::write_request(request).unwrap();
        let value = space.framed(topic, &avro::REQUEST, &datum).await;
        let key = "another-key";
        space
            .produce(topic, key, Some(&value), Headers::new())
            .await;
    }
    space.caught_up("intake", topic).await;

    let letters = space.dead_letters().await;
    assert_eq!(letters.len(), 1, "a running request is a duplicate");
    assert_eq!(letters[0].header("dlq.reason"), Some("invalid"));
    let error = letters[0].header("dlq.error").unwrap();
    assert!(
        error.contains("another-key") && error.contains(other.id.as_str()),
        "{error}"
    );
    let events = space.all_events(other.id.as_str()).await;
    assert_eq!(types(&events), [EventType::Rejected]);
    assert_eq!(space.bill(other.id.as_str()).await.submits, 0);
}

#[tokio::test]
async fn a_command_whose_key_is_not_its_request_id_is_invalid_and_not_carried_out() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let topic = &space.config.kafka.topics.commands;
    let free = image("free").id;
    let command = Command {
        id: "c1".to_owned().try_into().unwrap(),
        request: free.clone(),
        action: Action::Cancel,
        reason: None,
        issued_by: None,
    };
    let datum = avro::write_command(&command, None).unwrap();
    let value = space.framed(topic, &avro::COMMAND, &datum).await;

    let key = "another-key";
    space
        .produce(topic, key, Some(&value), Headers::new())
        .await;
    space.caught_up("commands", topic).await;

    let letters = space.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("dlq.reason"), Some("invalid"));
    let temporal = space.temporal().await;
    assert!(temporal.run_id(&free.run(0)).await.is_none(), "not claimed");
}

#[tokio::test]
async fn a_window_beyond_the_retention_is_cut_to_it() {
    let space = Space::with(&[("DEDUP_WINDOW", "60d")]).await;
    let _intake = space.start(&["intake"]);
    let mut request = image("forgotten");
    // Temporal keeps closed runs for 30 days, so it is not certain whether this request ran.
    request.requested_at = Some(genflow::engines::clock::now() - 28 * 86_400_000);

    space.send(&request).await;

    let letter = space
        .read(&space.config.kafka.topics.dlq)
        .await
        .next()
        .await;
    assert_eq!(letter.header("dlq.reason"), Some("too_old"));
}

#[tokio::test]
async fn a_refusal_has_the_trace_of_its_record_and_the_source_of_the_installation() {
    let source = ("CE_SOURCE", "urn:genflow:eu");
    let space = Space::with(&[("DEDUP_WINDOW", "1h"), source]).await;
    let _intake = space.start(&["intake"]);
    let mut request = image("old");
    request.requested_at = Some(1_700_000_000_000);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = vec![("traceparent".to_owned(), Some(trace.as_bytes().to_vec()))];

    space.send_with(&request, headers).await;

    let (event, record) = space.events().await.event().await;
    assert_eq!(event.event_type, EventType::Rejected);
    assert_eq!(record.header("traceparent").unwrap()[..35], trace[..35]);
    assert_eq!(record.header("ce_source"), Some(source.1));
}
