//! `digest.v1`: gathers failures and has one target told of them, at most once in a while.
//!
//! The first goes out at once. What comes before the pause behind a message is over goes into the next one; so does what
//! could not be told. A failure that is signalled again counts once while the workflow lasts, which is a while longer
//! than there is anything to tell.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ContinueAsNewOptions, SyncWorkflowContext, TimerOptions, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination, workflows,
};

use crate::contract::activities::NotificationActivities;
use crate::contract::digest::{Digest as Start, Tell, Told};
use crate::contract::digest::{Failed, Gathered, Seen};
use crate::workflows::support::{now, patient, readable};

/// The type by which a digest is known.
pub const NAME: &str = "digest.v1";
/// The signal that brings it failures.
pub const SIGNAL: &str = "failed.v1";
/// Longest try.
const TRY: Duration = Duration::from_secs(120);
/// Pauses while the target does not take a message: from the first, doubling, up to the longest.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 600_000;
/// The longest pause that a target may ask for.
const LONGEST_ASKED: u64 = 3_600_000;
/// How long it remembers what it has told, when nothing comes any more.
const LINGER: Duration = Duration::from_secs(600);
/// After so many signals its history is long enough: the server takes 10,000.
const MANY: u32 = 2_000;
/// After so many failures it is large enough: each is 2 kB at most, and the server takes 50 MB.
const MANY_FAILURES: usize = 5_000;

/// The failures of which one target is to be told.
#[workflow]
pub struct Digest {
    /// The input, less what is gathered and seen: these two grow.
    start: Start,
    gathered: Gathered,
    seen: Seen,
    signals: u32,
    /// How many failures came with them.
    failures: usize,
}

#[workflow_methods]
impl Digest {
    /// Takes over what an earlier run had gathered, before any signal comes.
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

    /// Has failures told of until none has come for a while.
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
            let told = ctx.execute_activity(NotificationActivities::tell, input, patient(TRY));
            start.pause_ms = match readable(ctx, told.await).await {
                Ok(Told::Ended) => {
                    (start.tries, start.unknown) = (0, 0);
                    start.every_ms
                }
                Ok(Told::Later { pause_ms, unknown }) => {
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

    /// Adds failures that were not counted before.
    #[signal(name = "failed.v1")]
    pub fn failed(&mut self, _: &mut SyncWorkflowContext<Self>, failed: Vec<Failed>) {
        self.signals += 1;
        self.failures += failed.len();
        self.gathered.add_new(failed, &mut self.seen);
    }
}

type Context = WorkflowContext<Digest>;

/// Waits for `come`, for at most `time`; returns whether it came.
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
    // A timer that is left alone would wake the workflow once more.
    scope.cancel();
    // Looked at again: a signal may come with the end of the timer.
    Ok(ctx.state(&come))
}

/// Ends this run; the next has all that this one knew.
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
