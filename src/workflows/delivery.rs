//! `delivery.v1`: takes one notification through its retry schedule to its outcome, over days if needed.
//!
//! The workflow decides only time and order. The activity decides the outcome of an attempt and the pause after it (the
//! schedule, its jitter, what the target asked for). So a changed schedule applies to deliveries that are under way,
//! and replay is exact.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{ContinueAsNewOptions, TimerResult, WorkflowContext, WorkflowResult};

use crate::contract::activities::NotificationActivities;
use crate::contract::delivery::{Conclude, Deliver, Delivered, DeliveryInput};
use crate::contract::receipt::{DeliveryError, NotificationEnd, NotificationOutcome};
use crate::workflows::support::{AGAIN, detached, done, now, readable};

/// The workflow type.
pub const NAME: &str = "delivery.v1";
/// Start-to-close time-out of an attempt, and of publishing the receipt.
const TRY: Duration = Duration::from_secs(120);
/// Most rounds before the workflow continues as new. Each adds about ten history events; one has the full event.
const MANY: u32 = 50;

#[workflow]
#[derive(Default)]
pub struct Delivery;

#[workflow_methods]
impl Delivery {
    /// Attempts the delivery until it ends, then publishes its receipt. A cancel ends it as given up.
    #[run(name = "delivery.v1")]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        mut start: DeliveryInput,
    ) -> WorkflowResult<NotificationOutcome> {
        let Some(end) = drive(ctx, &mut start).await else {
            let Err(continued) = ctx.continue_as_new(start, ContinueAsNewOptions::default());
            return Err(continued);
        };
        let outcome = end.outcome;
        let conclude = Conclude {
            parcel: start.parcel,
            end,
            tries: start.tries,
            first_try_at: start.first_try_at,
            ended_at: now(ctx),
        };
        // Detached, so that a cancel does not stop the receipt.
        let options = || detached(TRY);
        done(ctx, || NotificationActivities::conclude, conclude, options).await;
        Ok(outcome)
    }
}

type Context = WorkflowContext<Delivery>;

/// Attempts the delivery at each step of the schedule and records its progress in `start`. Returns `None` once the
/// history of this run is long: the next run continues from `start`.
async fn drive(ctx: &Context, start: &mut DeliveryInput) -> Option<NotificationEnd> {
    if let Some(why) = &start.lost {
        return Some(NotificationEnd::given_up(start.status, why.clone()));
    }
    let mut round = 0_u32;
    while !is_long(ctx, round) {
        round += 1;
        let paused = ctx.timer(Duration::from_millis(start.pause_ms)).await;
        if !matches!(paused, TimerResult::Fired) || ctx.cancellation_token().is_cancelled() {
            // Recorded histories contain this text.
            let why = DeliveryError::new("cancelled", "somebody cancelled the delivery");
            return Some(NotificationEnd::given_up(start.status, why));
        }
        let at = now(ctx);
        let input = Deliver {
            parcel: start.parcel.clone(),
            step: start.step,
            waited: start.waited,
            shut: start.shut,
        };
        let tried = ctx.execute_activity(NotificationActivities::deliver, input, detached(TRY));
        match readable(ctx, tried.await).await {
            Ok(Delivered::Ended { end, sent }) => {
                start.note(sent, at);
                return Some(end);
            }
            Ok(Delivered::Later {
                status,
                error,
                sent,
                pause_ms,
            }) => {
                start.note(sent, at);
                let Some(pause_ms) = pause_ms else {
                    return Some(NotificationEnd::given_up(status, error));
                };
                start.status = status.or(start.status);
                start.pause_ms = pause_ms;
                start.step += 1;
                (start.waited, start.shut) = (0, 0);
            }
            Ok(Delivered::Wait { pause_ms, shut }) => {
                start.pause_ms = pause_ms;
                start.waited += 1;
                start.shut += u32::from(shut);
            }
            Err(_) => start.pause_ms = AGAIN.as_millis() as u64,
        }
    }
    None
}

impl DeliveryInput {
    /// Counts an attempt that began at `at`, if the target was called.
    fn note(&mut self, sent: bool, at: i64) {
        if sent {
            self.tries = self.tries.saturating_add(1);
            self.first_try_at.get_or_insert(at);
        }
    }
}

/// Returns whether the workflow should continue as new; a cancelled delivery ends in this run.
fn is_long(ctx: &Context, round: u32) -> bool {
    let long = round >= MANY || round > 0 && ctx.continue_as_new_suggested();
    long && !ctx.cancellation_token().is_cancelled()
}
