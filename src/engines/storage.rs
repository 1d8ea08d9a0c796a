//! Results: downloaded to a temp folder, checked, put into the store, listed in a manifest.
//!
//! The store is a folder or a bucket, through the `object_store` crate. Names are content-addressed below the
//! workflow id, so a second attempt writes the same bytes under the same name, and no attempt can damage
//! another's file. A file appears under its name only when it is complete. Outputs are never replaced. A later
//! run of the same id replaces the manifest and `job.json`: the manifest counts only for the content that it was
//! written for, `job.json` only for its run.

mod disk;
mod download;
pub(crate) mod fault;
mod film;
mod input_file;
mod job;
mod manifest;
mod media;
mod read;
mod s3;
pub mod temp;
mod temp_budget;
mod trial;
mod upload;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::path::Path as Location;
use object_store::signer::{Method, Signer as _};
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs;
use tracing::Instrument as _;
use url::Url;

pub use self::download::{Downloaded, Downloader, Error as DownloadError, Source};
use self::fault::ask;
pub use self::input_file::check_input;
pub use self::manifest::Manifest;
pub use self::read::{Opened, Part};
use self::temp::TempFile;
pub use self::trial::Trial;
use self::upload::Uploads;
use crate::domain::{Media, Output, WorkflowId};
use crate::engines::config;
use crate::engines::telemetry::{events, spans};

#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    objects: Arc<dyn ObjectStore>,
    /// The same store, but writes are not synced to disk.
    unsynced: Arc<dyn ObjectStore>,
    uploads: Uploads,
}

/// What a written file outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power failure, at the cost of several syncs of the disk.
    Synced,
    /// The end of this process.
    Unsynced,
}

#[derive(Clone, Debug)]
enum Backend {
    Disk(PathBuf),
    Bucket(Arc<Bucket>),
}

#[derive(Debug)]
struct Bucket {
    client: AmazonS3,
    name: String,
    /// Prefix of each key, with a trailing slash; may be empty.
    prefix: String,
    url_ttl: Option<Duration>,
}

/// A downloaded and checked file, ready to be stored.
#[derive(Debug)]
pub struct Checked {
    file: TempFile,
    bytes: u64,
    sha256: String,
    format: media::Format,
}

impl Checked {
    /// Returns whether it is of this kind.
    pub fn is(&self, kind: Media) -> bool {
        let prefix = match kind {
            Media::Video => "video/",
            Media::Image => "image/",
        };
        self.format.content_type.starts_with(prefix)
    }
}

impl Store {
    /// Opens the configured store: creates the folder, or the client of the bucket, without a call.
    pub fn open(settings: &config::Worker) -> io::Result<Self> {
        let (backend, [objects, unsynced]): (_, [Arc<dyn ObjectStore>; 2]) = match &settings.s3 {
            None => {
                let (root, stores) = disk::open(&settings.results_dir)?;
                (
                    Backend::Disk(root),
                    stores.map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
                )
            }
            Some(s3) => {
                let client = s3::client(s3)?;
                let bucket = Bucket {
                    client: client.clone(),
                    name: s3.bucket.clone(),
                    prefix: match &*s3.prefix {
                        "" => String::new(),
                        prefix => format!("{prefix}/"),
                    },
                    url_ttl: s3.url_ttl,
                };
                let client = Arc::new(client);
                (Backend::Bucket(Arc::new(bucket)), [client.clone(), client])
            }
        };
        Ok(Self {
            backend,
            objects,
            unsynced,
            uploads: Uploads::new(),
        })
    }

    /// Returns this store with separate upload slots, so that neither store's uploads wait for the other's.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            uploads: self.uploads.apart(),
            ..self.clone()
        }
    }

    /// Waits until abandoned uploads have removed their parts, but not longer than `limit`.
    pub async fn close(&self, limit: Duration) {
        self.uploads.close(limit).await;
    }

    /// Stores the `index`-th output of a run. Idempotent.
    ///
    /// # Errors
    /// If the store fails; the kind and `fault::cause` say why.
    pub async fn put(
        &self,
        workflow: &WorkflowId,
        index: usize,
        file: Checked,
    ) -> io::Result<Output> {
        let putting = async {
            let short: String = file.sha256.chars().take(16).collect();
            let name = format!("{index}-{short}.{}", file.format.extension);
            let location = self.location(workflow, &name)?;
            if !self.has(&location, file.bytes).await? {
                self.create(&file, &location).await?;
            }
            // A rename has already moved the file. Otherwise it is removed now, not with the attempt's
            // folder: the temp disk may have room for few outputs only.
            match fs::remove_file(file.file.path()).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            Ok(Output {
                uri: self.uri(&location)?,
                url: self.signed_url(&location).await?,
                content_type: file.format.content_type.to_owned(),
                bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
                sha256: file.sha256,
                width: file.format.width,
                height: file.format.height,
                duration_seconds: file.format.duration_seconds,
            })
        };
        self.counted("put", putting).await
    }

    /// Stores a file under a name that does not exist yet.
    async fn create(&self, file: &Checked, location: &Location) -> io::Result<()> {
        let attributes = self.typed(file.format.content_type);
        let path = file.file.path();
        let in_parts = |attributes| {
            let objects = self.objects.clone();
            let location = location.clone();
            self.uploads
                .put_in_parts(objects, location, path, file.bytes, attributes)
        };
        match &self.backend {
            Backend::Disk(root) => {
                let target = root.join(location.as_ref());
                if !disk::rename(path.to_owned(), target.clone()).await? {
                    in_parts(attributes).await?;
                    disk::tidy(target).await?;
                }
                Ok(())
            }
            Backend::Bucket(_) if file.bytes > upload::PART => in_parts(attributes).await,
            Backend::Bucket(_) => {
                let objects = self.objects.as_ref();
                let putting = self.uploads.put_whole(objects, location, path, attributes);
                match putting.await {
                    // Another attempt was faster, or the answer to this upload's first request was lost.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        let there = self.has(location, file.bytes).await?;
                        if there { Ok(()) } else { Err(error) }
                    }
                    put => put,
                }
            }
        }
    }

    /// Writes a small JSON file; replaces a file of that name.
    async fn write_json(
        &self,
        durability: Durability,
        workflow: &WorkflowId,
        name: &str,
        content: &impl Serialize,
    ) -> io::Result<()> {
        let location = self.location(workflow, name)?;
        let text = serde_json::to_vec_pretty(content).map_err(io::Error::other)?;
        let options = PutOptions {
            attributes: self.typed("application/json"),
            ..PutOptions::default()
        };
        let objects = match durability {
            Durability::Synced => &self.objects,
            Durability::Unsynced => &self.unsynced,
        };
        ask(objects.put_opts(&location, text.into(), options)).await?;
        Ok(())
    }

    /// Reads a small JSON file; `None` if it is absent or this version cannot read its format.
    async fn read_json<T: DeserializeOwned>(
        &self,
        workflow: &WorkflowId,
        name: &str,
    ) -> io::Result<Option<T>> {
        match self.read(&self.location(workflow, name)?).await {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, location: &Location) -> io::Result<Vec<u8>> {
        let reading = async { self.objects.get(location).await?.bytes().await };
        Ok(ask(reading).await?.to_vec())
    }

    /// Returns whether the object exists. A different length is an error, since names contain the
    /// hash of the content.
    async fn has(&self, location: &Location, bytes: u64) -> io::Result<bool> {
        match self.length(location).await? {
            None => Ok(false),
            Some(length) if length == bytes => Ok(true),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the store has a file of another length under the output's name; remove that file",
            )),
        }
    }

    async fn length(&self, location: &Location) -> io::Result<Option<u64>> {
        match ask(self.objects.head(location)).await {
            Ok(there) => Ok(Some(there.size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `Location::join` would write the `~` of a retry as `%7E`.
    fn location(&self, workflow: &WorkflowId, name: &str) -> io::Result<Location> {
        let prefix = match &self.backend {
            Backend::Disk(_) => "",
            Backend::Bucket(bucket) => &bucket.prefix,
        };
        Location::parse(format!("{prefix}{workflow}/{name}")).map_err(io::Error::other)
    }

    fn uri(&self, location: &Location) -> io::Result<String> {
        match &self.backend {
            Backend::Disk(root) => Url::from_file_path(root.join(location.as_ref()))
                .map(String::from)
                .map_err(|()| io::Error::other("the path of the results folder is not absolute")),
            Backend::Bucket(bucket) => Ok(format!("s3://{}/{location}", bucket.name)),
        }
    }

    /// Returns a URL from which anyone can fetch the file for a while, if configured.
    async fn signed_url(&self, location: &Location) -> io::Result<Option<String>> {
        let Backend::Bucket(bucket) = &self.backend else {
            return Ok(None);
        };
        let Some(ttl) = bucket.url_ttl else {
            return Ok(None);
        };
        let url = ask(bucket.client.signed_url(Method::GET, location, ttl)).await?;
        Ok(Some(url.into()))
    }

    /// Returns the content type for a bucket; a folder cannot store it.
    fn typed(&self, content_type: &'static str) -> Attributes {
        match &self.backend {
            Backend::Disk(_) => Attributes::new(),
            Backend::Bucket(_) => Attributes::from_iter([(Attribute::ContentType, content_type)]),
        }
    }

    /// Awaits a store operation in a span of its own, and counts its failure.
    async fn counted<T>(
        &self,
        operation: &'static str,
        doing: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let place = match &self.backend {
            Backend::Disk(_) => "disk",
            Backend::Bucket(_) => "bucket",
        };
        let doing = async {
            let done = doing.await;
            done.inspect_err(|error| {
                spans::failed(fault::cause(error));
                failed(place, error);
            })
        };
        doing.instrument(spans::store(operation, place)).await
    }
}

/// Counts a failure of the temp folder.
pub(crate) fn temp_failed(error: &io::Error) {
    failed("temp", error);
}

fn failed(place: &'static str, error: &io::Error) {
    events::store_failed(place, fault::cause(error), error);
}

#[cfg(test)]
mod tests;
