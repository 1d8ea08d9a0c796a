//! Tests the store for `genflow doctor`: writes, reads and removes a file of its own.

use std::io;
use std::time::Duration;

use object_store::path::Path as Location;
use object_store::signer::{Method, Signer as _};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload};
use uuid::Uuid;

use super::fault::ask;
use super::{Backend, Bucket, Store};
use crate::engines::http;

/// Time-out of the download from a signed URL.
const FETCH_TIME: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Trial {
    /// The steps and their results, up to the first failure.
    pub steps: Vec<(&'static str, io::Result<()>)>,
    /// Whether the server refused to replace a file; `None` if that was not tried or failed for another reason.
    pub create_only: Option<bool>,
    /// Whether a signed URL could be fetched; `None` if none is configured or it was not tried.
    pub signed: Option<io::Result<()>>,
}

impl Store {
    /// Returns where results are stored, for display.
    pub fn shown(&self) -> String {
        match &self.backend {
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
        let Backend::Bucket(bucket) = &self.backend else {
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
                trial.create_only = bucket.is_create_only(&location).await;
                trial.signed = bucket.fetch_signed(&location).await;
                trial.step(
                    "begin and abort an upload in parts",
                    bucket.abort_parts(&location).await,
                );
            }
            trial.step("delete", ask(bucket.client.delete(&location)).await);
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
        match ask(self.client.head(location)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) => Err(io::Error::other(
                "a file exists under a name that was never used",
            )),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, location: &Location) -> io::Result<()> {
        let payload = PutPayload::from_static(CONTENT);
        let options = PutMode::Create.into();
        ask(self.client.put_opts(location, payload, options)).await?;
        Ok(())
    }

    async fn is_create_only(&self, location: &Location) -> Option<bool> {
        match self.write(location).await {
            Ok(()) => Some(false),
            Err(error) => (error.kind() == io::ErrorKind::AlreadyExists).then_some(true),
        }
    }

    async fn abort_parts(&self, location: &Location) -> io::Result<()> {
        ask(async { self.client.put_multipart(location).await?.abort().await }).await
    }

    async fn fetch_signed(&self, location: &Location) -> Option<io::Result<()>> {
        self.url_ttl?;
        let minute = Duration::from_secs(60);
        let signing = self.client.signed_url(Method::GET, location, minute);
        let fetching = async {
            let url = ask(signing).await?;
            let client = http::client().timeout(FETCH_TIME);
            let client = client.build().map_err(io::Error::other)?;
            // Without the URL: it contains a signature.
            let unanswered = |error: reqwest::Error| io::Error::other(error.without_url());
            let answer = client.get(url).send().await.map_err(unanswered)?;
            if !answer.status().is_success() {
                let status = answer.status().as_u16();
                return Err(io::Error::other(format!(
                    "the server answers with status {status}"
                )));
            }
            same(&answer.bytes().await.map_err(unanswered)?)
        };
        Some(fetching.await)
    }
}
