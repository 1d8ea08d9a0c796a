//! The stream of changes that keeps a page up to date: server-sent events.
//!
//! `request` has changed rows, at most four times a second; `receipts` the ids of requests with new notifications; `stats` the
//! numbers of the strip, at most once a second. `reset` asks the page to read anew, because it was too far behind.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream::unfold;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::api::{RowJson, numbers};
use super::known::Change;

/// Changes are collected for this long, so that a burst is one message.
const COLLECT: Duration = Duration::from_millis(250);
/// The numbers are computed at most this often.
const NUMBERS: Duration = Duration::from_secs(1);
/// More changed rows than this make a page read anew.
const MOST_ROWS: usize = 200;
/// Numbers move without any change too, because the last hour passes.
const QUIET: Duration = Duration::from_secs(15);

struct Reader {
    shared: Shared,
    changes: Receiver<Change>,
    /// What is sent before new changes are awaited.
    waiting: Vec<Event>,
    numbers_at: Instant,
    stale: bool,
}

pub(super) async fn changes(
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let reader = Reader {
        changes: shared.known.changes(),
        shared,
        waiting: vec![Event::default().event("reset").data("{}")],
        numbers_at: Instant::now(),
        stale: true,
    };
    let events = unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

impl Reader {
    /// Waits for the next message; `None` when the console ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            let numbers_due = match self.stale {
                true => self.numbers_at,
                false => self.numbers_at + QUIET,
            };
            tokio::select! {
                change = self.changes.recv() => self.collect(change).await?,
                () = sleep_until(numbers_due) => {
                    let numbers = numbers(&self.shared.known.memory(), self.shared.known.since());
                    self.waiting.push(Event::default().event("stats").data(numbers.to_string()));
                    self.numbers_at = Instant::now() + NUMBERS;
                    self.stale = false;
                }
            }
        }
    }

    /// Collects the changes that follow one; returns `None` when the console ends.
    async fn collect(&mut self, first: Result<Change, RecvError>) -> Option<()> {
        self.stale = true;
        let (mut requests, mut receipts, mut lost) = (BTreeSet::new(), BTreeSet::new(), false);
        let mut next = Some(first);
        let end = sleep(COLLECT);
        tokio::pin!(end);
        loop {
            match next.take() {
                Some(Ok(Change::Request(id))) => {
                    lost |= requests.insert(id) && requests.len() > MOST_ROWS
                }
                Some(Ok(Change::Receipt(id))) => {
                    lost |= receipts.insert(id) && receipts.len() > MOST_ROWS
                }
                Some(Err(RecvError::Lagged(_))) => lost = true,
                Some(Err(RecvError::Closed)) => return None,
                None => {}
            }
            tokio::select! {
                () = &mut end => break,
                change = self.changes.recv() => next = Some(change),
            }
        }
        if lost {
            self.waiting
                .push(Event::default().event("reset").data("{}"));
            return Some(());
        }
        if !receipts.is_empty() {
            let data = json!({ "ids": receipts }).to_string();
            self.waiting
                .push(Event::default().event("receipts").data(data));
        }
        if !requests.is_empty() {
            let memory = self.shared.known.memory();
            let rows: Vec<_> = requests
                .iter()
                .filter_map(|id| memory.requests.get(id))
                .map(RowJson::of)
                .collect();
            let data = json!({ "items": rows }).to_string();
            self.waiting
                .push(Event::default().event("request").data(data));
        }
        Some(())
    }
}
