//! Limits the bytes that the files of this worker may have together in its temp folder.
//!
//! A file reserves space in steps as it grows, and releases all of it when it is stored or removed. A file
//! that waits too long for a step fails and releases its space, so files do not wait for each other forever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engines::telemetry::events;

/// Bytes of a step. A film seldom takes more than a few steps.
const STEP: usize = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// The space of all files; one permit is one byte.
#[derive(Clone, Debug)]
pub(super) struct TempBudget {
    free: Arc<Semaphore>,
    all: usize,
    step: usize,
    patience: Duration,
}

/// The space that one file has reserved. Dropping it releases the space.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: TempBudget,
    permit: Option<OwnedSemaphorePermit>,
}

impl TempBudget {
    pub(super) fn of(bytes: u64) -> Self {
        let all = usize::try_from(bytes).unwrap_or(usize::MAX);
        let all = all.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
            step: STEP,
            patience: PATIENCE,
        }
    }

    pub(super) fn reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            permit: None,
        }
    }
}

impl Reservation {
    fn bytes(&self) -> usize {
        let permit = self.permit.as_ref();
        permit.map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Reserves space until the file may have `bytes`.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is less space, or other files do not release it in time.
    pub(super) async fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let budget = &self.budget;
        while (self.bytes() as u64) < bytes {
            let step = budget.step.min(budget.all - self.bytes());
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            let acquiring = budget.free.clone().acquire_many_owned(step);
            let more = match tokio::time::timeout(budget.patience, acquiring).await {
                Ok(more) if step > 0 => more.map_err(io::Error::other)?,
                Ok(_) | Err(_) => {
                    let full = "the temp folder is full: its files have reached TEMP_MAX_BYTES, or half of the space \
                                that was free at start";
                    return Err(io::Error::new(io::ErrorKind::StorageFull, full));
                }
            };
            events::temp_reserved(f64::from(step));
            match &mut self.permit {
                Some(permit) => permit.merge(more),
                None => self.permit = Some(more),
            }
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        events::temp_reserved(-(self.bytes() as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Space of three steps.
    fn small() -> TempBudget {
        TempBudget {
            step: 10,
            patience: Duration::from_millis(50),
            ..TempBudget::of(30)
        }
    }

    #[tokio::test]
    async fn a_file_grows_until_there_is_no_space_and_then_releases_all_of_it() {
        let budget = small();
        let (mut one, mut other) = (budget.reservation(), budget.reservation());

        one.grow(20).await.unwrap();
        one.grow(15).await.unwrap();
        other.grow(1).await.unwrap();
        assert_eq!((one.bytes(), other.bytes()), (20, 10));
        let full = other.grow(11).await.unwrap_err();

        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        drop(one);
        other.grow(30).await.unwrap();
        let larger = other.grow(31).await.unwrap_err();
        assert_eq!(larger.kind(), io::ErrorKind::StorageFull);
        drop(other);
        assert_eq!(budget.free.available_permits(), 30);
    }

    #[tokio::test]
    async fn a_file_waits_for_the_space_of_another() {
        let mut budget = small();
        budget.patience = Duration::from_secs(60);
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        one.grow(30).await.unwrap();

        let stored = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (grown, ()) = tokio::join!(other.grow(5), stored);

        grown.unwrap();
    }
}
