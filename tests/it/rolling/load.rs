//! The load during a rolling restart, and what has to become of it: images, videos that take seconds, and batches, each
//! with a webhook.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use genflow::domain::{ErrorCode, Event, EventType, Request, Spec, Targets};
use serde_json::json;
use tokio::time::sleep;

use super::fleet::End;
use crate::batch::{batch, spec};
use crate::support::described::Described as _;
use crate::support::ledger::check;
use crate::support::reader::decode;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::requests::{image, script, video};
use crate::support::{Space, eventually};

/// Pause between two rounds of requests.
const PACE: Duration = Duration::from_millis(700);
/// Rounds that are sent before the next step.
const ROUNDS: usize = 3;

/// Makes a request of that name.
type Maker = fn(&str) -> Request;

/// Requests that are sent until the load ends.
pub(super) struct Load<'a> {
    space: &'a Space,
    pub(super) receiver: Receiver,
    /// Adds requests to each round, such as for a provider that was added.
    further: RefCell<Vec<Maker>>,
    sent: RefCell<Vec<Request>>,
    rounds: Cell<usize>,
    done: Cell<bool>,
}

/// What happened more than once under one id, which only the death of a process explains.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    pub(super) outcomes: usize,
    pub(super) webhooks: usize,
}

impl<'a> Load<'a> {
    pub(super) async fn begin(space: &'a Space) -> Self {
        Self {
            space,
            receiver: Receiver::start(&[]).await,
            further: RefCell::default(),
            sent: RefCell::default(),
            rounds: Cell::new(0),
            done: Cell::new(false),
        }
    }

    /// Sends requests until [`Self::end`].
    pub(super) async fn send(&self) {
        while !self.done.get() {
            for request in self.round() {
                self.space.send(&request).await;
                self.sent.borrow_mut().push(request);
            }
            self.rounds.set(self.rounds.get() + 1);
            sleep(PACE).await;
        }
    }

    fn round(&self) -> Vec<Request> {
        let mut requests = vec![image("rolling")];
        match self.rounds.get() % 4 {
            0 => requests.push(script(video("rolling"), &json!({"seconds": 3.0}))),
            2 => requests.push(batch("rolling", &vec![json!({"seconds": 0.5}); 3])),
            _ => {}
        }
        requests.extend(self.further.borrow().iter().map(|make| make("further")));
        let at = |id: &str| self.receiver.at(id);
        for request in &mut requests {
            request.targets = Targets::parse(Some(&at(request.id.as_str())), None, None).unwrap();
            request.notify_on.push(EventType::Started);
            if matches!(request.spec, Spec::Batch(_)) {
                for item in &mut spec(request).items {
                    item.webhook_url = Some(at(item.request_id.as_str()).parse().unwrap());
                }
            }
        }
        requests
    }

    /// Adds a request to each round from now on.
    pub(super) fn add(&self, make: fn(&str) -> Request) {
        self.further.borrow_mut().push(make);
    }

    /// Waits until some more rounds have been sent.
    pub(super) async fn goes_on(&self) {
        let reached = self.rounds.get() + ROUNDS;
        eventually("more requests are sent", async || {
            (self.rounds.get() >= reached).then_some(())
        })
        .await;
    }

    pub(super) fn end(&self) {
        self.done.set(true);
    }

    /// Returns the ids of the requests sent until now, and of their items.
    pub(super) fn ids(&self) -> Vec<String> {
        let sent = self.sent.borrow();
        let all = sent.iter().flat_map(|request| {
            let items = match &request.spec {
                Spec::Batch(batch) => batch.items.as_slice(),
                Spec::Single(_) => &[],
            };
            let items = items.iter().map(|item| &item.request_id);
            items.chain([&request.id]).map(ToString::to_string)
        });
        all.collect()
    }

    /// Returns whether `id` is that of a batch, which has no job of its own.
    fn is_batch(&self, id: &str) -> bool {
        let sent = self.sent.borrow();
        let mut batches = sent.iter().filter(|it| matches!(it.spec, Spec::Batch(_)));
        batches.any(|request| request.id.as_str() == id)
    }

    /// Waits until these requests have ended and their webhooks have arrived; checks both, and returns all events.
    pub(super) async fn outcomes(&self, ids: &[String]) -> BTreeMap<String, Vec<Event>> {
        let mut open: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        let mut reader = self.space.events().await;
        while !open.is_empty() {
            let (event, _) = reader.event().await;
            if event.event_type.is_terminal() {
                open.remove(event.request_id.as_str());
            }
        }
        let temporal = self.space.temporal().await;
        for id in ids {
            let run = genflow::domain::RequestId::try_from(id.clone())
                .unwrap()
                .run(0);
            eventually("the workflow closes", async || {
                temporal.is_closed(&run).await.then_some(())
            })
            .await;
        }
        let events = self.events().await;
        for id in ids {
            check(&events[id]);
            let wanted = notified(&events[id]);
            eventually(&format!("the webhooks of {id} arrive"), async || {
                let came = self.came(id);
                let came: BTreeSet<_> = came.iter().map(|one| one.header("webhook-id")).collect();
                wanted.is_subset(&came).then_some(())
            })
            .await;
        }
        events
    }

    async fn events(&self) -> BTreeMap<String, Vec<Event>> {
        let mut all: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for record in self.space.events().await.all().await {
            let event = decode(&self.space.registry, &record).await;
            all.entry(event.request_id.clone()).or_default().push(event);
        }
        all
    }

    fn came(&self, id: &str) -> Vec<Delivery> {
        let got = self.receiver.got().into_iter();
        got.filter(|one| one.to == id).collect()
    }

    /// Waits for the end of everything; asserts that each request has one job, one outcome, and the webhooks of its events.
    pub(super) async fn ended(&self, end: End) -> Repeats {
        let ids = self.ids();
        let events = self.outcomes(&ids).await;
        for (role, topic) in [
            ("notifier", &self.space.config.kafka.topics.events),
            ("intake", &self.space.config.kafka.topics.requests),
        ] {
            self.space.caught_up(role, topic).await;
        }
        assert_eq!(self.space.dead_letters().await.len(), 0);
        let mut repeats = Repeats::default();
        for id in &ids {
            let events = &events[id];
            self.check_bill(id, events, end).await;
            let ends = events.iter().filter(|event| event.event_type.is_terminal());
            repeats.outcomes += ends.count() - 1;
            let (came, wanted) = (self.came(id), notified(events));
            let told: BTreeSet<_> = came.iter().map(|one| one.header("webhook-id")).collect();
            assert_eq!(told, wanted, "webhooks of {id}");
            repeats.webhooks += came.len() - told.len();
        }
        eprintln!("{} requests and items; {repeats:?}", ids.len());
        repeats
    }

    /// Asserts that a request was submitted once. A killed worker may die between the fence and the send; then the run
    /// ends as ambiguous, and nothing more is sent.
    async fn check_bill(&self, id: &str, events: &[Event], end: End) {
        let bill = self.space.bill(id).await;
        let ending = events.iter().find(|event| event.event_type.is_terminal());
        let ending = ending.unwrap();
        let code = ending.error.as_ref().map(|error| error.code);
        let paid = match (self.is_batch(id), ending.event_type, code) {
            (true, EventType::Completed, None) => 0..=0,
            (true, _, _) if end == End::Killed => 0..=0,
            (false, EventType::Completed, None) => 1..=1,
            (false, EventType::Failed, Some(ErrorCode::SubmitAmbiguous)) if end == End::Killed => {
                0..=1
            }
            (_, ending, code) => panic!("{id} ended as {ending:?}: {code:?}"),
        };
        assert!(paid.contains(&bill.accepted), "{id}: {}", bill.accepted);
        assert!(bill.submits <= 1, "{id} was sent {} times", bill.submits);
    }
}

/// Returns the ids of the events that a webhook is due for. Items have the types of events that their batch names.
fn notified(events: &[Event]) -> BTreeSet<&str> {
    let due = events
        .iter()
        .filter(|event| event.event_type == EventType::Started || event.event_type.is_terminal());
    due.map(|event| event.event_id.as_str()).collect()
}
