//! The events of many requests at once: the topic is read once for all of them.

use std::collections::{BTreeMap, BTreeSet};

use genflow::domain::{Event, Request};

use super::described::Described as _;
use super::eventually;
use super::ledger::check;
use super::reader::decode;
use super::space::Space;

/// Waits until the runs of all `requests` have closed, checks their events against rule 11, and returns them.
pub(crate) async fn stories(space: &Space, requests: &[&Request]) -> Vec<Vec<Event>> {
    let mut open: BTreeSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
    let mut reader = space.events().await;
    while !open.is_empty() {
        let (event, _) = reader.event().await;
        if event.event_type.is_terminal() {
            open.remove(event.request_id.as_str());
        }
    }
    let temporal = space.temporal().await;
    for request in requests {
        let run = request.id.run(0);
        eventually("the workflow closes", async || {
            temporal.is_closed(&run).await.then_some(())
        })
        .await;
    }
    let all = published_events(space, requests).await;
    for events in &all {
        check(events);
    }
    all
}

/// Returns the events of each request that are on the topic now, including repeats.
pub(crate) async fn published_events(space: &Space, requests: &[&Request]) -> Vec<Vec<Event>> {
    let mut all: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for record in space.events().await.all().await {
        let event = decode(&space.registry, &record).await;
        all.entry(event.request_id.clone()).or_default().push(event);
    }
    requests
        .iter()
        .map(|request| all.remove(request.id.as_str()).unwrap_or_default())
        .collect()
}
