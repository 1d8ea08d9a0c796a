//! Wakes the pollers on this worker when a provider calls back. Holds one entry for each job that is polled here.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::domain::WorkflowId;

/// The pollers on this worker, by run.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<HashMap<WorkflowId, mpsc::Sender<Call>>>);

/// One callback. The poller takes it only if it is known to be the run's current one; a call that is dropped goes to the
/// run's workflow instead.
#[derive(Debug)]
pub(crate) struct Call(oneshot::Sender<()>);

/// The registration of one poller.
pub(crate) struct Wake<'w> {
    wakes: &'w Wakes,
    workflow: WorkflowId,
    calls: mpsc::Receiver<Call>,
    /// Tells this registration from a newer one of the same run.
    own: mpsc::Sender<Call>,
}

impl Wakes {
    /// Registers a poller of a run's job until the result is dropped. It replaces an older one of the same run.
    pub(crate) fn of(&self, workflow: &WorkflowId) -> Wake<'_> {
        let (own, calls) = mpsc::channel(1);
        self.0.lock().insert(workflow.clone(), own.clone());
        Wake {
            wakes: self,
            workflow: workflow.clone(),
            calls,
            own,
        }
    }

    /// Wakes the poller of a run's job. Returns whether one has taken the call.
    pub(crate) async fn wake(&self, workflow: &WorkflowId) -> bool {
        let (taken, is_taken) = oneshot::channel();
        let poller = self.0.lock().get(workflow).cloned();
        // If another call waits already, the workflow gets this one.
        let Some(Ok(())) = poller.map(|poller| poller.try_send(Call(taken))) else {
            return false;
        };
        is_taken.await.is_ok()
    }
}

impl Wake<'_> {
    /// Returns once the provider calls back; a callback since the last return counts.
    pub(crate) async fn called(&mut self) -> Call {
        match self.calls.recv().await {
            Some(call) => call,
            // Never: this registration has a sender.
            None => std::future::pending().await,
        }
    }

    /// Takes a callback that came during the last poll.
    pub(crate) fn take(&mut self) {
        if let Ok(call) = self.calls.try_recv() {
            call.take();
        }
    }
}

impl Call {
    /// Confirms that the job is polled because of this call.
    pub(crate) fn take(self) {
        // The caller may have given up waiting.
        self.0.send(()).ok();
    }
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        let mut waiting = self.wakes.0.lock();
        if waiting
            .get(&self.workflow)
            .is_some_and(|it| it.same_channel(&self.own))
        {
            waiting.remove(&self.workflow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestId;

    fn run(number: u32) -> WorkflowId {
        RequestId::try_from("r".to_owned()).unwrap().run(number)
    }

    #[tokio::test]
    async fn a_callback_during_a_poll_is_not_lost() {
        let (wakes, run, other) = (Wakes::default(), run(0), run(1));
        let mut wake = wakes.of(&run);
        let polling = async {
            tokio::task::yield_now().await;
            wake.called().await.take();
        };

        let (is_taken, ()) = tokio::join!(wakes.wake(&run), polling);

        assert!(is_taken);
        assert!(!wakes.wake(&other).await, "no such poller");
    }

    #[tokio::test]
    async fn a_callback_that_no_current_poller_takes_is_not_swallowed() {
        let (wakes, run) = (Wakes::default(), run(0));
        let mut wake = wakes.of(&run);

        let dropping = async { drop(wake.called().await) };
        let (is_taken, ()) = tokio::join!(wakes.wake(&run), dropping);

        assert!(!is_taken, "the poller is no longer the current one");
        let (is_taken, ()) = tokio::join!(wakes.wake(&run), async { drop(wake) });
        assert!(!is_taken, "the poller has ended");
    }

    #[tokio::test]
    async fn a_poller_that_has_ended_is_not_kept() {
        let (wakes, run) = (Wakes::default(), run(0));
        let older = wakes.of(&run);
        let mut newer = wakes.of(&run);

        drop(older);
        let taking = async { newer.called().await.take() };
        let (is_taken, ()) = tokio::join!(wakes.wake(&run), taking);
        assert!(is_taken, "the newer one still polls");
        drop(newer);
        assert!(!wakes.wake(&run).await && wakes.0.lock().is_empty());
    }
}
