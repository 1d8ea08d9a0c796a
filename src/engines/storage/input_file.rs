//! Input files of a request that are on a person's disk: put into the bucket, from where a provider reads them by a
//! signed URL.

use std::io;
use std::path::Path;
use std::time::Duration;

use object_store::path::Path as Location;
use object_store::signer::{Method, Signer as _};
use ring::digest::{SHA256, digest};
use tokio::fs;
use url::Url;

use super::fault::ask;
use super::upload::PART;
use super::{Backend, Store, media};
use crate::domain::{Media, hex};

/// How long a provider can read the file: S3's limit, because a request may wait long before its model reads it.
const READABLE: Duration = Duration::from_secs(7 * 86_400);
/// Limit on a file in bytes; it is sent in one request.
const LARGEST: u64 = PART;

impl Store {
    /// Stores a picture or video under `inputs/`, named by its content, and returns a URL from which anyone can read it
    /// for seven days.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if the store is a folder, [`io::ErrorKind::InvalidData`] if the file is not a
    /// picture or a video, [`io::ErrorKind::FileTooLarge`] above 8 MiB; otherwise what the disk or the store reports.
    pub async fn share_input(&self, file: &Path) -> io::Result<Url> {
        let Backend::Bucket(bucket) = &self.backend else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a provider cannot read the results folder; set S3_BUCKET, or give a URL",
            ));
        };
        let format = format(file).await?;
        let bytes = fs::read(file).await?;
        let hash = hex(digest(&SHA256, &bytes).as_ref());
        let name = format!("{}inputs/{hash}.{}", bucket.prefix, format.extension);
        let location = Location::parse(name).map_err(io::Error::other)?;
        let attributes = self.typed(format.content_type);
        let objects = self.objects.as_ref();
        let putting = self.uploads.put_whole(objects, &location, file, attributes);
        match putting.await {
            // Its name says that it has the same content.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            put => put?,
        }
        ask(bucket.client.signed_url(Method::GET, &location, READABLE)).await
    }
}

/// Checks a file without storing it; the errors are those of [`Store::share_input`] about the file.
///
/// # Errors
/// See [`Store::share_input`].
pub async fn check_input(file: &Path) -> io::Result<()> {
    format(file).await.map(|_| ())
}

async fn format(file: &Path) -> io::Result<media::Format> {
    let bytes = fs::metadata(file).await?.len();
    if bytes > LARGEST {
        let problem = format!("has {bytes} bytes, expected at most {LARGEST}; give a URL");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    let path = file.to_owned();
    let sniffing = tokio::task::spawn_blocking(move || {
        let picture = media::sniff(&path, Media::Image)?;
        Ok(match picture {
            Some(picture) => Some(picture),
            None => media::sniff(&path, Media::Video)?,
        })
    });
    let format: io::Result<_> = sniffing.await.map_err(io::Error::other)?;
    format?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "is not a picture or a video; expected a file such as frame.png or clip.mp4",
        )
    })
}
