//! Wakes the pollers on this worker when a provider calls back. Holds one entry for each job that is polled here.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::WorkflowId;

/// The pollers on this worker, by run.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<HashMap<WorkflowId, Arc<Notify>>>);

/// The registration of one poller.
pub(crate) struct Wake<'w> {
    wakes: &'w Wakes,
    workflow: WorkflowId,
    called: Arc<Notify>,
}

impl Wakes {
    /// Registers a poller of a run's job until the result is dropped. It replaces an older one of the same run.
    pub(crate) fn of(&self, workflow: &WorkflowId) -> Wake<'_> {
        let called = Arc::new(Notify::new());
        self.0.lock().insert(workflow.clone(), called.clone());
        Wake {
            wakes: self,
            workflow: workflow.clone(),
            called,
        }
    }

    /// Wakes the poller of a run's job; returns false if this worker has none.
    pub(crate) fn wake(&self, workflow: &WorkflowId) -> bool {
        let waiting = self.0.lock().get(workflow).cloned();
        waiting.inspect(|called| called.notify_one()).is_some()
    }
}

impl Wake<'_> {
    /// Returns once the provider calls back; a callback since the last return counts.
    pub(crate) async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        let mut waiting = self.wakes.0.lock();
        if waiting
            .get(&self.workflow)
            .is_some_and(|it| Arc::ptr_eq(it, &self.called))
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
        let wakes = Wakes::default();
        let wake = wakes.of(&run(0));

        assert!(wakes.wake(&run(0)) && !wakes.wake(&run(1)));

        wake.called().await;
    }

    #[test]
    fn a_poller_that_has_ended_is_not_kept() {
        let wakes = Wakes::default();
        let older = wakes.of(&run(0));
        let newer = wakes.of(&run(0));

        drop(older);
        assert!(wakes.wake(&run(0)), "the newer one still polls");
        drop(newer);
        assert!(!wakes.wake(&run(0)) && wakes.0.lock().is_empty());
    }
}
