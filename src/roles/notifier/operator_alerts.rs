//! Failure digests for operators: signals each failed request to the workflow of each target (`digest.v1`), and sends
//! the messages of these workflows.
//!
//! A failure is signalled before its record is done, so no crash loses it. A repeated record may report it again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::timeout;

use super::attempt::{NotNow, Tried};
use super::channels::Channels;
use super::digest_text::DigestText;
use super::handover::Handover;
use super::plan::{Notification, Target};
use super::recent::{Known, Recent};
use crate::contract::digest::{FailedRequest, OperatorTarget, SendDigest};
use crate::contract::receipt::{DeliveryError, Receipt};
use crate::domain::Event;
use crate::engines::config;
use crate::engines::kafka::consumer::{Cause, Failure};
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::{Aborted, failure, heartbeating, until_stop};

/// Signals failures to the workflow of each of the operators' targets.
pub(super) struct OperatorAlerts {
    targets: Vec<Notification>,
    handover: Arc<Handover>,
}

/// How long one signal may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);
/// A message is lost after this many attempts in a row by notifiers whose settings do not name its target. With the
/// pauses of Temporal that takes some 50 minutes: enough to restart all notifiers with new settings.
const ATTEMPTS_WITHOUT_TARGET: u32 = 55;
/// The longest pause that a target may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Returns the operators' targets from the settings.
pub(super) fn targets(config: &config::Notifier) -> Vec<Notification> {
    let slack = config.ops_slack.as_ref();
    let slack = slack.map(|url| Target::Slack(url.expose().clone()));
    let email = config.ops_email.as_ref();
    let email = email.map(|text| Target::Email(text.expose().to_owned()));
    let all = slack.into_iter().chain(email);
    all.map(Notification::new).collect()
}

impl OperatorAlerts {
    /// Makes no network call.
    pub(super) fn new(config: &config::Notifier, handover: Arc<Handover>) -> Self {
        Self {
            targets: targets(config),
            handover,
        }
    }

    /// Waits until the workflow of each target has the failure, if `event` reports one. `memory` keeps a record that is
    /// handled again from reporting it again.
    ///
    /// # Errors
    /// The first one, after all targets were signalled.
    pub(super) async fn report(&self, event: &Event, memory: &Recent) -> Result<(), Failure> {
        let Some(failed) = FailedRequest::of(event) else {
            return Ok(());
        };
        let signalling = self.targets.iter().map(async |target| {
            let id = Receipt::id(&event.event_id, target.channel(), "operators");
            if memory.recall(id).is_none() {
                self.signal(target, failed.clone()).await?;
                memory.note(id, Known::Done);
            }
            Ok(())
        });
        join_all(signalling).await.into_iter().collect()
    }

    async fn signal(&self, target: &Notification, failed: FailedRequest) -> Result<(), Failure> {
        let to = OperatorTarget {
            channel: target.channel(),
            target_hash: target.hash.clone(),
        };
        let signalling = async {
            let temporal = self.handover.temporal().await?;
            temporal.report_failure(to, failed).await
        };
        let error = match timeout(LIMIT, signalling).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.into(),
            Err(_) => "Temporal did not accept the signal of a failure in time".into(),
        };
        // Notifications of other records do not need Temporal.
        Err(Failure::Retry(Cause::HandoverUnavailable, error))
    }
}

/// Makes one attempt to send a digest to the one of `targets` that it names. Returns `Ok` when the message ended: it was
/// accepted, or never will be. The heartbeat gives the next attempt the number of attempts in a row that found no such
/// target.
pub(super) async fn send(
    ctx: &ActivityContext,
    channels: &Channels,
    targets: &[Notification],
    message: SendDigest,
) -> Result<(), ActivityError> {
    let SendDigest { to, failures } = message;
    let is_meant =
        |target: &&Notification| target.channel() == to.channel && target.hash == to.target_hash;
    let target = targets.iter().find(is_meant);
    let earlier = ctx.heartbeat_details().deserialize().ok().flatten();
    let unknown = unknown_in_a_row(target, earlier);
    let sending = async {
        let text = DigestText::of(&failures);
        let tried = match target {
            Some(target) => channels.send_digest(&text, &target.target).await,
            None => Ok(without_target(unknown)),
        };
        ended(&to, failures.total, tried)
    };
    // Boxed, because it is large: it holds a whole mail.
    let sending = until_stop(ctx, Box::pin(sending));
    let sent = heartbeating(ctx, || unknown, sending).await?;
    if sent.is_err() {
        // Reaches Temporal together with the failure.
        ctx.record_heartbeat(unknown).await?;
    }
    sent.map_err(failure)
}

/// Returns how many attempts in a row, including this one, found that the settings do not name the target. `earlier` is
/// the count of the attempt before.
fn unknown_in_a_row(target: Option<&Notification>, earlier: Option<u32>) -> u32 {
    match target {
        Some(_) => 0,
        None => earlier.unwrap_or(0).saturating_add(1),
    }
}

/// Reports the result of an attempt to telemetry, and decides whether another one follows.
fn ended(to: &OperatorTarget, total: u64, tried: Result<Tried, NotNow>) -> Result<(), Aborted> {
    let (outcome, error, ended) = match tried {
        Ok(Tried::Delivered(_)) => ("delivered", None, Ok(())),
        Ok(Tried::Refused { error, .. }) => ("lost", Some(error), Ok(())),
        Ok(Tried::Later {
            error, again_in, ..
        }) => {
            let again = match again_in {
                Some(pause) => Aborted::Waits(pause.min(LONGEST_ASKED)),
                None => Aborted::Again(error.clone().into()),
            };
            ("later", Some(error), Err(again))
        }
        Err(NotNow(pause)) => return Err(Aborted::Waits(pause)),
    };
    let error = error.as_ref();
    let error = error.map(|error| error as &(dyn std::error::Error + 'static));
    events::operators_notified(to.channel.as_str(), total, outcome, error);
    ended
}

/// Returns the result of an attempt whose target this notifier's settings do not name, as the `unknown`-th such attempt
/// in a row. Another notifier may know it, for example while notifiers are restarted one by one with other settings.
fn without_target(unknown: u32) -> Tried {
    let why = "the settings of this notifier do not name the target";
    let (status, error) = (None, DeliveryError::new("target_gone", why));
    if unknown >= ATTEMPTS_WITHOUT_TARGET {
        return Tried::Refused { status, error };
    }
    Tried::Later {
        status,
        error,
        again_in: None,
    }
}

#[cfg(test)]
mod tests;
