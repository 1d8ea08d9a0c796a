//! Downloads a provider's output to disk in pieces: limits its size and pace, hashes it, and checks its content.
//!
//! The provider chooses the URL, so [`egress`](crate::engines::egress) decides whether it is called; this
//! holds for each redirect too. The key goes to the provider's own origin only. That origin may be
//! private, but only the provider itself can name it or redirect to it.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use reqwest::header::{HeaderName, HeaderValue, LOCATION};
use reqwest::{ClientBuilder, Response, StatusCode};
use ring::digest;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use url::Url;

use super::temp::TempFile;
use super::{Checked, media};
use crate::domain::{Kind, Media, hex};
use crate::engines::config;
use crate::engines::egress;
use crate::engines::egress::{Guard, Refused};

/// Why an output was not downloaded, or did not pass its check.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The output is gone or cannot be fetched; the provider may give another URL.
    #[error("the output cannot be fetched: {0}")]
    Unavailable(String),
    /// The output is too large, empty, malformed or of another kind, or its URL is not one to download from.
    #[error("the output is invalid: {0}")]
    Invalid(String),
    /// The output is neither of the kind that the run makes, nor a picture of a video.
    #[error("the output is invalid: {0}")]
    OtherKind(String),
    #[error("the output's address is refused: {0}")]
    Refused(#[from] Refused),
    #[error("the output could not be written to disk or read back: {0}")]
    Disk(#[from] io::Error),
}

impl Error {
    /// Returns whether another attempt would fail too.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::OtherKind(_) | Self::Refused(_) => true,
            Self::Unavailable(_) | Self::Disk(_) => false,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Source {
    /// A URL that needs no key; a `data:` URL contains the output itself.
    Open(Url),
    /// A URL of the provider's own, and the key for it.
    Keyed(Url, Option<(HeaderName, HeaderValue)>),
    /// The bytes themselves, as base64.
    Inline(String),
}

#[derive(Clone, Debug)]
pub struct Downloader {
    guard: Guard,
    max_output_bytes: u64,
    timeout: Duration,
    silence: Duration,
}

/// An output on disk that is not checked yet.
#[derive(Debug)]
pub struct Downloaded {
    file: TempFile,
    bytes: u64,
    sha256: String,
}

impl Downloaded {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How long the download of one output may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long a server may send nothing. The same time is subtracted from the wait before the pace is judged.
const SILENCE: Duration = Duration::from_secs(60);
/// The lowest pace of a server in bytes per second, over all the time spent waiting for it.
const SLOWEST: u64 = 32 * 1024;
/// Limit on redirects. Some providers' URLs redirect to a file store.
const REDIRECTS: usize = 3;
/// Time-out of the check of a file, which reads at most a megabyte.
const CHECK_TIME: Duration = Duration::from_secs(30);
/// Characters of base64 decoded at once: a multiple of four, since four characters are three bytes.
const ENCODED: usize = 256 * 1024;

impl Downloader {
    /// Creates a downloader; makes no network call.
    pub fn new(config: &config::Worker) -> Result<Self, egress::UnusableGuard> {
        let patient = |client: ClientBuilder| client.read_timeout(SILENCE);
        Ok(Self {
            guard: Guard::new("download", &config.egress, patient)?,
            max_output_bytes: config.max_output_bytes,
            timeout: DOWNLOAD_TIMEOUT,
            silence: SILENCE,
        })
    }

    /// Downloads to `file` an output that the provider at `base` named. The run may store `run_bytes_left` more bytes.
    pub async fn fetch(
        &self,
        base: &Url,
        source: &Source,
        file: TempFile,
        run_bytes_left: u64,
    ) -> Result<Downloaded, Error> {
        let mut sink = Sink {
            writing: File::create_new(file.path()).await?,
            file,
            hash: digest::Context::new(&digest::SHA256),
            bytes: 0,
            max_bytes: self.max_output_bytes,
            run_bytes_left,
        };
        match source {
            Source::Open(url) if url.scheme() == "data" => inline(encoded(url)?, &mut sink).await?,
            Source::Open(url) => self.download(base, url, None, &mut sink).await?,
            Source::Keyed(url, key) => self.download(base, url, key.as_ref(), &mut sink).await?,
            Source::Inline(text) => inline(text, &mut sink).await?,
        }
        sink.finish().await
    }

    /// Checks that a file is of `kind`, or a picture beside a video, and reads its dimensions.
    ///
    /// # Errors
    /// [`Error::OtherKind`] if it is neither; others if the check fails.
    pub async fn check(&self, found: Downloaded, kind: Media) -> Result<Checked, Error> {
        let path = found.file.path().to_owned();
        let sniffing = tokio::task::spawn_blocking(move || {
            Ok(match (media::sniff(&path, kind)?, kind) {
                (None, Media::Video) => media::sniff(&path, Media::Image)?,
                (format, Media::Video | Media::Image) => format,
            })
        });
        let format = timeout(CHECK_TIME, sniffing)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "its check took too long"))?
            .map_err(|error| Error::Invalid(format!("the check failed: {error}")))?;
        let format: io::Result<_> = format;
        let format = format?;
        let format = format.ok_or_else(|| {
            let kind = Kind::from(kind).as_str().to_lowercase();
            Error::OtherKind(format!("its content is not that of a known {kind} format"))
        })?;
        Ok(Checked {
            file: found.file,
            bytes: found.bytes,
            sha256: found.sha256,
            format,
        })
    }

    async fn download(
        &self,
        base: &Url,
        url: &Url,
        key: Option<&(HeaderName, HeaderValue)>,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        if !matches!(url.scheme(), "http" | "https") {
            let why = format!(
                "its URL has the scheme {}, expected http or https",
                url.scheme()
            );
            return Err(Error::Invalid(why));
        }
        let downloading = async {
            let response = self.answer(base, url, key).await?;
            sink.check(response.content_length().unwrap_or(0))?;
            let mut stream = response.bytes_stream();
            let mut waited = Duration::ZERO;
            loop {
                let asked = Instant::now();
                let Some(piece) = stream.next().await else {
                    return Ok(());
                };
                // Only time spent on the server counts, not that on the disk or on other downloads.
                waited += asked.elapsed();
                sink.write(&piece.map_err(unavailable)?).await?;
                if is_too_slow(sink.bytes, waited, self.silence) {
                    let why = format!("it arrives at less than {SLOWEST} bytes per second");
                    return Err(Error::Unavailable(why));
                }
            }
        };
        let late = |_| {
            let seconds = self.timeout.as_secs();
            Error::Unavailable(format!("it did not arrive within {seconds} s"))
        };
        timeout(self.timeout, downloading).await.map_err(late)?
    }

    /// Follows redirects, and returns the answer that contains the output.
    async fn answer(
        &self,
        base: &Url,
        url: &Url,
        mut key: Option<&(HeaderName, HeaderValue)>,
    ) -> Result<Response, Error> {
        let mut at = url.clone();
        let mut base = Some(base);
        for _ in 0..=REDIRECTS {
            let client = match base {
                Some(base) => self.guard.client_from(base, &at)?,
                None => self.guard.client(&at)?,
            };
            let mut request = client.get(at.clone());
            if let Some((name, key)) = key {
                request = request.header(name, key);
            }
            let response = request.send().await.map_err(not_sent)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let next = elsewhere(&response, &at).ok_or_else(|| {
                Error::Unavailable(format!("status {}", response.status().as_u16()))
            })?;
            // A redirect to another origin drops the key for good. Once a hop is outside the provider's origin, later
            // redirects may no longer lead to addresses that only the provider may name.
            key = key.filter(|_| next.origin() == at.origin());
            base = base.filter(|base| base.origin() == at.origin());
            at = next;
        }
        Err(Error::Unavailable(format!(
            "it redirects more than {REDIRECTS} times"
        )))
    }
}

/// Returns whether a server should have sent more bytes in the time spent waiting for it.
fn is_too_slow(bytes: u64, waited: Duration, silence: Duration) -> bool {
    bytes < waited.saturating_sub(silence).as_secs() * SLOWEST
}

/// A file while it is written: bounded and hashed.
struct Sink {
    file: TempFile,
    writing: File,
    hash: digest::Context,
    bytes: u64,
    max_bytes: u64,
    run_bytes_left: u64,
}

impl Sink {
    /// Checks a number of bytes against the limits.
    fn check(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.max_bytes {
            let why = format!("it is larger than {} bytes", self.max_bytes);
            return Err(Error::Invalid(why));
        }
        if bytes > self.run_bytes_left {
            let why = "with it, the outputs of this run exceed their total size limit";
            return Err(Error::Invalid(why.to_owned()));
        }
        Ok(())
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.bytes += piece.len() as u64;
        self.check(self.bytes)?;
        self.file.grow(self.bytes).await?;
        self.hash.update(piece);
        self.writing.write_all(piece).await?;
        Ok(())
    }

    async fn finish(mut self) -> Result<Downloaded, Error> {
        if self.bytes == 0 {
            return Err(Error::Invalid("it is empty".to_owned()));
        }
        self.writing.flush().await?;
        Ok(Downloaded {
            file: self.file,
            bytes: self.bytes,
            sha256: hex(self.hash.finish().as_ref()),
        })
    }
}

/// Decodes an output that an answer contains.
async fn inline(text: &str, sink: &mut Sink) -> Result<(), Error> {
    for piece in text.as_bytes().chunks(ENCODED) {
        let bytes = BASE64
            .decode(piece)
            .map_err(|error| Error::Invalid(format!("it is not base64: {error}")))?;
        sink.write(&bytes).await?;
    }
    Ok(())
}

/// Returns the base64 text of a `data:` URL, in which some models return small outputs.
fn encoded(url: &Url) -> Result<&str, Error> {
    let split = url.path().split_once(";base64,");
    let encoded = split.map(|(_, encoded)| encoded);
    encoded.ok_or_else(|| Error::Invalid("its data: URL is not base64".to_owned()))
}

/// Returns the target of a redirect, or `None` for any other answer.
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

/// Omits the URL, which may contain a signature.
fn unavailable(error: reqwest::Error) -> Error {
    Error::Unavailable(error.without_url().to_string())
}

#[cfg(test)]
mod tests;
