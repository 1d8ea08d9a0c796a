//! Rate limits of submits, which the server enforces over all workers together.

use super::*;

/// Returns when the provider accepted the jobs of these ids, in milliseconds, sorted.
async fn taken(space: &Space, ids: impl IntoIterator<Item = String>) -> Vec<u64> {
    let mut times = Vec::new();
    for id in ids {
        let jobs = space.jobs(&id).await;
        times.push(jobs[0]["accepted_at"].as_u64().unwrap());
    }
    times.sort_unstable();
    times
}

#[tokio::test]
async fn two_workers_together_keep_the_rate_of_a_provider() {
    let space = Space::with(&[("REPLICATE_RATE_LIMIT", "1")]).await;
    let _intake = space.start(&["intake"]);
    let _workers = [space.start(&["worker"]), space.start(&["worker"])];
    let requests: Vec<_> = (0..12).map(|_| image("limited")).collect();

    for request in &requests {
        space.send(request).await;
    }

    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }
    let ids = requests.iter().map(|request| request.id.to_string());
    let times = taken(&space, ids).await;
    // One per second over both workers takes eleven seconds; one per second by each worker would take six.
    let spread = times.last().unwrap() - times.first().unwrap();
    assert!(spread >= 8_000, "{times:?}");
}

#[tokio::test]
async fn items_of_a_batch_keep_it_and_other_providers_are_not_held_up() {
    let space = Space::with(&[("REPLICATE_RATE_LIMIT", "0.5")]).await;
    let _all = space.start(&["all"]);
    let mut crowd = batch("limited", &vec![json!({}); 5]);
    crate::batch::spec(&mut crowd).max_concurrent = 5;
    let free = at(FAL, image("free"));

    space.send(&crowd).await;
    space.send(&free).await;

    space.story(free.id.as_str()).await;
    space.story(crowd.id.as_str()).await;
    let times = taken(&space, ids(&crowd)).await;
    let spread = times.last().unwrap() - times.first().unwrap();
    assert!(spread >= 5_000, "{times:?}");
    let free = taken(&space, [free.id.to_string()]).await;
    assert!(
        free[0] < *times.last().unwrap(),
        "the other provider's job did not wait"
    );
}

#[tokio::test]
async fn a_worker_that_knows_of_no_limit_serves_those_that_were_started_with_one_and_replays() {
    let space = Space::new().await;
    let _intake = space.start_with(&["intake"], &[("REPLICATE_RATE_LIMIT", "5")]);
    let _worker = space.start(&["worker"]);
    let request = image("limited");

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    let client = space.client().await;
    crate::replay::check(&client, "limited", request.id.as_str()).await;
}
