//! Rate limits of a user.

use crate::support::requests::image;
use crate::support::{Space, Watched, eventually};

#[tokio::test]
async fn a_request_that_waits_for_its_token_leaves_its_place_to_others() {
    let limits = [
        ("ENABLE_RATE_LIMITING", "true"),
        ("RATE_LIMIT_PER_MINUTE", "3"),
        ("RATE_LIMIT_BURST", "1"),
        ("INTAKE_CONCURRENCY", "1"),
    ];
    let space = Space::with(&limits).await;
    let all = Watched::start(&space, "all", &[]);
    let (first, waits, mut other) = (image("first"), image("waits"), image("other"));
    other.user = "bob".to_owned().try_into().unwrap();

    space.send(&first).await;
    space.story(first.id.as_str()).await;

    space.send(&waits).await;
    let topic = &space.config.kafka.topics.requests;
    let one = format!("genflow_records_in_flight{{topic=\"{topic}\"}} 1");
    all.says("metrics", &one).await;
    space.send(&other).await;

    // The next token comes twenty seconds after the first one.
    let first_event = async |id: &str| space.story(id).await[0].occurred_at;
    let other_began = first_event(other.id.as_str()).await;
    assert!(other_began < first_event(waits.id.as_str()).await);
    assert_eq!(space.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn a_user_above_the_limit_waits_then_is_refused_and_delays_no_other_user() {
    let space = Space::with(&[
        ("ENABLE_RATE_LIMITING", "true"),
        ("RATE_LIMIT_PER_MINUTE", "1"),
        ("RATE_LIMIT_BURST", "2"),
    ])
    .await;
    let topic = &space.config.kafka.topics.requests;
    let _all = space.start(&["all"]);
    let of = |user: &str| {
        let mut request = image(user);
        request.user = user.to_owned().try_into().unwrap();
        request
    };
    let first = of("ann");
    space.send(&first).await;
    space.story(first.id.as_str()).await;

    for _ in 0..4 {
        space.send(&of("ann")).await;
    }
    let other = of("bob");
    space.send(&other).await;
    space.story(other.id.as_str()).await;

    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    for _ in 0..3 {
        let refused = dlq.next().await;
        assert_eq!(refused.header("dlq.reason"), Some("rate_limited"));
        let error = refused.header("dlq.error").unwrap();
        assert!(error.contains("retry_after"), "{error}");
    }
    // Only new starts count: a request that runs or ran is a duplicate.
    space.send(&first).await;
    space.caught_up("intake", topic).await;
    assert_eq!(space.dead_letters().await.len(), 3);
    let temporal = space.temporal().await;
    let queue = &space.config.temporal.task_queue;
    let ours = format!("WorkflowType = 'generation.v1' AND TaskQueue = '{queue}'");
    eventually("two of ann's and one of bob's run", async || {
        (temporal.count(&ours).await.unwrap() == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_runs_is_a_duplicate_also_after_the_limit_was_lowered() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let mut intake = space.start(&["intake"]);
    let request = image("lowered");
    space.send(&request).await;
    space.story(request.id.as_str()).await;
    assert!(intake.terminate().await.success());

    let lowered = [
        ("ENABLE_RATE_LIMITING", "true"),
        ("RATE_LIMIT_PER_MINUTE", "1"),
        ("RATE_LIMIT_BURST", "1"),
    ];
    let _intake = space.start_with(&["intake"], &lowered);
    let takes_the_token = image("next");
    space.send(&takes_the_token).await;
    space.story(takes_the_token.id.as_str()).await;
    space.send(&request).await;
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;

    assert_eq!(space.dead_letters().await.len(), 0);
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
}
