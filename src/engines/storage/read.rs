//! Reads results back, for people.

use std::io;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;

use super::Store;
use super::fault::ask;
use super::manifest::{MANIFEST, Manifest};
use crate::domain::{Generated, WorkflowId};

/// Some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Between(Range<u64>),
    /// From this byte to the end.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

/// An output that is being read.
pub struct Opened {
    /// Bytes of the whole file.
    pub size: u64,
    /// The bytes of it that `pieces` has.
    pub range: Range<u64>,
    pub pieces: BoxStream<'static, io::Result<Bytes>>,
}

impl Store {
    /// Returns the stored result of a run; `None` if it has none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn result(&self, workflow: &WorkflowId) -> io::Result<Option<Generated>> {
        let manifest = self.read_json::<Manifest>(workflow, MANIFEST).await?;
        Ok(manifest.map(|manifest| manifest.result))
    }

    /// Opens an output of a run, all of it or a part.
    ///
    /// # Errors
    /// If the file does not exist, the part lies outside of it, or the store cannot be read.
    pub async fn open_output(
        &self,
        workflow: &WorkflowId,
        uri: &str,
        part: Option<Part>,
    ) -> io::Result<Opened> {
        let name = uri.rsplit('/').next().unwrap_or_default();
        let location = self.location(workflow, name)?;
        let options = GetOptions {
            range: part.map(|part| match part {
                Part::Between(range) => GetRange::Bounded(range),
                Part::From(first) => GetRange::Offset(first),
                Part::Last(count) => GetRange::Suffix(count),
            }),
            ..GetOptions::default()
        };
        let found = ask(self.objects.get_opts(&location, options)).await?;
        Ok(Opened {
            size: found.meta.size,
            range: found.range.clone(),
            pieces: found.into_stream().map_err(io::Error::other).boxed(),
        })
    }

    /// Copies an output of a run to a new file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is a file at `path`; otherwise the store or the disk fails.
    pub async fn copy(&self, workflow: &WorkflowId, uri: &str, path: &Path) -> io::Result<()> {
        let name = uri.rsplit('/').next().unwrap_or_default();
        let location = self.location(workflow, name)?;
        let found = ask(self.objects.get(&location)).await?;
        let mut file = File::create_new(path).await?;
        let writing = async {
            let mut pieces = found.into_stream();
            while let Some(piece) = pieces.try_next().await.map_err(io::Error::other)? {
                file.write_all(&piece).await?;
            }
            file.flush().await
        };
        let written = writing.await;
        if written.is_err() {
            // Half a file would be in the way of the next try.
            fs::remove_file(path).await.ok();
        }
        written
    }
}
