//! Uploads files to an object store in parts: few in memory at once, and none left behind by a failed upload.
//!
//! Each upload is a task of its own, so that it removes its parts even if its caller gives up. Its parts are tasks
//! too: they continue while the upload waits for a slot, otherwise two uploads could wait for each other forever.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path as Location;
use object_store::{
    Attributes, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fault;

/// Size of a part in bytes. A file of at most this size is uploaded whole.
pub(super) const PART: u64 = 8 * 1024 * 1024;
/// Limits on parts in memory at once: of all uploads together, and of one upload.
const PARTS: usize = 8;
const PARTS_OF_ONE: usize = 4;
/// The limit for all uploads of a store with slots of its own ([`Uploads::apart`]).
const PARTS_APART: usize = 4;
/// S3's limit on the parts of one file.
const MOST_PARTS: u64 = 10_000;
/// How long a failed upload tries to remove its parts.
const ABORT_TIME: Duration = Duration::from_secs(15);

/// Uploads that share slots.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    /// One permit is one part in memory.
    slots: Arc<Semaphore>,
    /// The uploads under way, also those with other slots.
    running: TaskTracker,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(PARTS)),
            running: TaskTracker::new(),
        }
    }

    /// Returns uploads with slots of their own. [`Self::close`] of either waits for both.
    pub(super) fn apart(&self) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(PARTS_APART)),
            running: self.running.clone(),
        }
    }

    /// Waits until abandoned uploads have removed their parts, but not longer than `limit`.
    pub(super) async fn close(&self, limit: Duration) {
        self.running.close();
        let waited = tokio::time::timeout(limit, self.running.wait()).await;
        if waited.is_err() {
            tracing::warn!("parts of unfinished uploads may remain in the store");
        }
    }

    /// Uploads a small file in one request, under a name that does not exist yet.
    pub(super) async fn put_whole(
        &self,
        store: &dyn ObjectStore,
        location: &Location,
        from: &Path,
        attributes: Attributes,
    ) -> io::Result<()> {
        let _slot = slot(&self.slots).await?;
        let payload = tokio::fs::read(from).await?;
        let options = PutOptions {
            mode: PutMode::Create,
            attributes,
            ..PutOptions::default()
        };
        let putting = store.put_opts(location, payload.into(), options);
        putting.await.map_err(fault::of_store)?;
        Ok(())
    }

    /// Uploads a file of `bytes` in parts; it appears when all parts are there. If dropped, the parts are removed.
    pub(super) async fn put_in_parts(
        &self,
        store: Arc<dyn ObjectStore>,
        location: Location,
        from: &Path,
        bytes: u64,
        attributes: Attributes,
    ) -> io::Result<()> {
        let file = File::open(from).await?;
        let given_up = CancellationToken::new();
        let _gives_up = given_up.clone().drop_guard();
        let slots = self.slots.clone();
        let uploading = self.running.spawn(async move {
            let options = PutMultipartOptions::from(attributes);
            let beginning = store.put_multipart_opts(&location, options);
            let mut upload = beginning.await.map_err(fault::of_store)?;
            let sent = tokio::select! {
                sent = send(upload.as_mut(), file, bytes, &slots) => sent,
                () = given_up.cancelled() => Err(io::ErrorKind::Interrupted.into()),
            };
            if sent.is_err() {
                abort(upload.as_mut()).await;
            }
            sent
        });
        uploading.await.map_err(io::Error::other)?
    }
}

async fn slot(slots: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    let acquiring = slots.clone().acquire_owned();
    acquiring.await.map_err(io::Error::other)
}

async fn send(
    upload: &mut dyn MultipartUpload,
    mut file: File,
    bytes: u64,
    slots: &Arc<Semaphore>,
) -> io::Result<()> {
    let size = PART.max(bytes.div_ceil(MOST_PARTS));
    let mut parts = JoinSet::new();
    let mut left = bytes;
    while left > 0 {
        while parts.len() >= PARTS_OF_ONE {
            next(&mut parts).await?;
        }
        let slot = slot(slots).await?;
        let length = left.min(size);
        let mut part = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        let read = (&mut file).take(length).read_to_end(&mut part).await?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= length;
        let putting = upload.put_part(PutPayload::from(part));
        parts.spawn(async move {
            let put = putting.await;
            drop(slot);
            put
        });
    }
    while !parts.is_empty() {
        next(&mut parts).await?;
    }
    upload.complete().await.map_err(fault::of_store)?;
    Ok(())
}

async fn next(parts: &mut JoinSet<object_store::Result<()>>) -> io::Result<()> {
    match parts.join_next().await {
        None => Ok(()),
        Some(put) => put.map_err(io::Error::other)?.map_err(fault::of_store),
    }
}

/// Removes the parts that were uploaded. Best effort: a lifecycle rule of the bucket removes the rest.
async fn abort(upload: &mut dyn MultipartUpload) {
    let failed = match tokio::time::timeout(ABORT_TIME, upload.abort()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => fault::of_store(error),
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    tracing::warn!(
        error = &failed as &dyn std::error::Error,
        "parts of an upload remain in the store"
    );
}
