//! `digest.v1`: collects failures and reports them to one target, with a pause after each message.
//!
//! The first failure is reported at once. Failures that arrive during the pause after a message go into the next one,
//! and so do those that could not be reported. A failure that is signalled again counts once while the workflow is
//! open, which is for a while longer than it has failures to report.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ContinueAsNewOptions, SyncWorkflowContext, TimerOptions, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination, workflows,
};

use crate::contract::activities::NotificationActivities;
use crate::contract::digest::{Digest as Start, DigestSent, Tell};
use crate::contract::digest::{Failed, Gathered, Seen};
use crate::workflows::support::{now, patient, readable};

/// The workflow type.
pub const NAME: &str = "digest.v1";
/// The signal that delivers failures.
pub const SIGNAL: &str = "failed.v1";
/// Start-to-close time-out of sending a message.
const TRY: Duration = Duration::from_secs(120);
/// Pauses while the target does not accept a message: doubled from the first up to the longest, in milliseconds.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 600_000;
/// The longest pause that a target may ask for, in milliseconds.
const LONGEST_ASKED: u64 = 3_600_000;
/// How long it still recognises reported failures, when no new ones arrive.
const LINGER: Duration = Duration::from_secs(600);
/// Signals until it continues as new: the server accepts 10,000.
const MANY: u32 = 2_000;
/// Failures until it continues as new: each has at most 2 kB, and the server accepts a history of 50 MB.
const MANY_FAILURES: usize = 5_000;

/// The failures to report to one target.
#[workflow]
pub struct Digest {
    /// The input, without `gathered` and `seen`, which grow.
    start: Start,
    gathered: Gathered,
    seen: Seen,
    signals: u32,
    /// Number of failures in those signals.
    failures: usize,
}

#[workflow_methods]
impl Digest {
    /// Takes over what an earlier run has collected, before any signal arrives.
    #[init]
    fn new(_: &WorkflowContextView, mut start: Start) -> Self {
        Self {
            gathered: std::mem::take(&mut start.gathered),
            seen: std::mem::take(&mut start.seen),
            start,
            signals: 0,
            failures: 0,
        }
    }

    /// Reports failures until none has arrived for a while.
    #[run(name = "digest.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let mut start = ctx.state(|digest| digest.start.clone());
        let is_long = |digest: &Digest| digest.signals >= MANY || digest.failures >= MANY_FAILURES;
        loop {
            let until = now(ctx).saturating_add_unsigned(start.pause_ms);
            if start.pause_ms > 0 {
                wait(ctx, Duration::from_millis(start.pause_ms), is_long).await?;
            }
            if ctx.state(is_long) || ctx.continue_as_new_suggested() {
                let left = until.saturating_sub(now(ctx));
                start.pause_ms = u64::try_from(left).unwrap_or(0);
                return Err(goes_on(ctx, start));
            }
            if !wait(ctx, LINGER, |digest| !digest.gathered.is_empty()).await? {
                return Ok(());
            }
            let gathered = ctx.state_mut(|digest| std::mem::take(&mut digest.gathered));
            let input = Tell {
                to: start.to.clone(),
                gathered: gathered.clone(),
                unknown: start.unknown,
            };
            let told =
                ctx.execute_activity(NotificationActivities::send_digest, input, patient(TRY));
            start.pause_ms = match readable(ctx, told.await).await {
                Ok(DigestSent::Ended) => {
                    (start.tries, start.unknown) = (0, 0);
                    start.every_ms
                }
                Ok(DigestSent::Later { pause_ms, unknown }) => {
                    ctx.state_mut(|digest| digest.gathered.behind(gathered));
                    start.tries = start.tries.saturating_add(1);
                    start.unknown = if unknown { start.unknown + 1 } else { 0 };
                    backoff(start.tries).max(pause_ms.unwrap_or(0).min(LONGEST_ASKED))
                }
                Err(error) if error.as_cancelled().is_some() => {
                    return Err(WorkflowTermination::cancelled());
                }
                Err(_) => {
                    ctx.state_mut(|digest| digest.gathered.behind(gathered));
                    start.tries = start.tries.saturating_add(1);
                    backoff(start.tries)
                }
            };
        }
    }

    /// Adds failures that were not signalled before.
    #[signal(name = "failed.v1")]
    pub fn failed(&mut self, _: &mut SyncWorkflowContext<Self>, failed: Vec<Failed>) {
        self.signals += 1;
        self.failures += failed.len();
        self.gathered.add_new(failed, &mut self.seen);
    }
}

type Context = WorkflowContext<Digest>;

/// Waits until `come` holds, for at most `time`; returns whether it does.
async fn wait(
    ctx: &Context,
    time: Duration,
    come: impl Fn(&Digest) -> bool,
) -> Result<bool, WorkflowTermination> {
    if ctx.state(&come) {
        return Ok(true);
    }
    let scope = ctx.cancellation_token().child_token();
    let timer = TimerOptions::builder(time)
        .cancellation_token(scope.clone())
        .build();
    workflows::select! {
        _ = ctx.timer(timer) => {},
        _ = ctx.wait_condition(&come) => {},
    }
    if ctx.cancellation_token().is_cancelled() {
        return Err(WorkflowTermination::cancelled());
    }
    // Otherwise the timer would wake the workflow once more.
    scope.cancel();
    // Checked again: a signal may arrive together with the end of the timer.
    Ok(ctx.state(&come))
}

/// Continues as new, with everything that this run has collected.
fn goes_on(ctx: &Context, start: Start) -> WorkflowTermination {
    let next = ctx.state(|digest| Start {
        gathered: digest.gathered.clone(),
        seen: digest.seen.clone(),
        ..start
    });
    let Err(continued) = ctx.continue_as_new(next, ContinueAsNewOptions::default());
    continued
}

fn backoff(tries: u32) -> u64 {
    let doublings = tries.saturating_sub(1).min(16);
    (FIRST_PAUSE << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let pauses = [1, 2, 3, 8, 100].map(|tries| backoff(tries) / 1000);

        assert_eq!(pauses, [5, 10, 20, 600, 600]);
    }
}
