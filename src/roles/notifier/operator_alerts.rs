//! Failure digests for operators: signals failures to the digest workflows, and sends their messages.
//!
//! A failure is signalled to the workflow of each target (`digest.v1`) before its record is done, so no crash loses
//! it. Signals are sent one at a time, each with all failures that arrived meanwhile: many failures need few signals.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Mutex as Turns, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::handover::Handover;
use super::plan::{Notification, Target};
use super::{Deliverer, slack};
use crate::contract::digest::Failed;
use crate::contract::digest::{Addressee, DigestSent, Tell};
use crate::contract::receipt::{Channel, DeliveryError, Receipt};
use crate::domain::Event;
use crate::domain::time::millis;
use crate::engines::config;
use crate::engines::kafka::consumer::{Cause, Failure};
use crate::engines::telemetry::events;
use crate::roles::notifier::attempt::{NotNow, Tried};

/// Signals failures to the workflow of each of the operators' targets.
pub(super) struct AlertQueue {
    queues: Vec<Queue>,
    handover: Arc<Handover>,
    every: Duration,
}

/// Failures that wait for the next signal to one target's workflow.
struct Queue {
    to: Addressee,
    waiting: Mutex<Vec<Waiting>>,
    turn: Turns<()>,
}

struct Waiting {
    failed: Failed,
    /// Receives the result of the signal; the error is a text.
    told: oneshot::Sender<Result<(), Arc<str>>>,
}

/// How long one signal may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);
/// Most failures in one signal: well below the server's limit.
const MOST: usize = 500;
/// How many times in a row a message may reach a notifier whose settings do not name its target, before the
/// message is lost. With the pauses of its workflow that takes some 50 minutes: enough to restart all notifiers
/// with new settings.
const STRANGERS: u32 = 12;

/// Returns the operators' targets from the settings.
pub(super) fn targets(config: &config::Notifier) -> Vec<Notification> {
    let slack = config.ops_slack.as_ref();
    let slack = slack.map(|url| Target::Slack(url.expose().clone()));
    let email = config.ops_email.as_ref();
    let email = email.map(|text| Target::Email(text.expose().to_owned()));
    let all = slack.into_iter().chain(email);
    all.map(Notification::new).collect()
}

/// Returns the id under which a failure is remembered as signalled.
pub(super) fn id(event: &Event) -> Uuid {
    Receipt::id(&event.event_id, Channel::Unknown, "operators")
}

impl AlertQueue {
    /// Creates the desk; makes no network call.
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

    /// Waits until the workflow of each target has the failure, if `event` reports one.
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
            // Empty if the signal before included our failure.
            if !failed.is_empty() {
                let signalled = self.signal(queue.to.clone(), failed).await;
                for told in told {
                    // The receiver is gone if its record was given back.
                    told.send(signalled.clone()).ok();
                }
            }
        }
        match hears.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Retry(
                // Other records' notifications do not need Temporal.
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
            Err(_) => Err("Temporal did not accept the signal of a failure in time".into()),
        }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock()
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let many = waiting.len().min(MOST);
        waiting.drain(..many).collect()
    }
}

impl Deliverer {
    /// Makes one attempt to send a digest to one of the operators' targets.
    pub async fn send_digest(&self, input: Tell) -> DigestSent {
        let Tell {
            to,
            gathered,
            unknown,
        } = input;
        let meant = |target: &&Notification| {
            target.channel() == to.channel && target.hash == to.target_hash
        };
        let target = self.ops.iter().find(meant).map(|target| &target.target);
        let tried = match (target, &self.channels.mails) {
            (Some(Target::Slack(url)), _) => {
                let message = slack::digest(&gathered);
                Some(self.channels.slack.post(message, url).await)
            }
            (Some(Target::Email(to)), Some(mails)) => {
                Some(Ok(mails.send_digest(&gathered, to, self.try_timeout).await))
            }
            (Some(Target::Email(_)), None) | (Some(Target::Webhook(_)) | None, _) => None,
        };
        let (told, outcome, error) = match tried {
            Some(Ok(Tried::Delivered(_))) => (DigestSent::Ended, "delivered", None),
            Some(Ok(Tried::Refused { error, .. })) => (DigestSent::Ended, "lost", Some(error)),
            Some(Ok(Tried::Later {
                error, again_in, ..
            })) => (later(again_in), "later", Some(error)),
            Some(Err(NotNow(pause))) => return later(Some(pause)),
            None => strange(unknown),
        };
        let error = error.as_ref();
        events::operators_notified(
            to.channel.as_str(),
            gathered.total,
            outcome,
            error.map(|error| error as &(dyn std::error::Error + 'static)),
        );
        told
    }
}

fn later(again_in: Option<Duration>) -> DigestSent {
    DigestSent::Later {
        pause_ms: again_in.map(millis),
        unknown: false,
    }
}

/// Returns the result for a message whose target is not in this notifier's settings; `unknown` counts the times
/// in a row before.
fn strange(unknown: u32) -> (DigestSent, &'static str, Option<DeliveryError>) {
    let why = "the settings of this notifier do not name the target";
    let error = Some(DeliveryError::new("target_gone", why));
    if unknown.saturating_add(1) >= STRANGERS {
        return (DigestSent::Ended, "lost", error);
    }
    let told = DigestSent::Later {
        pause_ms: None,
        unknown: true,
    };
    (told, "later", error)
}

impl std::fmt::Debug for AlertQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::super::testing::{NO_REGISTRY, deliverer};
    use super::*;
    use crate::contract::digest::tests::gathered;

    #[tokio::test]
    async fn a_message_to_somebody_whom_no_notifier_knows_is_lost_in_the_end_and_that_is_told() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _counted = metrics::set_default_local_recorder(&recorder);
        let other = deliverer(NO_REGISTRY, &[]);
        let tell = |channel, unknown| Tell {
            to: Addressee {
                channel,
                target_hash: "19f1352238b91533".to_owned(),
            },
            gathered: gathered(3),
            unknown,
        };
        let later = DigestSent::Later {
            pause_ms: None,
            unknown: true,
        };

        for channel in [Channel::Slack, Channel::Email] {
            for unknown in 0..STRANGERS - 1 {
                assert_eq!(other.send_digest(tell(channel, unknown)).await, later);
            }
            assert_eq!(
                other.send_digest(tell(channel, STRANGERS - 1)).await,
                DigestSent::Ended
            );
        }

        let page = recorder.handle().render();
        for (channel, outcome, count) in [("SLACK", "later", 11), ("EMAIL", "lost", 1)] {
            let line = format!(
                "genflow_ops_messages_total{{channel=\"{channel}\",outcome=\"{outcome}\"}} {count}"
            );
            assert!(page.contains(&line), "{line} is not in\n{page}");
        }
    }
}
