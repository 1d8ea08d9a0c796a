//! Brings a provider's output to disk, in pieces, and checks it: size, content, hash.
//!
//! An address is the provider's to choose, so only the [`guard`](crate::guard) says whether it is called; that holds for
//! each one a redirect leads to. The key goes to the provider's own origin and no further.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode};
use ring::digest;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::{Checked, media};
use crate::config;
use crate::domain::{Kind, hex};
use crate::guard::{self, Guard, Refused};

/// Why an output is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there any more, or not to be had; the provider may give another address.
    #[error("the output is not to be had: {0}")]
    Unavailable(String),
    /// It is there, and is not what was asked for.
    #[error("the output is not what it should be: {0}")]
    Invalid(String),
    /// It is where genflow does not call.
    #[error("the output is not fetched: {0}")]
    Refused(#[from] Refused),
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
    guard: Guard,
    most: u64,
}

/// How long a server may be silent in the midst of a file.
const SILENCE: Duration = Duration::from_secs(60);

/// How often an output may be elsewhere: some providers' addresses lead to a store of files.
const REDIRECTS: usize = 3;

impl Downloader {
    /// Makes a downloader; makes no call.
    ///
    /// # Errors
    /// When there is no guard of its calls.
    pub fn new(config: &config::Worker) -> Result<Self, guard::Unusable> {
        let own = config.base_urls();
        Ok(Self {
            guard: Guard::new("download", &config.egress, own, |client| {
                client.read_timeout(SILENCE)
            })?,
            most: config.max_output_bytes,
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
        let response = self.answer(url, key).await?;
        self.check_size(response.content_length().unwrap_or(0))?;
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

    /// Returns the answer that has the output, wherever redirects lead.
    async fn answer(&self, url: &Url, mut key: Option<&HeaderValue>) -> Result<Response, Error> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.guard.client(&at)?.get(at.clone());
            if let Some(key) = key {
                request = request.header(AUTHORIZATION, key);
            }
            let response = request.send().await.map_err(not_sent)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let next = elsewhere(&response, &at).ok_or_else(|| {
                Error::Unavailable(format!("status {}", response.status().as_u16()))
            })?;
            // Once it has left, nobody that it comes by may send the key back with it.
            key = key.filter(|_| next.origin() == at.origin());
            at = next;
        }
        Err(Error::Unavailable(format!(
            "it is elsewhere more than {REDIRECTS} times"
        )))
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

/// Returns where an answer says the output is, if it does.
fn elsewhere(response: &Response, at: &Url) -> Option<Url> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = response.headers().get(LOCATION)?.to_str().ok()?;
            at.join(location).ok()
        }
        _ => None,
    }
}

fn not_sent(error: reqwest::Error) -> Error {
    Refused::of(&error).map_or_else(|| unavailable(error), Error::Refused)
}

/// Says what went wrong without the address, which may carry a signature.
fn unavailable(error: reqwest::Error) -> Error {
    Error::Unavailable(error.without_url().to_string())
}

#[cfg(test)]
mod tests;
