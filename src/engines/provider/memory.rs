//! The memory of what providers answer with: long answers share one part of it, images that come at once another.
//!
//! An answer that can be asked for again waits until there is memory. That to a submit cannot wait, for it may be paid
//! for: what images need is held before their submit is sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Provider;
use crate::domain::{ProviderName, Spec};

const MIB: usize = 1024 * 1024;
/// Of all long answers together, in bytes.
pub(super) const MEMORY: usize = 256 * MIB;
/// An answer takes some times its length: as text, parsed, decoded.
pub(super) const TIMES: usize = 4;
/// Of all images that come with their answers, and what one counts as before it is there.
const MEMORY_OF_IMAGES: usize = 512 * MIB;
const IMAGE: usize = 4 * MIB;

/// The memory that answers share; a permit is a byte.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    answers: Arc<Semaphore>,
    images: Arc<Semaphore>,
}

/// The part of it that an answer holds, until what came with the answer is stored.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Held {
    /// Returns whether it is no part at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            answers: Arc::new(Semaphore::new(MEMORY)),
            images: Arc::new(Semaphore::new(MEMORY_OF_IMAGES)),
        }
    }

    /// Waits until there is memory for an answer of `longest` bytes.
    pub(super) async fn hold(&self, longest: usize) -> Held {
        let bytes = u32::try_from((longest * TIMES).min(MEMORY)).unwrap_or(u32::MAX);
        // Never closed, so there always is one.
        Held(self.answers.clone().acquire_many_owned(bytes).await.ok())
    }

    /// Returns how many bytes are free for answers.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.answers.available_permits()
    }
}

impl Provider {
    /// Holds memory for outputs that come with the answer to a submit; `None` while others have it.
    pub fn hold(&self, spec: &Spec) -> Option<Held> {
        let (ProviderName::OpenAi, Spec::Image(image)) = (self.config.name, spec) else {
            return Some(Held::default());
        };
        let count = image.num_images.unwrap_or(1).clamp(1, 16);
        let bytes = u32::try_from(count).unwrap_or(1) * u32::try_from(IMAGE).ok()?;
        let held = self.clients.memory.images.clone();
        Some(Held(Some(held.try_acquire_many_owned(bytes).ok()?)))
    }
}
