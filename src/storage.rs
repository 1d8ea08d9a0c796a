//! Results on disk: downloaded to a temp folder, checked, put into the store, listed in a manifest.
//!
//! Names are content-addressed below the workflow id, so a second attempt puts the same bytes under the same name and
//! no attempt can spoil another's. A file appears under its name only when it is whole.

mod download;
mod media;
pub mod temp;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;
use url::Url;
use uuid::Uuid;

pub use self::download::{Downloader, Error as DownloadError, Source};
use crate::domain::{Generated, Output, WorkflowId};

/// What was stored for one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The run.
    pub workflow_id: WorkflowId,
    /// Its result, as in the COMPLETED event.
    pub result: Generated,
}

/// The folder of all results.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A downloaded and checked file, ready to be stored.
#[derive(Debug)]
pub struct Checked {
    path: PathBuf,
    bytes: u64,
    sha256: String,
    media: media::Media,
}

const MANIFEST: &str = "manifest.json";

impl Store {
    /// Opens the store at `root` and makes the folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root).await?;
        Ok(Self {
            root: fs::canonicalize(root).await?,
        })
    }

    /// Puts the `index`-th output of a run into the store; done twice, it does no harm.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn put(
        &self,
        workflow: &WorkflowId,
        index: usize,
        file: Checked,
    ) -> io::Result<Output> {
        let Checked {
            path,
            bytes,
            sha256,
            media,
        } = file;
        let short: String = sha256.chars().take(16).collect();
        let target = self
            .folder(workflow)
            .join(format!("{index}-{short}.{}", media.extension));
        fs::create_dir_all(self.folder(workflow)).await?;
        if fs::metadata(&target)
            .await
            .is_ok_and(|there| there.len() == bytes)
        {
            fs::remove_file(&path).await?;
        } else {
            self.move_to(&path, &target).await?;
        }
        let uri = Url::from_file_path(&target)
            .map_err(|()| io::Error::other("the store's path is not absolute"))?;
        Ok(Output {
            uri: uri.to_string(),
            url: None,
            content_type: media.content_type.to_owned(),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            sha256,
            width: media.width,
            height: media.height,
            duration_seconds: media.duration_seconds,
        })
    }

    /// Returns the manifest of a run, if one stands there and all its files do.
    ///
    /// # Errors
    /// When the disk cannot be read; a manifest that is no JSON counts as absent.
    pub async fn manifest(&self, workflow: &WorkflowId) -> io::Result<Option<Manifest>> {
        let text = match fs::read(self.folder(workflow).join(MANIFEST)).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else {
            return Ok(None);
        };
        for output in &manifest.result.outputs {
            let path = Url::parse(&output.uri)
                .ok()
                .and_then(|uri| uri.to_file_path().ok());
            let length = match path {
                Some(path) => fs::metadata(path)
                    .await
                    .map(|there| i64::try_from(there.len()).unwrap_or(-1))
                    .ok(),
                None => None,
            };
            if length != Some(output.bytes) {
                return Ok(None);
            }
        }
        Ok(Some(manifest))
    }

    /// Writes the manifest of a run.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let folder = self.folder(&manifest.workflow_id);
        fs::create_dir_all(&folder).await?;
        let partial = folder.join(partial_name());
        let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
        let written = async {
            fs::write(&partial, text).await?;
            fs::File::open(&partial).await?.sync_all().await?;
            fs::rename(&partial, folder.join(MANIFEST)).await
        };
        discard_unless_done(&partial, written.await).await
    }

    fn folder(&self, workflow: &WorkflowId) -> PathBuf {
        self.root.join(workflow.as_str())
    }

    /// Renames within one file system, else copies; in both cases the name appears with the whole file behind it.
    async fn move_to(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::File::open(from).await?.sync_all().await?;
        match fs::rename(from, to).await {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
            renamed => return renamed,
        }
        let partial = to.with_file_name(partial_name());
        let copied = async {
            fs::copy(from, &partial).await?;
            fs::File::open(&partial).await?.sync_all().await?;
            fs::rename(&partial, to).await?;
            fs::remove_file(from).await
        };
        discard_unless_done(&partial, copied.await).await
    }
}

fn partial_name() -> String {
    format!(".{}.part", Uuid::new_v4().simple())
}

async fn discard_unless_done(partial: &Path, done: io::Result<()>) -> io::Result<()> {
    if done.is_err() && fs::remove_file(partial).await.is_err() {
        tracing::debug!("there was no partial file to remove");
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestId;

    fn workflow() -> WorkflowId {
        RequestId::try_from("r-1".to_owned()).unwrap().run(0)
    }

    async fn checked(folder: &Path) -> Checked {
        let path = folder.join(Uuid::new_v4().to_string());
        fs::write(&path, b"bytes").await.unwrap();
        let media = media::Media {
            content_type: "image/png",
            extension: "png",
            width: None,
            height: None,
            duration_seconds: None,
        };
        Checked {
            path,
            bytes: 5,
            sha256: "ab".repeat(32),
            media,
        }
    }

    #[tokio::test]
    async fn the_same_output_twice_is_stored_once_and_leaves_no_other_file() {
        let folder = crate::storage::temp::tests::folder();
        let store = Store::open(&folder.join("store")).await.unwrap();

        let first = store
            .put(&workflow(), 0, checked(&folder).await)
            .await
            .unwrap();
        let again = store
            .put(&workflow(), 0, checked(&folder).await)
            .await
            .unwrap();

        assert_eq!(first, again);
        assert!(first.uri.ends_with("/r-1/0-abababababababab.png"));
        let names: Vec<_> = std::fs::read_dir(folder.join("store/r-1"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_manifest_counts_only_while_its_files_are_there() {
        let folder = crate::storage::temp::tests::folder();
        let store = Store::open(&folder.join("store")).await.unwrap();
        let output = store
            .put(&workflow(), 0, checked(&folder).await)
            .await
            .unwrap();
        let result = Generated {
            outputs: vec![output.clone()],
            provider: "replicate".to_owned(),
            provider_job_id: "j".to_owned(),
            elapsed_ms: 1,
            cost_usd: None,
        };
        let manifest = Manifest {
            workflow_id: workflow(),
            result,
        };
        store.write_manifest(&manifest).await.unwrap();

        assert_eq!(store.manifest(&workflow()).await.unwrap(), Some(manifest));
        std::fs::remove_file(Url::parse(&output.uri).unwrap().to_file_path().unwrap()).unwrap();
        assert_eq!(store.manifest(&workflow()).await.unwrap(), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
