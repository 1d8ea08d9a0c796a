//! Counts running records that rest, that is, wait instead of working. Some of them have also released their slot.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The slots of a consumer: each record that runs has one, unless it has released it while it waits.
#[derive(Debug, Default)]
pub struct Slots {
    resting: AtomicUsize,
    released: AtomicUsize,
    freed: Notify,
}

/// A guard that counts one record as resting until the guard is dropped.
#[derive(Debug)]
pub(super) struct Resting<'s> {
    slots: &'s Slots,
    releases: bool,
}

impl Slots {
    /// Awaits `what` with the caller's slot released, so that another record can be handled meanwhile.
    pub async fn without<T>(&self, what: impl Future<Output = T>) -> T {
        let _rest = self.rest(true);
        what.await
    }

    /// Counts a record as resting; if it `releases` its slot, another record can take it.
    pub(super) fn rest(&self, releases: bool) -> Resting<'_> {
        self.resting.fetch_add(1, Ordering::Relaxed);
        let released = usize::from(releases);
        self.released.fetch_add(released, Ordering::Relaxed);
        self.freed.notify_one();
        let slots = self;
        Resting { slots, releases }
    }

    pub(super) fn resting(&self) -> usize {
        self.resting.load(Ordering::Relaxed)
    }

    /// Returns how many of the resting records have released their slot.
    pub(super) fn released(&self) -> usize {
        self.released.load(Ordering::Relaxed)
    }

    /// Waits until a record begins to rest; returns at once if one did since the last call.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        let released = usize::from(self.releases);
        self.slots.resting.fetch_sub(1, Ordering::Relaxed);
        self.slots.released.fetch_sub(released, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_record_that_waits_without_its_slot_is_counted_meanwhile_and_notifies_once() {
        let slots = Slots::default();
        assert!(slots.freed().now_or_never().is_none());

        let counts = || (slots.resting(), slots.released());
        let inside = slots.without(async { counts() }).await;

        assert_eq!((inside, counts()), ((1, 1), (0, 0)));
        assert!(
            slots.freed().now_or_never().is_some(),
            "notified also after the rest is over"
        );
        assert!(slots.freed().now_or_never().is_none());
    }

    #[test]
    fn a_record_that_rests_in_its_slot_keeps_it() {
        let slots = Slots::default();

        let _rest = slots.rest(false);

        assert_eq!((slots.resting(), slots.released()), (1, 0));
    }
}
