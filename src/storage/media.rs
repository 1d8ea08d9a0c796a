//! What a file is, by its own bytes: the provider's word for it does not count.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::domain::Kind;

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
    let mut head = Vec::with_capacity(8192);
    File::open(path)?.take(8192).read_to_end(&mut head)?;
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
    let (width, height, duration_seconds) = match found.mime_type() {
        "video/mp4" => film(path).unwrap_or_default(),
        _ => picture(path),
    };
    let (content_type, extension) = (found.mime_type(), found.extension());
    Ok(Some(Media {
        content_type,
        extension,
        width,
        height,
        duration_seconds,
    }))
}

type Measures = (Option<i32>, Option<i32>, Option<f64>);

fn picture(path: &Path) -> Measures {
    match imagesize::size(path) {
        Ok(size) => (
            i32::try_from(size.width).ok(),
            i32::try_from(size.height).ok(),
            None,
        ),
        Err(_) => Measures::default(),
    }
}

/// Reads a film's measures where the container tells them in a way we understand; a film without them is stored too.
fn film(path: &Path) -> Option<Measures> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let film = mp4::Mp4Reader::read_header(BufReader::new(file), length).ok()?;
    let track = film
        .tracks()
        .values()
        .find(|track| matches!(track.track_type(), Ok(mp4::TrackType::Video)))?;
    Some((
        Some(i32::from(track.width())),
        Some(i32::from(track.height())),
        Some(film.duration().as_secs_f64()),
    ))
}
