//! Reads width, height and duration of a film from the headers of an MP4 file that an attacker may have written.
//!
//! genflow walks the boxes (ISO/IEC 14496-12) itself, because the crates that parse MP4 allocate
//! memory by sizes in the file, and a file of 36 bytes sends two of them into an endless loop. Here
//! nothing is allocated, every step moves forward, a box ends within its parent, and the number of
//! reads is bounded. A faulty box ends the walk; values found before it count.

use std::io::{Read, Seek, SeekFrom};

/// Limit on the reads of one walk, each of at most 16 bytes. A real film takes about a hundred.
const READS: u32 = 10_000;

/// The values in the headers, if found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Film {
    /// Width and height of the first video track, in pixels.
    pub(super) size: Option<(u16, u16)>,
    /// Duration in seconds.
    pub(super) seconds: Option<f64>,
}

/// Reads the headers of a film of `length` bytes.
pub(super) fn measure(file: impl Read + Seek, length: u64) -> Film {
    let mut walk = Walk { file, left: READS };
    let mut film = Film::default();
    let Some(moov) = walk.find(&mut Span(0, length), b"moov") else {
        return film;
    };
    film.seconds = walk
        .find(&mut moov.clone(), b"mvhd")
        .and_then(|mvhd| walk.seconds(&mvhd));
    let mut rest = moov;
    while film.size.is_none()
        && let Some(trak) = walk.find(&mut rest, b"trak")
    {
        film.size = walk.size(&trak);
    }
    film
}

/// A part of a file: its first byte, and the one after its last.
#[derive(Clone, Debug)]
struct Span(u64, u64);

struct Walk<F> {
    file: F,
    /// How many reads are left.
    left: u32,
}

impl<F: Read + Seek> Walk<F> {
    /// Returns the content of the first box of this kind in `span`, and moves the start of `span` after it.
    fn find(&mut self, span: &mut Span, kind: &[u8; 4]) -> Option<Span> {
        loop {
            let (found, content) = self.next(span)?;
            if found == *kind {
                return Some(content);
            }
        }
    }

    /// Returns kind and content of the box at the start of `span`, and moves the start to the next box.
    fn next(&mut self, span: &mut Span) -> Option<([u8; 4], Span)> {
        let Span(at, end) = *span;
        let short = u64::from(u32::from_be_bytes(self.read(span, 0)?));
        let kind = self.read(span, 4)?;
        let (head, size) = match short {
            // The box extends to the end of its parent.
            0 => (8, end - at),
            1 => (16, u64::from_be_bytes(self.read(span, 8)?)),
            size => (8, size),
        };
        let next = at.checked_add(size).filter(|next| *next <= end)?;
        if size < head {
            return None;
        }
        span.0 = next;
        Some((kind, Span(at + head, next)))
    }

    /// Reads `N` bytes at an offset into `span`.
    fn read<const N: usize>(&mut self, span: &Span, offset: u64) -> Option<[u8; N]> {
        let at = span.0.checked_add(offset)?;
        if at.checked_add(N as u64)? > span.1 {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.file.seek(SeekFrom::Start(at)).ok()?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Reads the duration of the film from its header.
    fn seconds(&mut self, mvhd: &Span) -> Option<f64> {
        let [version] = self.read(mvhd, 0)?;
        let (scale, ticks) = match version {
            0 => (12, u64::from(u32::from_be_bytes(self.read(mvhd, 16)?))),
            _ => (20, u64::from_be_bytes(self.read(mvhd, 24)?)),
        };
        let scale = u32::from_be_bytes(self.read(mvhd, scale)?);
        // All ones mean "unknown", as does zero in a fragmented film.
        let is_known = !matches!(ticks, 0 | 0xffff_ffff | u64::MAX);
        (scale > 0 && is_known).then(|| ticks as f64 / f64::from(scale))
    }

    /// Reads the size of a video track. It is a fixed-point number, of which only the integer part is used.
    fn size(&mut self, trak: &Span) -> Option<(u16, u16)> {
        let mut mdia = self.find(&mut trak.clone(), b"mdia")?;
        let hdlr = self.find(&mut mdia, b"hdlr")?;
        if &self.read(&hdlr, 8)? != b"vide" {
            return None;
        }
        let tkhd = self.find(&mut trak.clone(), b"tkhd")?;
        let [version] = self.read(&tkhd, 0)?;
        let [w0, w1, _, _, h0, h1, _, _] = self.read(&tkhd, if version == 0 { 76 } else { 88 })?;
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        (width > 0 && height > 0).then_some((width, height))
    }
}

#[cfg(test)]
mod tests;
