//! A worker that stops again and again while one job runs: the job does not fail, and no attempt is used up.

use genflow::workflows::generation::Generation;
use rustix::process::Signal;

use super::*;

/// Returns the highest attempt number in the history of a request's run.
async fn attempts(space: &Space, request: &Request) -> u64 {
    let client = space.client().await;
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    let history = handle.fetch_history(Default::default());
    let history = history.to_json().await.unwrap();
    let history: Value = serde_json::from_slice(history.as_ref()).unwrap();
    let events = history["events"].as_array().unwrap();
    let numbers = events.iter().filter_map(|event| {
        event["attributes"]["ActivityTaskStartedEventAttributes"]["attempt"].as_u64()
    });
    numbers.max().unwrap()
}

#[tokio::test]
async fn a_job_outlives_more_stops_of_its_worker_than_it_may_fail() {
    let space = Space::with(&[
        ("FETCH_MAX_ATTEMPTS", "2"),
        ("STORE_MAX_ATTEMPTS", "1"),
        ("SUBMIT_MAX_ATTEMPTS", "1"),
        ("PROGRESS_MAX", "0"),
    ])
    .await;
    let _intake = space.start(&["intake"]);
    // Each poll is answered with 429 and repeats a second later, so the job's duration does not depend on the machine.
    let busy = json!({"seconds": 0.1, "poll": vec![429; 20]});
    let request = script(image("restarted"), &busy);
    space.send(&request).await;
    let mut seen = 0;
    for _ in 0..4 {
        let mut worker = space.start(&["worker"]);
        eventually("this worker polls the job", async || {
            (reads(&space, &request).await > seen).then_some(())
        })
        .await;
        assert!(worker.terminate().await.success(), "{}", worker.output());
        seen = reads(&space, &request).await;
    }

    let _last = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert!(attempts(&space, &request).await >= 5);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 1);
}

#[tokio::test]
async fn what_failed_before_a_stop_is_counted_after_it() {
    let space = Space::with(&[
        ("FETCH_MAX_ATTEMPTS", "4"),
        ("RETRY_BACKOFF", "3s"),
        ("RETRY_BACKOFF_MAX", "3s"),
        ("PROGRESS_MAX", "0"),
    ])
    .await;
    let _intake = space.start(&["intake"]);
    let faults = json!({"stuck": true, "poll": [500, 500, 500, 500, 500, 500, 500, 500]});
    let request = script(image("counted"), &faults);
    space.send(&request).await;
    let mut first = space.start(&["worker"]);
    eventually("a poll fails", async || {
        (reads(&space, &request).await > 0).then_some(())
    })
    .await;
    first.terminate().await;

    let _second = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::ProviderFailed);
    assert_eq!(reads(&space, &request).await, 4);
}

#[tokio::test]
async fn a_worker_that_stops_while_it_waits_hands_the_job_back_at_once() {
    let space = Space::with(&[
        ("SHUTDOWN_GRACE", "90s"),
        ("KAFKA_SESSION_TIMEOUT", "2m"),
        ("PROGRESS_MAX", "0"),
    ])
    .await;
    let _intake = space.start(&["intake"]);
    let request = script(image("handed"), &json!({"stuck": true}));
    space.send(&request).await;
    let mut first = space.start(&["worker"]);
    eventually("the job is polled", async || {
        (reads(&space, &request).await > 0).then_some(())
    })
    .await;

    let began = std::time::Instant::now();
    assert!(first.terminate().await.success(), "{}", first.output());

    // Without the hand-back, the worker would wait four fifths of a minute and a half, whatever the machine's speed.
    assert!(began.elapsed() < Duration::from_secs(60));
    let second = space.start(&["worker"]);
    space.cancel(request.id.as_str()).await;
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
    drop(second);
}

#[tokio::test]
async fn what_a_worker_that_stops_cannot_store_in_time_another_stores() {
    let space = Space::with(&[("STORE_MAX_ATTEMPTS", "1"), ("FETCH_MAX_ATTEMPTS", "1")]).await;
    let _intake = space.start(&["intake"]);
    let request = script(
        image("restored"),
        &json!({"seconds": 0.1, "download": 20.0}),
    );
    space.send(&request).await;
    let mut first = space.start(&["worker"]);
    downloading(&space).await;

    first.signal(Signal::TERM);
    let _second = space.start(&["worker"]);

    assert!(first.ended().await.success(), "{}", first.output());
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert!(attempts(&space, &request).await >= 2);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}
