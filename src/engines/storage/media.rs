//! Detects what a file is from its own bytes; the content type that the provider states does not count.
//!
//! The bytes may come from a third party, so every read is bounded in memory and time. A file whose
//! dimensions cannot be read is stored without them, since it was paid for.

use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;

use super::film;
use crate::domain::Media;

/// Bytes at the start of a file that are read to recognise its format.
const BEGINNING: u64 = 8 * 1024;
/// Bytes of a picture that are searched for its size. Some formats may have it anywhere.
const PICTURE: u64 = 1024 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format {
    pub content_type: &'static str,
    pub extension: &'static str,
    pub width: Option<i32>,
    pub height: Option<i32>,
    pub duration_seconds: Option<f64>,
}

/// Detects the format of a file; `None` if it is not of `kind`. Blocks on the disk.
pub(super) fn sniff(path: &Path, kind: Media) -> std::io::Result<Option<Format>> {
    let file = File::open(path)?;
    let mut head = Vec::new();
    (&file).take(BEGINNING).read_to_end(&mut head)?;
    let Some(found) = infer::get(&head) else {
        return Ok(None);
    };
    let fits = match kind {
        Media::Video => found.matcher_type() == infer::MatcherType::Video,
        Media::Image => found.matcher_type() == infer::MatcherType::Image,
    };
    if !fits {
        return Ok(None);
    }
    let mut media = Format {
        content_type: found.mime_type(),
        extension: found.extension(),
        width: None,
        height: None,
        duration_seconds: None,
    };
    match (kind, media.content_type) {
        (Media::Image, _) => {
            (&file).take(PICTURE - BEGINNING).read_to_end(&mut head)?;
            (media.width, media.height) = picture(&head).unwrap_or_default();
        }
        (_, "video/mp4" | "video/x-m4v" | "video/quicktime") => {
            let film = film::measure(&file, file.metadata()?.len());
            let (width, height) = film.size.unzip();
            media.width = width.map(i32::from);
            media.height = height.map(i32::from);
            media.duration_seconds = film.seconds;
        }
        _ => {}
    }
    Ok(Some(media))
}

/// Returns width and height of a picture from its first bytes, if the library finds them and does not panic.
fn picture(head: &[u8]) -> Option<(Option<i32>, Option<i32>)> {
    let size = catch_unwind(|| imagesize::blob_size(head)).ok()?.ok()?;
    Some((
        i32::try_from(size.width).ok(),
        i32::try_from(size.height).ok(),
    ))
}
