//! One attempt of `fetch`: whose it is, and what has failed in it and in those before.

use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use parking_lot::Mutex;
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;

use crate::contract::run::Failures;
use crate::engines::failpoint;
use crate::engines::storage::DownloadError;
use crate::engines::temporal::activity::priority;
use crate::roles::worker::heartbeat::{self, Unstored};

/// One attempt of `fetch`.
pub(crate) struct Turn<'t> {
    ctx: &'t ActivityContext,
    /// The deadline of its run.
    deadline: Instant,
    /// Shared with the heartbeat.
    failures: Mutex<Failures>,
}

impl<'t> Turn<'t> {
    /// Continues the counts of the previous attempt.
    pub(crate) fn of(ctx: &'t ActivityContext, deadline: Instant) -> Self {
        // A first attempt has no details.
        let earlier: Option<Failures> = ctx.heartbeat_details().deserialize().ok().flatten();
        let failures = Mutex::new(earlier.unwrap_or_default());
        Self {
            ctx,
            deadline,
            failures,
        }
    }

    /// Returns the time until the deadline.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the user's fairness key, by which users share the slots.
    pub(super) fn user(&self) -> &str {
        let key = self.ctx.info().priority.fairness_key.as_deref();
        key.unwrap_or_default()
    }

    /// Returns the priority of the request, as a label.
    pub(super) fn priority(&self) -> &'static str {
        priority(self.ctx)
    }

    pub(super) fn number(&self) -> u32 {
        self.ctx.info().attempt
    }

    /// Returns whether Temporal confirms that this is the current attempt.
    pub(super) async fn is_current(&self) -> bool {
        match heartbeat::store(self.ctx, self.failures()).await {
            Ok(()) | Err(Unstored::CancelRequested) => true,
            Err(Unstored::NotCurrent | Unstored::Unanswered(_)) => false,
        }
    }

    pub(crate) fn failures(&self) -> Failures {
        *self.failures.lock()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Failures)) -> Failures {
        let mut failures = self.failures.lock();
        change(&mut failures);
        *failures
    }

    /// Checks a file. The next attempt counts this check as lost if it kills this worker, or does not end. A check that
    /// kills the worker in the first attempt counts only if a regular heartbeat was sent meanwhile.
    pub(super) async fn check<T>(
        &self,
        checking: impl Future<Output = Result<T, DownloadError>>,
    ) -> Result<T, DownloadError> {
        let failures = self.count(|failures| failures.lost += 1);
        let counted = Counted(self);
        // Not in the first attempt: normally all goes well, and the call would be wasted. If Temporal is down, the
        // check still runs but its count is not stored: an outage must not lose the outputs.
        if self.number() > 1 && heartbeat::store(self.ctx, failures).await.is_err() {
            tracing::debug!("cannot store the count of output checks");
        }
        failpoint::hit("fetch.checking").await;
        let checked = checking.await;
        if matches!(&checked, Err(DownloadError::Disk(error)) if error.kind() == ErrorKind::TimedOut)
        {
            std::mem::forget(counted);
        }
        checked
    }
}

/// A check that is counted as lost in advance; dropping it takes the count back.
struct Counted<'t>(&'t Turn<'t>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let not_lost = |failures: &mut Failures| failures.lost = failures.lost.saturating_sub(1);
        self.0.count(not_lost);
    }
}
