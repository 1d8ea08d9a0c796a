//! `digest.v1`: collects failed requests and reports them to one of the operators' targets, at most one message a
//! minute.
//!
//! The workflow reports the first failure at once. Failures that arrive while it sends a message, or in the minute
//! after it, go into the next one. It ends when that minute passes without a failure.

#![deny(clippy::disallowed_methods)]

use std::pin::pin;
use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ActivityCancellationType, ContinueAsNewOptions, SyncWorkflowContext, TimerOptions,
    WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination, workflows,
};

use crate::contract::activities::NotificationActivities;
use crate::contract::digest::{DigestInput, FailedRequest, SendDigest};
use crate::workflows::support::{detached, now, readable};

/// The workflow type.
pub const NAME: &str = "digest.v1";
/// Shortest time between two messages.
const EVERY: Duration = Duration::from_secs(60);
/// Start-to-close time-out of sending a message.
const TRY: Duration = Duration::from_secs(120);
/// Signals until it continues as new: the server accepts 10,000.
const MANY: u32 = 1_000;

/// The failures to report to one target.
#[workflow]
pub struct Digest {
    /// The input; its failures are those that were not reported yet.
    start: DigestInput,
    signals: u32,
}

#[workflow_methods]
impl Digest {
    #[init]
    fn new(_: &WorkflowContextView, start: DigestInput) -> Self {
        Self { start, signals: 0 }
    }

    /// Reports failures until none has arrived for a while. A cancel drops those that were not reported yet.
    #[run(name = "digest.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        loop {
            pause(ctx).await?;
            if is_long(ctx) {
                let next = ctx.state(|digest| digest.start.clone());
                let Err(continued) = ctx.continue_as_new(next, ContinueAsNewOptions::default());
                return Err(continued);
            }
            if ctx.state(|digest| digest.start.failures.total == 0) {
                return Ok(());
            }
            send(ctx).await?;
        }
    }

    /// Adds a failure to the next message.
    #[signal(name = "failed.v1")]
    pub fn failed(&mut self, _: &mut SyncWorkflowContext<Self>, failed: FailedRequest) {
        self.signals += 1;
        self.start.failures.append(failed.into());
    }
}

type Context = WorkflowContext<Digest>;

/// Returns whether the history of this run is long, so that another run should continue.
fn is_long(ctx: &Context) -> bool {
    ctx.continue_as_new_suggested() || ctx.state(has_many_signals)
}

fn has_many_signals(digest: &Digest) -> bool {
    digest.signals >= MANY
}

/// Waits until the next message may be sent, or the history is long.
async fn pause(ctx: &Context) -> Result<(), WorkflowTermination> {
    let left = ctx.state(|digest| digest.start.next_at) - now(ctx);
    let left = u64::try_from(left).unwrap_or(0);
    if left == 0 || is_long(ctx) {
        return Ok(());
    }
    let scope = ctx.cancellation_token().child_token();
    let timer = TimerOptions::builder(Duration::from_millis(left))
        .cancellation_token(scope.clone())
        .build();
    workflows::select! {
        _ = ctx.timer(timer) => {},
        _ = ctx.wait_condition(has_many_signals) => scope.cancel(),
    }
    unless_cancelled(ctx)
}

/// Sends the failures that have arrived. Temporal retries the activity until the message is accepted, or never will be.
/// If the history becomes long meanwhile, the activity is cancelled, and the next run sends the failures if they were
/// not accepted.
async fn send(ctx: &Context) -> Result<(), WorkflowTermination> {
    let input = ctx.state_mut(|digest| SendDigest {
        to: digest.start.to.clone(),
        failures: std::mem::take(&mut digest.start.failures),
    });
    let scope = ctx.cancellation_token().child_token();
    let mut options = detached(TRY);
    options.cancellation_token = Some(scope.clone());
    // Otherwise a message that the target accepts while the activity is cancelled would be sent again.
    options.cancellation_type = ActivityCancellationType::WaitCancellationCompleted;
    let failures = input.failures.clone();
    let sending = ctx.execute_activity(NotificationActivities::send_digest, input, options);
    let mut sending = pin!(sending);
    let sent = workflows::select! {
        sent = sending => sent,
        _ = ctx.wait_condition(has_many_signals) => {
            scope.cancel();
            sending.await
        },
    };
    let sent = readable(ctx, sent).await;
    unless_cancelled(ctx)?;
    let next_at = now(ctx).saturating_add_unsigned(EVERY.as_millis() as u64);
    ctx.state_mut(|digest| {
        digest.start.next_at = next_at;
        if sent.is_err() {
            let later = std::mem::replace(&mut digest.start.failures, failures);
            digest.start.failures.append(later);
        }
    });
    Ok(())
}

fn unless_cancelled(ctx: &Context) -> Result<(), WorkflowTermination> {
    if ctx.cancellation_token().is_cancelled() {
        return Err(WorkflowTermination::cancelled());
    }
    Ok(())
}
