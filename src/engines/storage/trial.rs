//! Tests the store for `genflow doctor`: writes, reads and removes a file of its own.

use std::io;
use std::time::Duration;

use object_store::path::Path as Location;
use object_store::signer::{Method, Signer as _};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload};
use uuid::Uuid;

use super::{ASK_TIME, Backend, Bucket, Store, fault};
use crate::engines::http;

/// The result of a trial.
#[derive(Debug)]
pub struct Trial {
    /// The steps and their results, up to the first failure.
    pub steps: Vec<(&'static str, io::Result<()>)>,
    /// Whether the server refused to replace a file; `None` if that was not tried.
    pub create_only: Option<bool>,
    /// Whether a signed URL could be fetched; `None` if none is configured or it was not tried.
    pub signed: Option<io::Result<()>>,
}

impl Store {
    /// Returns where results are stored, for display.
    pub fn shown(&self) -> String {
        match &self.place {
            Backend::Disk(root) => root.display().to_string(),
            Backend::Bucket(bucket) => format!("s3://{}/{}", bucket.name, bucket.prefix),
        }
    }

    /// Tries what the worker does with a bucket, on a file that it removes again. Tries nothing on a folder.
    pub async fn trial(&self) -> Trial {
        let mut trial = Trial {
            steps: Vec::new(),
            create_only: None,
            signed: None,
        };
        let Backend::Bucket(bucket) = &self.place else {
            return trial;
        };
        let name = format!("{}.genflow-doctor-{}", bucket.prefix, Uuid::new_v4());
        let location = match Location::parse(name) {
            Ok(location) => location,
            Err(error) => {
                trial.steps.push(("name", Err(io::Error::other(error))));
                return trial;
            }
        };
        if trial.step("look for", bucket.lacks(&location).await)
            && trial.step("write", bucket.write(&location).await)
        {
            let read = self.read(&location).await;
            if trial.step("read", read.and_then(|bytes| same(&bytes))) {
                trial.create_only = bucket.refuses(&location).await.ok();
                trial.signed = bucket.fetch_signed(&location).await;
                trial.step(
                    "begin and abort an upload in parts",
                    bucket.parts(&location).await,
                );
            }
            trial.step("delete", bucket.delete(&location).await);
        }
        trial
    }
}

const CONTENT: &[u8] = b"genflow doctor was here";

fn same(bytes: &[u8]) -> io::Result<()> {
    if bytes == CONTENT {
        Ok(())
    } else {
        Err(io::Error::other("the bytes read are not those written"))
    }
}

impl Trial {
    fn step(&mut self, what: &'static str, done: io::Result<()>) -> bool {
        let good = done.is_ok();
        self.steps.push((what, done));
        good
    }
}

impl Bucket {
    /// An unused name must be reported as missing: without the right to list, S3 answers "denied" instead.
    async fn lacks(&self, location: &Location) -> io::Result<()> {
        let looking = async {
            match self.client.head(location).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                Ok(_) => Err(io::Error::other(
                    "a file exists under a name that was never used",
                )),
                Err(error) => Err(fault::of_store(error)),
            }
        };
        fault::within(ASK_TIME, looking).await
    }

    async fn write(&self, location: &Location) -> io::Result<()> {
        let writing = async {
            let payload = PutPayload::from_static(CONTENT);
            let put = self
                .client
                .put_opts(location, payload, PutMode::Create.into());
            put.await.map(drop).map_err(fault::of_store)
        };
        fault::within(ASK_TIME, writing).await
    }

    async fn refuses(&self, location: &Location) -> io::Result<bool> {
        match self.write(location).await {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn parts(&self, location: &Location) -> io::Result<()> {
        let trying = async {
            let mut upload = self
                .client
                .put_multipart(location)
                .await
                .map_err(fault::of_store)?;
            upload.abort().await.map_err(fault::of_store)
        };
        fault::within(ASK_TIME, trying).await
    }

    async fn delete(&self, location: &Location) -> io::Result<()> {
        let deleting = async { self.client.delete(location).await.map_err(fault::of_store) };
        fault::within(ASK_TIME, deleting).await
    }

    async fn fetch_signed(&self, location: &Location) -> Option<io::Result<()>> {
        self.url_ttl?;
        let fetching = async {
            let short = Duration::from_secs(60);
            let signed = self.client.signed_url(Method::GET, location, short).await;
            let url = signed.map_err(fault::of_store)?;
            let client = http::client().build().map_err(io::Error::other)?;
            let answer = client.get(url).send().await;
            let answer = answer.map_err(|error| io::Error::other(error.without_url()))?;
            if !answer.status().is_success() {
                let status = answer.status().as_u16();
                return Err(io::Error::other(format!(
                    "the server answers with status {status}"
                )));
            }
            let bytes = answer.bytes().await;
            same(&bytes.map_err(|error| io::Error::other(error.without_url()))?)
        };
        Some(fault::within(ASK_TIME, fetching).await)
    }
}
