//! The operators' targets: failures on their way to them, and the messages that tell of those.
//!
//! A failure is signalled to the workflow of each target (`digest.v1`) before its record is done, so no crash loses it.
//! Signals leave one after the other, each with all that came meanwhile: many failures are few signals.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turns, oneshot};
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use super::digest::Failed;
use super::handover::Handover;
use super::plan::{Notification, Target};
use super::receipt::{Channel, Receipt};
use super::tried::Tried;
use super::{Deliverer, slack};
use crate::clock::millis;
use crate::config;
use crate::domain::Event;
use crate::kafka::consumer::{Cause, Failure};
use crate::telemetry::events::OpsTold;
use crate::temporal::digests::{Addressee, Tell, Told};

/// Takes failures in.
pub(super) struct Desk {
    queues: Vec<Queue>,
    handover: Arc<Handover>,
    every: Duration,
}

/// Failures that wait for the signal to one target.
struct Queue {
    to: Addressee,
    waiting: Mutex<Vec<Waiting>>,
    turn: Turns<()>,
}

struct Waiting {
    failed: Failed,
    /// Hears whether the signal was taken; its text is the error.
    told: oneshot::Sender<Result<(), Arc<str>>>,
}

/// How long one signal may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);
/// How many failures one signal carries: well below what the server takes.
const MOST: usize = 500;

/// Returns the operators' targets as the settings name them.
pub(super) fn targets(config: &config::Notifier) -> Vec<Notification> {
    let slack = config.ops_slack.as_ref();
    let slack: Option<Url> = slack.and_then(|text| text.expose().parse().ok());
    let slack = slack.map(Target::Slack);
    let email = config.ops_email.as_ref();
    let email = email.map(|text| Target::Email(text.expose().to_owned()));
    let all = slack.into_iter().chain(email);
    all.map(Notification::new).collect()
}

/// Returns the id under which it is remembered that a failure was taken.
pub(super) fn id(event: &Event) -> Uuid {
    Receipt::id(&event.event_id, Channel::Unknown, "operators")
}

impl Desk {
    /// Makes no call.
    pub(super) fn new(config: &config::Notifier, handover: Arc<Handover>) -> Self {
        let queues = targets(config).into_iter().map(|target| Queue {
            to: Addressee {
                channel: target.channel(),
                target_hash: target.hash,
            },
            waiting: Mutex::default(),
            turn: Turns::default(),
        });
        Self {
            queues: queues.collect(),
            handover,
            every: config.ops_every,
        }
    }

    /// Returns when each target's workflow has the failure, if `event` is one.
    pub(super) async fn note(&self, event: &Event) -> Result<(), Failure> {
        let Some(failed) = Failed::of(event) else {
            return Ok(());
        };
        let noting = self
            .queues
            .iter()
            .map(|queue| self.give(queue, failed.clone()));
        let noted = futures::future::join_all(noting).await;
        noted.into_iter().collect()
    }

    async fn give(&self, queue: &Queue, failed: Failed) -> Result<(), Failure> {
        let (told, hears) = oneshot::channel();
        queue.waiting().push(Waiting { failed, told });
        {
            let _turn = queue.turn.lock().await;
            let (failed, told): (Vec<_>, Vec<_>) = queue
                .take()
                .into_iter()
                .map(|waiting| (waiting.failed, waiting.told))
                .unzip();
            // Empty: the one before took ours along.
            if !failed.is_empty() {
                let signalled = self.signal(queue.to.clone(), failed).await;
                for told in told {
                    // Nobody hears any more whose record was given back.
                    told.send(signalled.clone()).ok();
                }
            }
        }
        match hears.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Retry(
                // The notifications of others need no Temporal.
                Cause::HandoverUnavailable,
                error.to_string().into(),
            )),
            Err(dropped) => Err(Failure::Retry(Cause::Interrupted, dropped.into())),
        }
    }

    async fn signal(&self, to: Addressee, failed: Vec<Failed>) -> Result<(), Arc<str>> {
        let signalling = async {
            let temporal = self.handover.temporal().await?;
            temporal.gather(to, millis(self.every), failed).await
        };
        match timeout(LIMIT, signalling).await {
            Ok(signalled) => signalled.map_err(|error| error.to_string().into()),
            Err(_) => Err("the Temporal server did not take a failure in time".into()),
        }
    }
}

impl Queue {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let many = waiting.len().min(MOST);
        waiting.drain(..many).collect()
    }
}

impl Deliverer {
    /// Tells a target of the operators of what was gathered for it, once.
    pub async fn tell(&self, input: Tell) -> Told {
        let Tell { to, gathered } = input;
        let meant = |target: &&Notification| {
            target.channel() == to.channel && target.hash == to.target_hash
        };
        let tried = match self.ops.iter().find(meant).map(|target| &target.target) {
            Some(Target::Slack(url)) => {
                let message = slack::digest(&gathered);
                self.channels.slack.post(message, url).await
            }
            Some(Target::Email(to)) => match &self.channels.mails {
                Some(mails) => Ok(mails.tell(&gathered, to, self.try_timeout).await),
                // The settings see to it that there is a mail server.
                None => return Told::Ended,
            },
            // The settings name it no more.
            Some(Target::Webhook(_)) | None => return Told::Ended,
        };
        let (told, outcome, error) = match tried {
            Ok(Tried::Delivered(_)) => (Told::Ended, "delivered", None),
            Ok(Tried::Refused { error, .. }) => (Told::Ended, "lost", Some(error)),
            Ok(Tried::Later {
                error, again_in, ..
            }) => {
                let pause_ms = again_in.map(millis);
                (Told::Later { pause_ms }, "later", Some(error))
            }
            Err(held) => {
                let pause_ms = Some(millis(held.0));
                return Told::Later { pause_ms };
            }
        };
        let error = error.as_ref();
        OpsTold {
            channel: to.channel.as_str(),
            failures: gathered.total,
            outcome,
            error: error.map(|error| error as &(dyn std::error::Error + 'static)),
        }
        .emit();
        told
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
