//! Batches: the window of running items, the counts, and the possible outcomes.

mod endings;
mod outside;
mod trouble;

use std::collections::BTreeMap;

use genflow::contract::run::RunState;
use genflow::domain::{
    BatchItem, BatchSpec, BatchSummary, Event, EventType, OnFailure, Priority, Request, Single,
    Spec, Strategy, Targets, fingerprint,
};
use genflow::workflows::generation::Generation;
use serde_json::{Value, json};

use crate::storage::manifest;
use crate::support::ledger::types;
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script, single};
use crate::support::{Space, eventually, within};

use EventType::{Completed, Progress, Started};

/// Returns a batch of small images, with one item for each script.
pub(crate) fn batch(name: &str, scripts: &[Value]) -> Request {
    let mut request = image(name);
    let items = scripts.iter().enumerate().map(|(index, faults)| {
        let item = script(image(name), faults);
        BatchItem {
            request_id: format!("{}-{index}", request.id).try_into().unwrap(),
            spec: single(&item).clone(),
            webhook_url: None,
            notify_on: Vec::new(),
            metadata: BTreeMap::from([("item".to_owned(), index.to_string())]),
        }
    });
    request.spec = Spec::Batch(BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 3,
        on_failure: OnFailure::Continue,
        items: items.collect(),
    });
    request
}

pub(crate) fn spec(request: &mut Request) -> &mut BatchSpec {
    match &mut request.spec {
        Spec::Batch(batch) => batch,
        Spec::Single(_) => panic!("no batch"),
    }
}

pub(crate) fn ids(request: &Request) -> Vec<String> {
    match &request.spec {
        Spec::Batch(batch) => batch.items.iter().map(|it| it.request_id.to_string()),
        Spec::Single(_) => panic!("no batch"),
    }
    .collect()
}

/// Returns the counts of the terminal event, in the contract's order.
fn counts(events: &[Event]) -> [i32; 5] {
    let BatchSummary {
        total,
        completed,
        failed,
        cancelled,
        not_started,
    } = events.last().unwrap().batch.unwrap();
    [total, completed, failed, cancelled, not_started]
}

/// Returns the events of all items that started; checks each against rule 11.
async fn stories(space: &Space, request: &Request) -> Vec<Vec<Event>> {
    let mut stories = Vec::new();
    for id in ids(request) {
        if !space.all_events(&id).await.is_empty() {
            stories.push(space.story(&id).await);
        }
    }
    stories
}

/// Returns the most items that ran at once, from the start of their workflows to the decision of their outcomes.
fn peak(stories: &[Vec<Event>]) -> i32 {
    let begins = stories.iter().map(|story| (story[0].occurred_at, 1));
    let ends = stories
        .iter()
        .map(|story| (story.last().unwrap().occurred_at, -1));
    let mut steps: Vec<_> = begins.chain(ends).collect();
    steps.sort_unstable();
    let running = steps.iter().scan(0, |running, (_, step)| {
        *running += step;
        Some(*running)
    });
    running.max().unwrap_or(0)
}

#[tokio::test]
async fn a_batch_runs_its_items_in_parallel_and_reports_each_and_all() {
    let space = Space::with(&[("BATCH_PROGRESS_INTERVAL", "100ms")]).await;
    let receiver = Receiver::start(&[]).await;
    let _all = space.start(&["all"]);
    let mut request = batch("parallel", &vec![json!({"seconds": 0.4}); 8]);
    request.priority = Priority::High;
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    spec(&mut request).items[2].webhook_url = Some(receiver.url.parse().unwrap());

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    let types = types(&events);
    assert_eq!(
        (types.first(), types.last()),
        (Some(&Started), Some(&Completed))
    );
    assert!(types.contains(&Progress), "{types:?}");
    assert_eq!(counts(&events), [8, 8, 0, 0, 0]);
    assert!(events.iter().all(|event| event.batch_id.is_none()));
    let items = stories(&space, &request).await;
    assert_eq!(items.len(), 8);
    for (index, item) in items.iter().enumerate() {
        let of_batch = |event: &Event| event.batch_id.as_deref() == Some(request.id.as_str());
        assert!(item.iter().all(of_batch));
        assert_eq!(item.last().unwrap().event_type, Completed);
        assert_eq!(item[0].metadata["item"], index.to_string());
        assert_eq!(item[0].user_id, "ann");
    }
    assert_eq!(peak(&items), 3);
    let temporal = space.temporal().await;
    let of_batch = format!("GenBatch = '{}' AND GenUser = 'ann'", request.id);
    eventually("the items are listed", async || {
        (temporal.count(&of_batch).await.unwrap() == 8).then_some(())
    })
    .await;
    let client = space.client().await;
    let item = client.get_workflow_handle::<Generation>(ids(&request)[0].clone());
    let described = item.describe(Default::default()).await.unwrap();
    let raw = described.raw().workflow_execution_info.clone().unwrap();
    let priority = raw.priority.unwrap();
    assert_eq!(
        (priority.priority_key, priority.fairness_key.as_str()),
        (1, "ann")
    );
    let first = spec(&mut request).items[0].clone();
    let first = request.item(&first);
    let fingerprint = fingerprint(&first).unwrap();
    assert_eq!(described.static_details(), Some(&*fingerprint));
    let manifest = manifest(&space, first.id.as_str());
    assert_eq!(manifest["fingerprint"], fingerprint);
    // The batch and one item have a webhook.
    let got = receiver.wait(2).await;
    let bodies: Vec<Value> = got
        .iter()
        .map(|delivery| serde_json::from_slice(&delivery.body).unwrap())
        .collect();
    let mut whom: Vec<_> = bodies
        .iter()
        .map(|body| body["data"]["request_id"].as_str().unwrap())
        .collect();
    whom.sort_unstable();
    assert_eq!(whom, [request.id.as_str(), &ids(&request)[2]]);
}

#[tokio::test]
async fn a_sequential_batch_runs_one_item_after_the_other_in_their_order() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = batch("sequential", &vec![json!({}); 4]);
    spec(&mut request).strategy = Strategy::Sequential;

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(counts(&events), [4, 4, 0, 0, 0]);
    let items = stories(&space, &request).await;
    let times: Vec<_> = items
        .iter()
        .flat_map(|item| [item[0].occurred_at, item.last().unwrap().occurred_at])
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(peak(&items), 1);
}

#[tokio::test]
async fn a_long_batch_goes_on_in_new_runs_and_stays_one_story() {
    let settings = [("BATCH_SEGMENT", "3"), ("BATCH_PROGRESS_INTERVAL", "1ms")];
    let space = Space::with(&settings).await;
    let _all = space.start(&["all"]);
    let mut scripts = vec![json!({"seconds": 0.05}); 10];
    scripts[4] = json!({"fail": "no"});
    let request = batch("long", &scripts);

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(counts(&events), [10, 9, 1, 0, 0]);
    let runs: std::collections::BTreeSet<_> = events.iter().map(|it| it.run_id.clone()).collect();
    assert!(runs.len() >= 2, "{runs:?}");
    let items = stories(&space, &request).await;
    assert_eq!((items.len(), peak(&items)), (10, 3));

    // Also after a continue-as-new, the same record is a duplicate.
    space.send(&request).await;
    let requests = &space.config.kafka.topics.requests;
    space.caught_up("intake", requests).await;
    assert_eq!(
        space.all_events(request.id.as_str()).await.len(),
        events.len()
    );
}

#[tokio::test]
async fn items_that_are_too_large_for_one_step_together_start_in_several() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = batch("large", &vec![json!({"seconds": 0.05}); 90]);
    for item in &mut spec(&mut request).items {
        if let Single::Image(image) = &mut item.spec {
            // Each character takes six bytes in a workflow's input: five megabytes in all.
            image.common.prompt = "\u{1}".repeat(9_500);
        }
    }
    spec(&mut request).max_concurrent = 90;

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(counts(&events), [90, 90, 0, 0, 0]);
}

/// With `GENFLOW_BATCH_ITEMS=10000` this test takes long.
#[tokio::test]
async fn many_items_are_all_tried_and_counted() {
    let asked = std::env::var("GENFLOW_BATCH_ITEMS").ok();
    let count: usize = asked.map_or(45, |count| count.parse().unwrap());
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = batch("many", &vec![json!({}); count]);
    for item in &mut spec(&mut request).items {
        item.metadata.clear();
        if let Single::Image(image) = &mut item.spec {
            image.common.params.clear();
        }
    }
    // More than the 30 futures that `join_all` polls in a simple loop.
    spec(&mut request).max_concurrent = 40;

    space.send(&request).await;

    let mut reader = space.events().await;
    let limit = std::time::Duration::from_secs(120 + count as u64);
    let reading = async {
        loop {
            let (event, _) = reader.event().await;
            let own = event.request_id == request.id.as_str();
            if own && event.event_type.is_terminal() {
                return event;
            }
        }
    };
    let end = within(limit, "the batch ends", reading).await;
    let all = i32::try_from(count).unwrap();
    assert_eq!(counts(&[end]), [all, all, 0, 0, 0]);
    let events = space.story(request.id.as_str()).await;
    assert!(events.len() <= 102, "{}", events.len());
}

#[tokio::test]
async fn the_status_of_a_batch_counts_its_items() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = batch(
        "status",
        &[json!({"stuck": true}), json!({"seconds": 0.05})],
    );
    space.send(&request).await;
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));

    let status = eventually("an item is over", async || {
        let status = temporal.status(&workflow).await.unwrap()?;
        (status.percent == Some(50)).then_some(status)
    })
    .await;

    assert_eq!(
        (status.kind.as_deref(), status.state),
        (Some("BATCH"), RunState::Generating)
    );
    assert_eq!(status.batch.unwrap().completed, 1);
    space.cancel(request.id.as_str()).await;
    space.story(request.id.as_str()).await;
}

#[tokio::test]
async fn a_batch_from_a_file_is_submitted_and_watched_to_its_end() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let form = json!({"max_concurrent": 2, "items": [
        {"type": "image", "prompt": "an owl", "width": 64, "height": 64},
        {"type": "image", "prompt": "a lynx", "width": 64, "height": 64},
    ]});
    let file = space.results().with_file_name("batch.json");
    std::fs::write(&file, form.to_string()).unwrap();
    let file = file.display().to_string();

    let mut submit = space.start(&["submit", "batch", "--file", &file, "--watch"]);

    let status = submit.ended().await;
    let output = submit.output();
    assert!(status.success(), "{output}");
    assert!(
        output
            .lines()
            .filter(|line| line.contains("COMPLETED"))
            .count()
            == 3,
        "{output}"
    );
}
