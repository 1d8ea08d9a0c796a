//! Results: downloaded to a temp folder, checked, put into the store, listed in a manifest.
//!
//! The store is a folder or a bucket, through the `object_store` crate. Names are content-addressed below the
//! workflow id, so a second attempt writes the same bytes under the same name, and no attempt can damage
//! another's file. A file appears under its name only when it is complete, and is never replaced. Only a
//! manifest is replaced, by a later run of the same id; it counts only for the content that it was written for.

mod disk;
mod download;
pub(crate) mod fault;
mod film;
mod job;
mod media;
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
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::fs;
use url::Url;

pub use self::download::{Downloaded, Downloader, Error as DownloadError, Source};
use self::temp::TempFile;
pub use self::trial::Trial;
use self::upload::Uploads;
use crate::domain::{Generated, Output, WorkflowId};
use crate::engines::config;
use crate::engines::telemetry::events;

/// The stored result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Id of the run.
    pub workflow_id: WorkflowId,
    /// Fingerprint of its request.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Its result, as in the COMPLETED event.
    pub result: Generated,
}

/// The result store.
#[derive(Clone, Debug)]
pub struct Store {
    place: Backend,
    objects: Arc<dyn ObjectStore>,
    uploads: Uploads,
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

const MANIFEST: &str = "manifest.json";
/// Time-out of every operation except the upload of an output.
const ASK_TIME: Duration = Duration::from_secs(30);

impl Manifest {
    /// Returns whether it belongs to a request with this fingerprint. One without a fingerprint may belong to any.
    fn is_of(&self, fingerprint: Option<&str>) -> bool {
        self.fingerprint.is_some() && self.fingerprint.as_deref() == fingerprint
    }
}

impl Store {
    /// Opens the configured store: creates the folder, or the client of the bucket, without a call.
    ///
    /// # Errors
    /// If the folder or the client cannot be created.
    pub fn open(settings: &config::Worker) -> io::Result<Self> {
        let (place, objects): (_, Arc<dyn ObjectStore>) = match &settings.s3 {
            None => {
                let (root, objects) = disk::open(&settings.results_dir)?;
                (Backend::Disk(root), Arc::new(objects))
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
                (Backend::Bucket(Arc::new(bucket)), Arc::new(client))
            }
        };
        Ok(Self {
            place,
            objects,
            uploads: Uploads::new(),
        })
    }

    /// Returns the same store with upload slots of its own: its uploads do not wait for those of `self`.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            uploads: self.uploads.apart(),
            ..self.clone()
        }
    }

    /// Waits until abandoned uploads have removed their parts.
    pub async fn close(&self) {
        self.uploads.close().await;
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
        let put = self.put_file(workflow, index, file).await;
        self.counted(put)
    }

    /// Returns the manifest of a run, if one for this content exists and so do all its files.
    ///
    /// Another request may have used the id before, or in another namespace. Its result does not count.
    ///
    /// # Errors
    /// If the store cannot be read. A manifest that is not JSON counts as absent.
    pub async fn manifest(
        &self,
        workflow: &WorkflowId,
        fingerprint: Option<&str>,
    ) -> io::Result<Option<Manifest>> {
        let read = self.read_manifest(workflow, fingerprint).await;
        self.counted(read)
    }

    /// Writes the manifest of a run, over that of an earlier run of the same id, so that the newest is found.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let write = self.write_json(&manifest.workflow_id, MANIFEST, manifest);
        self.counted(write.await)
    }

    /// Writes a small file, over one with the same name.
    async fn write_json(
        &self,
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
        let writing = async {
            let put = self.objects.put_opts(&location, text.into(), options).await;
            put.map(drop).map_err(fault::of_store)
        };
        fault::within(ASK_TIME, writing).await
    }

    /// Reads a small file; `None` if it is absent or has a format that this version does not write.
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

    async fn put_file(
        &self,
        workflow: &WorkflowId,
        index: usize,
        file: Checked,
    ) -> io::Result<Output> {
        let short: String = file.sha256.chars().take(16).collect();
        let name = format!("{index}-{short}.{}", file.format.extension);
        let location = self.location(workflow, &name)?;
        if !self.has(&location, file.bytes).await? {
            self.bring(&file, &location).await?;
        }
        // A rename has already moved the file. Otherwise it is removed now, not with the attempt's
        // folder: the temp disk may have room for few outputs only.
        match fs::remove_file(file.file.path()).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Output {
            uri: self.uri(&location)?,
            url: self.url(&location).await?,
            content_type: file.format.content_type.to_owned(),
            bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
            sha256: file.sha256,
            width: file.format.width,
            height: file.format.height,
            duration_seconds: file.format.duration_seconds,
        })
    }

    /// Stores a file under a name that does not exist yet.
    async fn bring(&self, file: &Checked, location: &Location) -> io::Result<()> {
        let attributes = self.typed(file.format.content_type);
        let in_parts = || {
            let (store, to) = (self.objects.clone(), location.clone());
            let uploads = &self.uploads;
            uploads.put_in_parts(store, to, file.file.path(), file.bytes, attributes.clone())
        };
        match &self.place {
            Backend::Disk(root) => {
                let target = root.join(location.as_ref());
                if !disk::rename(file.file.path().to_owned(), target.clone()).await? {
                    in_parts().await?;
                    disk::tidy(target).await?;
                }
                Ok(())
            }
            Backend::Bucket(_) if file.bytes > upload::PART => in_parts().await,
            Backend::Bucket(_) => {
                let objects = self.objects.as_ref();
                let put = self
                    .uploads
                    .put_whole(objects, location, file.file.path(), attributes.clone())
                    .await;
                match put {
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

    /// Returns whether the object exists. A different length is an error, since names contain the
    /// hash of the content.
    async fn has(&self, location: &Location, bytes: u64) -> io::Result<bool> {
        match self.length(location).await? {
            None => Ok(false),
            Some(length) if length == bytes => Ok(true),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file of another length has the output's name",
            )),
        }
    }

    async fn length(&self, location: &Location) -> io::Result<Option<u64>> {
        let looking = async {
            match self.objects.head(location).await {
                Ok(there) => Ok(Some(there.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(fault::of_store(error)),
            }
        };
        fault::within(ASK_TIME, looking).await
    }

    async fn read(&self, location: &Location) -> io::Result<Vec<u8>> {
        let reading = async {
            let got = self.objects.get(location).await.map_err(fault::of_store)?;
            let bytes = got.bytes().await.map_err(fault::of_store)?;
            Ok(bytes.to_vec())
        };
        fault::within(ASK_TIME, reading).await
    }

    async fn read_manifest(
        &self,
        workflow: &WorkflowId,
        fingerprint: Option<&str>,
    ) -> io::Result<Option<Manifest>> {
        let Some(manifest) = self.read_json::<Manifest>(workflow, MANIFEST).await? else {
            return Ok(None);
        };
        if !manifest.is_of(fingerprint) {
            tracing::warn!(%workflow, "ignored a manifest: a request with this id but different content wrote it");
            return Ok(None);
        }
        for output in &manifest.result.outputs {
            let name = output.uri.rsplit('/').next().unwrap_or_default();
            let Ok(location) = self.location(workflow, name) else {
                return Ok(None);
            };
            // A file in a former folder or bucket is not in this store.
            if self.uri(&location)? != output.uri {
                return Ok(None);
            }
            let length = self.length(&location).await?;
            if length.and_then(|length| i64::try_from(length).ok()) != Some(output.bytes) {
                return Ok(None);
            }
        }
        Ok(Some(manifest))
    }

    /// `Location::join` would write the `~` of a retry as `%7E`.
    fn location(&self, workflow: &WorkflowId, name: &str) -> io::Result<Location> {
        let prefix = match &self.place {
            Backend::Disk(_) => "",
            Backend::Bucket(bucket) => &bucket.prefix,
        };
        Location::parse(format!("{prefix}{workflow}/{name}")).map_err(io::Error::other)
    }

    fn uri(&self, location: &Location) -> io::Result<String> {
        match &self.place {
            Backend::Disk(root) => Url::from_file_path(root.join(location.as_ref()))
                .map(String::from)
                .map_err(|()| io::Error::other("the store's path is not absolute")),
            Backend::Bucket(bucket) => Ok(format!("s3://{}/{location}", bucket.name)),
        }
    }

    /// Returns a signed URL from which anyone can fetch the file for a while, if configured.
    async fn url(&self, location: &Location) -> io::Result<Option<String>> {
        let Backend::Bucket(bucket) = &self.place else {
            return Ok(None);
        };
        let Some(ttl) = bucket.url_ttl else {
            return Ok(None);
        };
        let signing = async {
            let signed = bucket.client.signed_url(Method::GET, location, ttl).await;
            signed.map_err(fault::of_store)
        };
        let url = fault::within(ASK_TIME, signing).await?;
        Ok(Some(url.into()))
    }

    /// Returns the content type for a bucket; a folder cannot store it.
    fn typed(&self, content_type: &'static str) -> Attributes {
        match &self.place {
            Backend::Disk(_) => Attributes::new(),
            Backend::Bucket(_) => Attributes::from_iter([(Attribute::ContentType, content_type)]),
        }
    }

    fn counted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            let place = match &self.place {
                Backend::Disk(_) => "disk",
                Backend::Bucket(_) => "bucket",
            };
            events::store_failed(place, fault::cause(error), error);
        })
    }
}

/// Counts a failure of the temp folder.
pub(crate) fn temp_failed(error: &io::Error) {
    events::store_failed("temp", fault::cause(error), error);
}

#[cfg(test)]
mod tests;
