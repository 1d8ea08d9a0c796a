//! What a file is, by its own bytes: the provider's word for it does not count.
//!
//! The bytes may be a stranger's, so no look takes more memory or time than its bounds, whatever they say. A file
//! whose measures cannot be read is stored without them: it was paid for.

use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;

use super::film;
use crate::domain::Kind;

/// The format of a file is recognised by its first bytes.
const BEGINNING: u64 = 8 * 1024;
/// How much of a picture is searched for its size. Some formats can have it anywhere.
const PICTURE: u64 = 1024 * 1024;

/// What a file is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Media {
    pub content_type: &'static str,
    pub extension: &'static str,
    pub width: Option<i32>,
    pub height: Option<i32>,
    pub duration_seconds: Option<f64>,
}

/// Looks at a file; `None` when it is not of `kind`. Blocks on the disk.
pub(super) fn sniff(path: &Path, kind: Kind) -> std::io::Result<Option<Media>> {
    let file = File::open(path)?;
    let mut head = Vec::new();
    (&file).take(BEGINNING).read_to_end(&mut head)?;
    let Some(found) = infer::get(&head) else {
        return Ok(None);
    };
    let fits = match kind {
        Kind::Video => found.matcher_type() == infer::MatcherType::Video,
        Kind::Image => found.matcher_type() == infer::MatcherType::Image,
        Kind::Batch | Kind::Unknown => false,
    };
    if !fits {
        return Ok(None);
    }
    let mut media = Media {
        content_type: found.mime_type(),
        extension: found.extension(),
        width: None,
        height: None,
        duration_seconds: None,
    };
    match (kind, media.content_type) {
        (Kind::Image, _) => {
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

/// Returns width and height of a picture by its beginning, if the library for it finds them, and does not panic.
fn picture(head: &[u8]) -> Option<(Option<i32>, Option<i32>)> {
    let size = catch_unwind(|| imagesize::blob_size(head)).ok()?.ok()?;
    Some((
        i32::try_from(size.width).ok(),
        i32::try_from(size.height).ok(),
    ))
}
