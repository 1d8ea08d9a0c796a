//! Tests good films, films truncated at each byte, and faulty ones; each walk is bounded.

use std::io::{Cursor, Result};

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
use proptest::strategy::Strategy;

use super::*;

/// A film of 3 kB, since tests truncate it at each byte.
fn real() -> Vec<u8> {
    include_bytes!("../../../dev/simulator/films/wide.mp4").to_vec()
}

/// A file that counts its reads.
struct Counted<'b> {
    file: Cursor<&'b [u8]>,
    reads: u32,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        assert!(into.len() <= 16, "{} bytes at once", into.len());
        self.reads += 1;
        self.file.read(into)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.file.seek(to)
    }
}

/// Measures a film that claims to have `length` bytes; also returns the number of reads.
fn walked(bytes: &[u8], length: u64) -> (Film, u32) {
    let mut file = Counted {
        file: Cursor::new(bytes),
        reads: 0,
    };
    let film = measure(&mut file, length);
    (film, file.reads)
}

fn measured(bytes: &[u8]) -> Film {
    let (film, reads) = walked(bytes, bytes.len() as u64);
    assert!(reads <= READS, "{reads}");
    film
}

fn a_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).unwrap();
    [&size.to_be_bytes(), &kind[..], content].concat()
}

/// Moves the header to the front, where films for streaming have it.
fn streamed(film: &[u8]) -> Vec<u8> {
    let moov = film.windows(4).position(|kind| kind == b"moov").unwrap() - 4;
    let mdat = film.windows(4).position(|kind| kind == b"mdat").unwrap() - 4;
    [&film[..mdat], &film[moov..], &film[mdat..moov]].concat()
}

const WHOLE: Film = Film {
    size: Some((320, 180)),
    seconds: Some(5.0),
};

#[test]
fn a_films_size_and_length_are_read_wherever_its_header_is() {
    assert_eq!(measured(&real()), WHOLE);
    assert_eq!(measured(&streamed(&real())), WHOLE);
}

#[test]
fn the_films_that_aborted_the_process_and_never_ended_have_no_measures() {
    let head = a_box(b"ftyp", b"isom\0\0\0\0isom");
    // A child with size 2^50 in a much smaller box.
    let mut huge = [&1_u32.to_be_bytes(), &b"hdlr"[..]].concat();
    huge.extend((1_u64 << 50).to_be_bytes());
    huge.resize(80, 0);
    let meta = a_box(b"meta", &[&[0; 4][..], &huge].concat());
    let abort = [head.clone(), a_box(b"moov", &meta)].concat();
    // A child with size zero.
    let endless = [head, a_box(b"moov", &[&[0; 4][..], b"free"].concat())].concat();

    assert_eq!((abort.len(), endless.len()), (120, 36));
    assert_eq!(measured(&abort), Film::default());
    assert_eq!(measured(&endless), Film::default());
}

#[test]
fn a_film_cut_anywhere_has_no_measures_or_the_right_ones() {
    for film in [real(), streamed(&real())] {
        for length in 0..film.len() {
            let cut = measured(&film[..length]);

            assert!(cut.size.is_none_or(|size| Some(size) == WHOLE.size));
            assert!(
                cut.seconds
                    .is_none_or(|seconds| Some(seconds) == WHOLE.seconds)
            );
            // A file that claims to be longer than it is.
            let (longer, _) = walked(&film[..length], u64::MAX);
            assert!(longer.size.is_none_or(|size| Some(size) == WHOLE.size));
        }
    }
}

#[test]
fn the_number_of_boxes_that_are_read_is_limited() {
    let many = a_box(b"free", b"").repeat(100_000);
    let tracks = a_box(b"trak", b"").repeat(100_000);
    for film in [many.clone(), a_box(b"moov", &many), a_box(b"moov", &tracks)] {
        let (measures, reads) = walked(&film, film.len() as u64);

        assert_eq!((measures, reads), (Film::default(), READS));
    }
}

#[test]
fn sizes_that_lead_nowhere_end_the_walk() {
    let moov = real();
    let moov = &moov[moov.windows(4).position(|kind| kind == b"moov").unwrap() - 4..];
    for size in [2_u32, 7, u32::MAX] {
        let odd = [&size.to_be_bytes(), &b"free"[..], moov].concat();

        let (film, reads) = walked(&odd, odd.len() as u64);
        assert_eq!((film, reads), (Film::default(), 2), "{size}");
    }
    for size in [0_u64, 15, 1 << 40, u64::MAX - 3, u64::MAX] {
        let odd = [b"\0\0\0\x01free", &size.to_be_bytes()[..], moov].concat();

        let (film, reads) = walked(&odd, odd.len() as u64);
        assert_eq!((film, reads), (Film::default(), 3), "{size}");
    }
    let fine = [b"\0\0\0\x01free", &16_u64.to_be_bytes()[..], moov].concat();
    assert_eq!(measured(&fine), WHOLE);
}

#[test]
fn a_box_does_not_reach_beyond_the_one_that_it_is_in() {
    let mut mvhd = vec![0; 100];
    mvhd[12..20].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 9]);
    let mvhd = a_box(b"mvhd", &mvhd);
    let inside = a_box(b"moov", &mvhd);
    let beyond = [a_box(b"moov", &mvhd[..40]), mvhd[40..].to_vec()].concat();

    assert_eq!(measured(&inside).seconds, Some(9.0));
    assert_eq!(measured(&beyond).seconds, None);
}

#[test]
fn an_impossible_length_is_not_reported() {
    let header = |scale: u32, ticks: u32| {
        let mut mvhd = vec![0; 100];
        mvhd[12..16].copy_from_slice(&scale.to_be_bytes());
        mvhd[16..20].copy_from_slice(&ticks.to_be_bytes());
        measured(&a_box(b"moov", &a_box(b"mvhd", &mvhd))).seconds
    };

    assert_eq!(header(600, 900), Some(1.5));
    assert_eq!(
        [header(0, 900), header(600, 0), header(600, u32::MAX)],
        [None; 3]
    );
}

#[test]
fn the_long_form_of_the_headers_is_read() {
    let mut mvhd = vec![1; 1];
    mvhd.resize(112, 0);
    mvhd[20..24].copy_from_slice(&1000_u32.to_be_bytes());
    mvhd[24..32].copy_from_slice(&4_000_000_000_000_u64.to_be_bytes());
    let mut tkhd = vec![1; 1];
    tkhd.resize(96, 0);
    tkhd[88..90].copy_from_slice(&1920_u16.to_be_bytes());
    tkhd[92..94].copy_from_slice(&1080_u16.to_be_bytes());
    let hdlr = |kind: &[u8]| {
        a_box(
            b"mdia",
            &a_box(b"hdlr", &[&[0; 8], kind, &[0; 13]].concat()),
        )
    };
    let track = |kind: &[u8]| a_box(b"trak", &[a_box(b"tkhd", &tkhd), hdlr(kind)].concat());
    let film = |kind: &[u8]| {
        let sound = a_box(b"trak", &[a_box(b"tkhd", &[0; 84]), hdlr(b"soun")].concat());
        measured(&a_box(
            b"moov",
            &[a_box(b"mvhd", &mvhd), sound, track(kind)].concat(),
        ))
    };

    let size = Some((1920, 1080));
    let seconds = Some(4e9);
    assert_eq!(film(b"vide"), Film { size, seconds });
    let size = None;
    assert_eq!(film(b"text"), Film { size, seconds });
}

/// Returns the headers of a film with bytes set, inserted and removed, and with sizes that are powers of two.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let film = streamed(&real());
    let mdat = film.windows(4).position(|kind| kind == b"mdat").unwrap();
    let headers = film[..mdat + 12].to_vec();
    let edit = (any::<usize>(), any::<u8>(), 0..5);
    prop::collection::vec(edit, 1..8).prop_map(move |edits| {
        let mut bytes = headers.clone();
        for (at, byte, edit) in edits {
            let at = at % bytes.len().max(1);
            let odd = 1_u64 << (byte % 64);
            match edit {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => drop(bytes.splice(at..at, odd.wrapping_sub(1).to_be_bytes())),
                _ => {
                    let end = bytes.len().min(at + 4);
                    let size = u32::try_from(odd % (1 << 33)).unwrap_or(0).to_be_bytes();
                    drop(bytes.splice(at..end, size));
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_headers_end_the_walk_within_its_bound(bytes in mutated(), longer in any::<u32>()) {
        for length in [bytes.len() as u64, bytes.len() as u64 + u64::from(longer)] {
            let (film, reads) = walked(&bytes, length);

            prop_assert!(reads <= READS);
            prop_assert!(film.seconds.is_none_or(|seconds| seconds > 0.0 && seconds.is_finite()));
        }
    }
}
