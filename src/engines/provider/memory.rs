//! Limits the memory of providers' answers: long answers share one budget, images inside answers another.
//!
//! An answer that can be requested again waits until memory is free. The answer to a submit cannot wait,
//! since the job may be paid for: the memory for its images is reserved before the submit is sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Provider;
use crate::domain::Single;
use crate::engines::config::Protocol;

const MIB: usize = 1024 * 1024;
/// Budget of all long answers together, in bytes.
pub(super) const MEMORY: usize = 256 * MIB;
/// An answer takes several times its length: as text, parsed, decoded.
pub(super) const TIMES: usize = 4;
/// Budget of all images inside answers, and the share that is reserved for one image before its size is known.
const MEMORY_OF_IMAGES: usize = 512 * MIB;
const IMAGE: usize = 4 * MIB;

/// The memory that answers share; one permit is one byte.
#[derive(Clone, Debug)]
pub(super) struct MemoryBudget {
    answers: Arc<Semaphore>,
    images: Arc<Semaphore>,
}

/// The memory reserved for an answer, until the outputs in it are stored.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl MemoryBudget {
    pub(super) fn new() -> Self {
        Self {
            answers: Arc::new(Semaphore::new(MEMORY)),
            images: Arc::new(Semaphore::new(MEMORY_OF_IMAGES)),
        }
    }

    /// Waits until memory for an answer of `max_bytes` bytes is free, and reserves it.
    pub(super) async fn hold(&self, max_bytes: usize) -> Held {
        let bytes = u32::try_from((max_bytes * TIMES).min(MEMORY)).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this never fails.
        Held(self.answers.clone().acquire_many_owned(bytes).await.ok())
    }

    /// Returns how many bytes are free for answers.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.answers.available_permits()
    }
}

impl Provider {
    /// Reserves memory for outputs that come with the answer to a submit; `None` if too little is free.
    pub fn hold(&self, spec: &Single) -> Option<Held> {
        let (Protocol::OpenAi, Single::Image(image)) = (&self.config.protocol, spec) else {
            return Some(Held::default());
        };
        let count = image.num_images.unwrap_or(1).clamp(1, 16);
        let bytes = u32::try_from(count).unwrap_or(1) * u32::try_from(IMAGE).ok()?;
        let held = self.clients.memory.images.clone();
        Some(Held(Some(held.try_acquire_many_owned(bytes).ok()?)))
    }
}
