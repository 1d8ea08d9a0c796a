//! The operator's limits: models, deadlines, addresses for providers, and how many generations one user may start.

use std::time::Duration;

use genflow::domain::{
    ErrorCode, Event, EventType, Fallback, Input, ProviderName, Request, Role, UserId,
};
use serde_json::json;

use crate::batch::{batch, ids, spec};
use crate::retry::{commands_done, retry};
use crate::support::described::Described as _;
use crate::support::ledger::types;
use crate::support::requests::{common, image, script, single};
use crate::support::{Space, eventually};

fn with(name: &str, edit: impl FnOnce(&mut Request)) -> Request {
    let mut request = image(name);
    edit(&mut request);
    request
}

/// Reads the answers to `count` refused records.
async fn refused(space: &Space, count: usize) -> Vec<Event> {
    let mut reader = space.events().await;
    let mut refused = Vec::new();
    while refused.len() < count {
        let (event, _) = reader.event().await;
        if event.event_type == EventType::Rejected {
            refused.push(event);
        }
    }
    refused
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_refused_before_anything_is_paid() {
    let space = Space::with(&[
        ("ALLOWED_MODELS", "replicate/simulated/*"),
        ("MAX_TIMEOUT", "30m"),
    ])
    .await;
    let _all = space.start(&["all"]);
    let metadata = "http://169.254.169.254/latest/meta-data";
    let mut crowd = batch("disallowed", &[json!({}), json!({})]);
    let mut item = Request {
        spec: spec(&mut crowd).items[1].spec.clone().into(),
        ..image("item")
    };
    common(&mut item).provider = Some(ProviderName::FAL);
    spec(&mut crowd).items[1].spec = single(&item).clone();
    let cases = [
        (
            with("disallowed", |request| {
                common(request).model = Some("evil/x".to_owned());
            }),
            "spec.model is \"evil/x\", which is not allowed for replicate",
        ),
        (
            with("disallowed", |request| {
                common(request).provider = Some(ProviderName::OPENAI);
            }),
            "spec.model is null, and the default model of openai is not allowed",
        ),
        (
            with("disallowed", |request| {
                common(request).fallback = vec![Fallback {
                    provider: ProviderName::FAL,
                    model: None,
                }];
            }),
            "spec.fallback[0].model is null, and the default model of fal is not allowed",
        ),
        (
            with("disallowed", |request| {
                request.timeout = Some(Duration::from_secs(1801));
            }),
            "timeout_seconds is 1801",
        ),
        (
            with("disallowed", |request| {
                common(request).inputs = vec![Input {
                    url: metadata.parse().unwrap(),
                    role: Role::Unspecified,
                }];
            }),
            "spec.inputs[0].url is not allowed: the address is not a public one",
        ),
        (
            with("disallowed", |request| {
                let image = ("image".to_owned(), json!(metadata).to_string());
                common(request).params.extend([image]);
            }),
            "spec.params has \"image\", whose URL is not allowed",
        ),
        (
            with("disallowed", |request| {
                let count = ("num_outputs".to_owned(), "1000".to_owned());
                common(request).params.extend([count]);
            }),
            "spec.params has \"num_outputs\", which would change how many outputs are made",
        ),
        (
            crowd,
            "spec.items[1].spec.model is null, and the default model of fal is not allowed",
        ),
    ];
    let good = with("allowed", |request| {
        request.timeout = Some(Duration::from_secs(1800));
    });

    for (request, _) in &cases {
        space.send(request).await;
    }
    space.send(&good).await;

    let events = space.story(good.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    let answers = refused(&space, cases.len()).await;
    for (request, reported) in &cases {
        let answer = answers
            .iter()
            .find(|event| event.request_id == request.id.as_str());
        let error = answer.unwrap().error.as_ref().unwrap();
        assert_eq!(error.code, ErrorCode::Invalid);
        assert!(error.message.contains(reported), "{}", error.message);
        assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
    }
}

#[tokio::test]
async fn a_request_that_ran_is_a_duplicate_when_its_model_is_no_longer_allowed_and_is_not_retried()
{
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let mut intake = space.start(&["intake"]);
    let request = script(image("narrowed"), &json!({"fail": "no"}));
    let id = request.id.as_str();
    space.send(&request).await;
    space.story(id).await;
    assert!(intake.terminate().await.success());

    let _intake = space.start_with(&["intake"], &[("ALLOWED_MODELS", "fal/*")]);
    space.send(&request).await;
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    assert_eq!(space.dead_letters().await.len(), 0, "a duplicate");
    retry(&space, &request.id, "c-1").await;
    commands_done(&space).await;

    let letter = space.dead_letters().await.remove(0);
    assert_eq!(letter.header("dlq.reason"), Some("invalid"));
    let error = letter.header("dlq.error").unwrap();
    assert!(error.contains("ALLOWED_MODELS is \"fal/*\""), "{error}");
    assert_eq!(space.bill(id).await.submits, 1);
}

fn of(user: &str, mut request: Request) -> Request {
    request.user = UserId::try_from(user.to_owned()).unwrap();
    request
}

async fn closes(space: &Space, request: &Request, retry: u32) {
    let temporal = space.temporal().await;
    let workflow = request.id.run(retry);
    eventually("the run closes", async || {
        temporal.is_closed(&workflow).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn items_and_retries_count_in_the_limit_of_their_user() {
    let space = Space::with(&[
        ("ENABLE_RATE_LIMITING", "true"),
        ("RATE_LIMIT_PER_MINUTE", "1"),
        ("RATE_LIMIT_BURST", "3"),
    ])
    .await;
    let _all = space.start(&["all"]);
    let crowd = of("ann", batch("crowd", &vec![json!({}); 4]));
    let after = of("ann", image("after"));
    let failing = of("bob", script(image("failing"), &json!({"fail": "no"})));
    let topics = &space.config.kafka.topics;

    // The batch starts with the three tokens there are; its four items leave the bucket in debt.
    space.send(&crowd).await;
    for id in ids(&crowd) {
        space.story(&id).await;
    }
    space.send(&after).await;
    space.caught_up("intake", &topics.requests).await;
    let limited = space.dead_letters().await.remove(0);
    assert_eq!(limited.header("dlq.reason"), Some("rate_limited"));
    assert_eq!(limited.key.as_deref(), Some(after.id.as_str().as_bytes()));

    // A first run and two retries take three tokens; a repeated command takes none.
    space.send(&failing).await;
    closes(&space, &failing, 0).await;
    for (command, runs) in [("c-1", 1), ("c-1", 1), ("c-2", 2), ("c-3", 2)] {
        retry(&space, &failing.id, command).await;
        commands_done(&space).await;
        closes(&space, &failing, runs).await;
        let limited = usize::from(command == "c-3");
        assert_eq!(space.dead_letters().await.len(), 1 + limited, "{command}");
    }

    let letters = space.dead_letters().await;
    let limited = letters
        .iter()
        .find(|record| record.header("dlq.original.topic") == Some(topics.commands.as_str()));
    assert_eq!(limited.unwrap().header("dlq.reason"), Some("rate_limited"));
    let again = of("cat", image("other"));
    space.send(&again).await;
    let events = space.story(again.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
}
