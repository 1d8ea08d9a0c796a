//! One attempt of `fetch`: whose it is, and what has failed in it and in those before.

use std::future::Future;
use std::io::ErrorKind;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::contract::run::Failures;
use crate::engines::failpoint;
use crate::engines::storage::DownloadError;

/// The failure counts, shared with the heartbeat.
#[derive(Debug, Default)]
pub(crate) struct FailureCounts(Mutex<Failures>);

/// One attempt of `fetch`.
pub(crate) struct Turn<'t> {
    /// The user's fairness key, by which users share the slots.
    pub(crate) user: &'t str,
    /// Number of the attempt, from 1.
    pub(crate) number: u32,
    pub(crate) tally: &'t FailureCounts,
    /// Stores the counts at the server; returns when the server has answered, or has failed to.
    pub(crate) store: &'t (dyn Fn(Failures) -> BoxFuture<'t, ()> + Send + Sync),
}

impl Turn<'_> {
    /// Checks a file. The next attempt counts this check as lost if it kills this worker, or does not end.
    pub(super) async fn check<T>(
        &self,
        checking: impl Future<Output = Result<T, DownloadError>>,
    ) -> Result<T, DownloadError> {
        let failures = self.tally.count(|failures| failures.lost += 1);
        let counted = Counted(self.tally);
        // Not in the first attempt: normally all goes well, and the call would be wasted.
        if self.number > 1 {
            (self.store)(failures).await;
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
struct Counted<'t>(&'t FailureCounts);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let not_lost = |failures: &mut Failures| failures.lost = failures.lost.saturating_sub(1);
        self.0.count(not_lost);
    }
}

impl FailureCounts {
    /// Continues the counts of an earlier attempt.
    pub(crate) fn from(earlier: Failures) -> Self {
        Self(Mutex::new(earlier))
    }

    pub(crate) fn failures(&self) -> Failures {
        *self.0.lock()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Failures)) -> Failures {
        let mut failures = self.0.lock();
        change(&mut failures);
        *failures
    }
}
