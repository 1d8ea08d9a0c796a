//! Counts running records that rest, that is, wait instead of working; those aside have also released their slot.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the records that rest, and notifies when one begins to.
#[derive(Debug, Default)]
pub(super) struct Slots {
    resting: AtomicUsize,
    aside: AtomicUsize,
    freed: Notify,
}

/// Counts one record as resting, until it is dropped.
#[derive(Debug)]
pub(super) struct Rest<'p> {
    slots: &'p Slots,
    aside: bool,
}

/// The slot of one record among those that are handled at once.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'p>(&'p Slots);

impl Slots {
    /// Counts a record as resting; `aside` releases its slot to another record.
    pub(super) fn rest(&self, aside: bool) -> Rest<'_> {
        self.resting.fetch_add(1, Ordering::Relaxed);
        self.aside.fetch_add(usize::from(aside), Ordering::Relaxed);
        self.freed.notify_one();
        let slots = self;
        Rest { slots, aside }
    }

    /// Returns the slot of a record that is about to be handled.
    pub(super) fn slot(&self) -> Slot<'_> {
        Slot(self)
    }

    /// Returns how many records rest.
    pub(super) fn resting(&self) -> usize {
        self.resting.load(Ordering::Relaxed)
    }

    /// Returns how many of the resting records have released their slot.
    pub(super) fn aside(&self) -> usize {
        self.aside.load(Ordering::Relaxed)
    }

    /// Waits until a record begins to rest; returns at once if one did since the last call.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Slot<'_> {
    /// Awaits `what` with the slot released, so that another record can be handled meanwhile.
    pub async fn without<T>(self, what: impl Future<Output = T>) -> T {
        let _rest = self.0.rest(true);
        what.await
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let Slots { resting, aside, .. } = self.slots;
        resting.fetch_sub(1, Ordering::Relaxed);
        aside.fetch_sub(usize::from(self.aside), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_waits_without_its_place_is_counted_for_so_long_and_rings_once() {
        let slots = Slots::default();
        assert!(slots.freed().now_or_never().is_none());

        let counts = || (slots.resting(), slots.aside());
        let inside = slots.slot().without(async { counts() }).await;

        assert_eq!((inside, counts()), ((1, 1), (0, 0)));
        assert!(
            slots.freed().now_or_never().is_some(),
            "notified also after the rest is over"
        );
        assert!(slots.freed().now_or_never().is_none());
    }

    #[test]
    fn who_rests_in_its_place_keeps_it() {
        let slots = Slots::default();

        let _rest = slots.rest(false);

        assert_eq!((slots.resting(), slots.aside()), (1, 0));
    }
}
