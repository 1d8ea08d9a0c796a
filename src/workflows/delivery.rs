//! `delivery.v1`: takes one notification through its retry schedule to its one end, over days if needed.
//!
//! The workflow decides only time and order. The activity decides the outcome of a try and the pause after it (the
//! schedule, its jitter, what the target asked for). So a changed schedule applies to deliveries that are under way,
//! and replay is exact.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{ContinueAsNewOptions, TimerResult, WorkflowContext, WorkflowResult};

use crate::contract::activities::NotificationActivities;
use crate::contract::delivery::{Conclude, Deliver, Delivered, Delivery as Start};
use crate::contract::receipt::{DeliveryError, End, Outcome};
use crate::workflows::support::{AGAIN, detached, done, now, readable};

/// The workflow type.
pub const NAME: &str = "delivery.v1";
/// Start-to-close time-out of a try, and of publishing the receipt.
const TRY: Duration = Duration::from_secs(120);
/// Rounds until it continues as new: each adds about ten history events, with the notification's event in full.
const MANY: u32 = 50;

/// One notification.
#[workflow]
#[derive(Default)]
pub struct Delivery;

#[workflow_methods]
impl Delivery {
    /// Tries until the notification ends, then publishes its receipt. A cancel gives it up.
    #[run(name = "delivery.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, start: Start) -> WorkflowResult<Outcome> {
        let mut tally = Tally {
            tries: start.tries,
            first_try_at: start.first_try_at,
        };
        let end = match drive(ctx, &start, &mut tally).await {
            Ok(end) => end,
            Err(next) => {
                let Err(continued) = ctx.continue_as_new(*next, ContinueAsNewOptions::default());
                return Err(continued);
            }
        };
        let outcome = end.outcome;
        let conclude = Conclude {
            parcel: start.parcel,
            end,
            tries: tally.tries,
            first_try_at: tally.first_try_at,
            ended_at: now(ctx),
        };
        // Detached, so that a cancel does not stop the receipt.
        let options = || detached(TRY);
        done(ctx, || NotificationActivities::conclude, conclude, options).await;
        Ok(outcome)
    }
}

type Context = WorkflowContext<Delivery>;

struct Tally {
    tries: u32,
    first_try_at: Option<i64>,
}

impl Tally {
    fn note(&mut self, sent: bool, at: i64) {
        if sent {
            self.tries = self.tries.saturating_add(1);
            self.first_try_at.get_or_insert(at);
        }
    }
}

/// Tries step by step of the schedule. An error is the input of the next run, once this run's history is long.
async fn drive(ctx: &Context, start: &Start, tally: &mut Tally) -> Result<End, Box<Start>> {
    if let Some(why) = &start.lost {
        return Ok(End::given_up(start.status, why.clone()));
    }
    let mut pause = start.pause_ms;
    let mut step = start.step;
    let (mut waited, mut shut) = (start.waited, start.shut);
    let mut last = start.status;
    let mut round = 0_u32;
    loop {
        if is_long(ctx, round) {
            return Err(Box::new(Start {
                parcel: start.parcel.clone(),
                tries: tally.tries,
                first_try_at: tally.first_try_at,
                status: last,
                step,
                waited,
                shut,
                lost: None,
                pause_ms: pause,
            }));
        }
        round += 1;
        let paused = ctx.timer(Duration::from_millis(pause)).await;
        if !matches!(paused, TimerResult::Fired) || ctx.cancellation_token().is_cancelled() {
            let why = DeliveryError::new("cancelled", "somebody cancelled the delivery");
            return Ok(End::given_up(last, why));
        }
        let at = now(ctx);
        let input = Deliver {
            parcel: start.parcel.clone(),
            step,
            waited,
            shut,
        };
        let tried = ctx.execute_activity(NotificationActivities::deliver, input, detached(TRY));
        match readable(ctx, tried.await).await {
            Ok(Delivered::Ended { end, sent }) => {
                tally.note(sent, at);
                return Ok(end);
            }
            Ok(Delivered::Later {
                status,
                error,
                sent,
                pause_ms,
            }) => {
                tally.note(sent, at);
                let Some(pause_ms) = pause_ms else {
                    return Ok(End::given_up(status, error));
                };
                last = status.or(last);
                pause = pause_ms;
                step += 1;
                (waited, shut) = (0, 0);
            }
            Ok(Delivered::Wait {
                pause_ms,
                shut: is_shut,
            }) => {
                pause = pause_ms;
                waited += 1;
                shut += u32::from(is_shut);
            }
            Err(_) => pause = AGAIN.as_millis() as u64,
        }
    }
}

/// Returns whether the workflow should continue as new; a cancelled delivery ends in this run.
fn is_long(ctx: &Context, round: u32) -> bool {
    let long = round >= MANY || round > 0 && ctx.continue_as_new_suggested();
    long && !ctx.cancellation_token().is_cancelled()
}
