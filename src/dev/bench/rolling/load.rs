//! The load: sends requests at a steady pace, each with a webhook, and records when each reached which stage.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::events::Events;
use super::super::requests::scripted;
use super::super::stage::Stage;
use crate::domain::{EventType, Targets};

/// Pause between two requests.
const PACE: Duration = Duration::from_millis(150);
/// How long the jobs run: the submit waits for the short one, and `fetch` polls the long one.
const JOBS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(6)];

/// When the webhook of each request arrived.
type Arrivals = Arc<Mutex<BTreeMap<String, Instant>>>;

pub(super) struct Load<'a> {
    stage: &'a Stage,
    events: Events,
    arrivals: Arrivals,
    webhook: String,
    /// Number of requests sent.
    sent: Cell<usize>,
    _serving: JoinSet<std::io::Result<()>>,
}

/// When one request reached each stage.
struct Way {
    job: Duration,
    sent: Instant,
    started: Option<Instant>,
    completed: Option<Instant>,
}

/// The longest times of the requests of one phase, in seconds.
#[derive(Default)]
pub(super) struct Longest {
    /// From sending the request to STARTED.
    intake: f64,
    /// From STARTED to COMPLETED, beyond the time of the job itself.
    worker: f64,
    /// From COMPLETED to the webhook.
    notifier: f64,
}

impl Longest {
    /// Returns the time that grows while this role pauses.
    pub(super) fn of(&self, role: &str) -> f64 {
        match role {
            "intake" => self.intake,
            "worker" => self.worker,
            _ => self.notifier,
        }
    }
}

impl<'a> Load<'a> {
    pub(super) async fn open(stage: &'a Stage) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let webhook = format!("http://{}/hook", listener.local_addr()?);
        let arrivals = Arrivals::default();
        let routes = Router::new().route("/hook/{request}", post(receive));
        let routes = routes.with_state(arrivals.clone());
        let mut serving = JoinSet::new();
        serving.spawn(axum::serve(listener, routes).into_future());
        Ok(Self {
            stage,
            events: stage.events().await?,
            arrivals,
            webhook,
            sent: Cell::new(0),
            _serving: serving,
        })
    }

    /// Sends requests until `action` ends, waits until all of them have ended, and returns their longest times.
    pub(super) async fn during(
        &self,
        action: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Longest> {
        let ways = RefCell::new(BTreeMap::new());
        let done = Cell::new(false);
        let acting = async {
            action.await?;
            done.set(true);
            Ok(())
        };
        let ending = async {
            tokio::try_join!(acting, self.send(&ways, &done))?;
            while !self.has_all(&ways.borrow()) {
                sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = ending => ended?,
            failed = self.follow(&ways) => match failed? {},
        }
        Ok(self.longest(&ways.into_inner()))
    }

    /// Returns whether all requests have completed, and their webhooks have arrived.
    fn has_all(&self, ways: &BTreeMap<String, Way>) -> bool {
        let arrivals = self.arrivals.lock();
        ways.iter()
            .all(|(id, way)| way.completed.is_some() && arrivals.contains_key(id))
    }

    async fn send(
        &self,
        ways: &RefCell<BTreeMap<String, Way>>,
        done: &Cell<bool>,
    ) -> anyhow::Result<()> {
        while !done.get() {
            let number = self.sent.replace(self.sent.get() + 1);
            let (id, job) = (self.stage.id(number), JOBS[number % JOBS.len()]);
            let mut request = scripted(&id, &json!({"seconds": job.as_secs_f64()}))?;
            let target = format!("{}/{id}", self.webhook);
            request.targets = Targets::parse(Some(&target), None, None)?;
            let way = Way {
                job,
                sent: Instant::now(),
                started: None,
                completed: None,
            };
            ways.borrow_mut().insert(id, way);
            self.stage.send(&request).await?;
            sleep(PACE).await;
        }
        Ok(())
    }

    /// Reads events until it is dropped; fails if a request does not end as COMPLETED.
    async fn follow(&self, ways: &RefCell<BTreeMap<String, Way>>) -> anyhow::Result<Infallible> {
        loop {
            let event = self.events.next().await?;
            let mut ways = ways.borrow_mut();
            let Some(way) = ways.get_mut(&event.request_id) else {
                continue;
            };
            let now = Instant::now();
            let kind = event.event_type;
            if kind == EventType::Started {
                way.started = way.started.or(Some(now));
            } else if kind == EventType::Completed {
                way.completed = way.completed.or(Some(now));
            } else if kind.is_terminal() {
                bail!("{} ended as {kind:?}: {:?}", event.request_id, event.error);
            }
        }
    }

    fn longest(&self, ways: &BTreeMap<String, Way>) -> Longest {
        let arrivals = self.arrivals.lock();
        let mut longest = Longest::default();
        for (id, way) in ways {
            let (Some(started), Some(completed)) = (way.started, way.completed) else {
                continue;
            };
            let between = |from: Instant, to: Instant| to.saturating_duration_since(from);
            let beyond_job = between(started, completed).saturating_sub(way.job);
            let notified = arrivals.get(id).map(|at| between(completed, *at));
            for (one, time) in [
                (&mut longest.intake, between(way.sent, started)),
                (&mut longest.worker, beyond_job),
                (&mut longest.notifier, notified.unwrap_or_default()),
            ] {
                *one = one.max(time.as_secs_f64());
            }
        }
        longest
    }
}

async fn receive(State(arrivals): State<Arrivals>, Path(request): Path<String>) -> StatusCode {
    arrivals.lock().entry(request).or_insert_with(Instant::now);
    StatusCode::NO_CONTENT
}
