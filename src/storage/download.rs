//! Brings a provider's output to disk, in pieces, and checks it: size, content, hash.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, header::HeaderValue};
use ring::digest;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::{Checked, media};
use crate::domain::{Kind, hex};
use crate::http;

/// Why an output is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there any more, or not to be had; the provider may give another address.
    #[error("the output is not to be had: {0}")]
    Unavailable(String),
    /// It is there, and is not what was asked for.
    #[error("the output is not what it should be: {0}")]
    Invalid(String),
    /// The disk did not take it.
    #[error("the output could not be written")]
    Disk(#[from] std::io::Error),
}

/// Where an output is to be had.
#[derive(Clone, Debug)]
pub enum Source {
    /// Anybody may fetch it; a `data:` URL is the output itself.
    Open(Url),
    /// The provider's own address, and the key that opens it.
    Keyed(Url, Option<HeaderValue>),
    /// The bytes themselves, as base64.
    Inline(String),
}

/// Downloads outputs.
#[derive(Clone, Debug)]
pub struct Downloader {
    client: Client,
    most: u64,
}

/// How long a server may be silent in the midst of a file.
const SILENCE: Duration = Duration::from_secs(60);

impl Downloader {
    /// Makes a downloader of files of at most `most` bytes.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(most: u64) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: http::client().read_timeout(SILENCE).build()?,
            most,
        })
    }

    /// Brings an output into `folder` and checks that it is of `kind`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fetch(
        &self,
        source: &Source,
        folder: &Path,
        index: usize,
        kind: Kind,
    ) -> Result<Checked, Error> {
        let path = folder.join(index.to_string());
        let (bytes, sha256) = match source {
            Source::Open(url) => match url.scheme() {
                "http" | "https" => self.download(url, None, &path).await?,
                "data" => self.inline(encoded(url)?, &path).await?,
                other => return Err(Error::Invalid(format!("its address is {other}:"))),
            },
            Source::Keyed(url, key) => self.download(url, key.as_ref(), &path).await?,
            Source::Inline(text) => self.inline(text, &path).await?,
        };
        if bytes == 0 {
            return Err(Error::Invalid("it is empty".to_owned()));
        }
        let checked = path.clone();
        let media = tokio::task::spawn_blocking(move || media::sniff(&checked, kind))
            .await
            .map_err(|error| Error::Invalid(format!("looking at it went wrong: {error}")))??;
        let media = media.ok_or_else(|| {
            Error::Invalid(format!(
                "its bytes are not of a {}",
                kind.as_str().to_lowercase()
            ))
        })?;
        Ok(Checked {
            path,
            bytes,
            sha256,
            media,
        })
    }

    async fn download(
        &self,
        url: &Url,
        key: Option<&HeaderValue>,
        path: &PathBuf,
    ) -> Result<(u64, String), Error> {
        let mut request = self.client.get(url.clone());
        if let Some(key) = key {
            request = request.header(AUTHORIZATION, key);
        }
        let response = request.send().await.map_err(unavailable)?;
        if !response.status().is_success() {
            return Err(Error::Unavailable(format!(
                "status {}",
                response.status().as_u16()
            )));
        }
        let mut file = File::create(path).await?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut bytes = 0_u64;
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(unavailable)?;
            bytes += piece.len() as u64;
            self.check_size(bytes)?;
            hash.update(&piece);
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Ok((bytes, hex(hash.finish().as_ref())))
    }

    async fn inline(&self, text: &str, path: &Path) -> Result<(u64, String), Error> {
        let bytes = BASE64
            .decode(text)
            .map_err(|error| Error::Invalid(format!("it is not base64: {error}")))?;
        self.check_size(bytes.len() as u64)?;
        tokio::fs::write(path, &bytes).await?;
        Ok((
            bytes.len() as u64,
            hex(digest::digest(&digest::SHA256, &bytes).as_ref()),
        ))
    }

    fn check_size(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.most {
            let most = self.most;
            return Err(Error::Invalid(format!("it is larger than {most} bytes")));
        }
        Ok(())
    }
}

/// Models with small outputs answer with the bytes themselves, in a `data:` URL.
fn encoded(url: &Url) -> Result<&str, Error> {
    let split = url.path().split_once(";base64,");
    let encoded = split.map(|(_, encoded)| encoded);
    encoded.ok_or_else(|| Error::Invalid("its data: address is not base64".to_owned()))
}

/// Says what went wrong without the address, which may carry a signature.
fn unavailable(error: reqwest::Error) -> Error {
    Error::Unavailable(error.without_url().to_string())
}
