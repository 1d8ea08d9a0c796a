//! The files: real PNG and MP4 bytes, cheap to create and the same each time.
//!
//! Images have the requested size, and colours that depend only on the prompt and the index, so two prompts give two
//! different files. Videos have the requested length, and of three shapes the one nearest to the requested shape. They
//! are made from films of 5 s, in which a light bar crosses the picture (H.264, made with ffmpeg).

use ring::digest;

use super::order::{JobOutput, Order};
use super::script::OutputFault;

const WIDE: &[u8] = include_bytes!("films/wide.mp4");
const TALL: &[u8] = include_bytes!("films/tall.mp4");
const SQUARE: &[u8] = include_bytes!("films/square.mp4");
/// The length of each film, in the ticks of its headers.
const FILM_TICKS: f64 = 100_000_000.0;

/// The name of a video's poster frame.
pub(super) const POSTER: &str = "poster.png";

/// A content type and the bytes of a file, or why it could not be created.
pub(super) type MadeFile = Result<(&'static str, Vec<u8>), png::EncodingError>;

/// Returns the file `name` of `order`, or `None` if it has no such file. If the script asks for it, the file is one of
/// the other kind.
pub(super) fn file(order: &Order, name: &str) -> Option<MadeFile> {
    if order.script.poster && name == POSTER {
        return Some(picture(&order.prompt, 0, 64, 64));
    }
    let index = names(&order.media).iter().position(|known| known == name)?;
    let other_kind = order.script.output == Some(OutputFault::OtherKind);
    Some(match order.media {
        JobOutput::Images { .. } if other_kind => Ok(film(1, 1, 1.0)),
        JobOutput::Video { .. } if other_kind => picture(&order.prompt, 0, 64, 64),
        JobOutput::Images { width, height, .. } => picture(&order.prompt, index, width, height),
        JobOutput::Video {
            width,
            height,
            seconds,
        } => Ok(film(width, height, seconds)),
    })
}

/// Returns the names of the files of `media`, in the order of their index.
pub(super) fn names(media: &JobOutput) -> Vec<String> {
    match media {
        JobOutput::Images { count, .. } => {
            (0..*count).map(|index| format!("{index}.png")).collect()
        }
        JobOutput::Video { .. } => vec!["0.mp4".to_owned()],
    }
}

/// Draws a slanted gradient of two colours; a palette keeps it at one byte per pixel.
fn picture(prompt: &str, index: usize, width: u32, height: u32) -> MadeFile {
    let hash = digest::digest(&digest::SHA256, format!("{index} {prompt}").as_bytes());
    let mixed = |channel: usize, at: u32| {
        let [from, to] = [channel, channel + 3].map(|byte| u32::from(hash.as_ref()[byte]));
        ((from * (255 - at) + to * at) / 255) as u8
    };
    let palette: Vec<u8> = (0..=255)
        .flat_map(|at| [0, 1, 2].map(|channel| mixed(channel, at)))
        .collect();
    let end = width + height;
    let across: Vec<u8> = (0..end).map(|at| (at * 256 / end) as u8).collect();
    let mut pixels = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height as usize {
        pixels.extend_from_slice(&across[y..y + width as usize]);
    }

    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Sub);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(("image/png", bytes))
}

/// Returns the film with the nearest shape. It gets its length by the number of ticks per second in its headers.
fn film(width: u32, height: u32, seconds: f64) -> (&'static str, Vec<u8>) {
    let nearest = match f64::from(width) / f64::from(height) {
        shape if shape > 1.33 => WIDE,
        shape if shape < 0.75 => TALL,
        _ => SQUARE,
    };
    let mut bytes = nearest.to_vec();
    let ticks_per_second = (FILM_TICKS / seconds).round() as u32;
    for header in [b"mvhd", b"mdhd"] {
        // The name is followed by the version and two times, of four bytes each.
        if let Some(at) = bytes.windows(4).position(|name| name == header) {
            bytes[at + 16..at + 20].copy_from_slice(&ticks_per_second.to_be_bytes());
        }
    }
    ("video/mp4", bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::{Value, json};

    use super::*;

    fn made(input: Value, name: &str) -> Vec<u8> {
        file(&Order::of("me/mine", input).unwrap(), name)
            .unwrap()
            .unwrap()
            .1
    }

    #[test]
    fn a_picture_decodes_to_the_size_that_was_asked_for() {
        for (width, height) in [(1, 1), (640, 480), (1024, 1024), (4096, 4096)] {
            let bytes = made(
                json!({"prompt": "a cat", "width": width, "height": height}),
                "0.png",
            );

            let mut reader = png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (width, height));
        }
    }

    #[test]
    fn pictures_differ_by_prompt_and_index_and_repeat_by_both() {
        let input =
            |prompt: &str| json!({"prompt": prompt, "width": 64, "height": 64, "num_outputs": 2});

        let cat = made(input("a cat"), "0.png");

        assert_eq!(cat, made(input("a cat"), "0.png"));
        assert_ne!(cat, made(input("a cat"), "1.png"));
        assert_ne!(cat, made(input("a dog"), "0.png"));
    }

    #[test]
    fn a_film_parses_with_its_length_shape_and_every_frame() {
        for (resolution, seconds, size) in [
            ("1920x1080", 5.0, (320, 180)),
            ("768x768", 0.5, (240, 240)),
            ("72x1080", 600.0, (180, 320)),
        ] {
            let bytes = made(
                json!({"prompt": "a cat", "duration": seconds, "resolution": resolution, "fps": 30}),
                "0.mp4",
            );

            let length = bytes.len() as u64;
            let mut film = mp4::Mp4Reader::read_header(Cursor::new(bytes), length).unwrap();
            let track = &film.tracks()[&1];
            let samples = track.sample_count();
            assert!(
                (film.duration().as_secs_f64() - seconds).abs() < 0.01,
                "{:?}",
                film.duration()
            );
            assert!((track.duration().as_secs_f64() - seconds).abs() < 0.01);
            assert_eq!((track.width(), track.height()), size);
            assert_eq!(samples, 20);
            let nals: Vec<_> = (1..=samples)
                .map(|id| film.read_sample(1, id).unwrap().unwrap().bytes)
                .collect();
            for nal in &nals {
                assert_eq!(
                    u32::from_be_bytes(nal[..4].try_into().unwrap()) as usize,
                    nal.len() - 4
                );
            }
            assert_eq!(nals[0][4] & 0x1f, 5, "an IDR picture");
            assert!(
                nals.windows(2).all(|pair| pair[0] != pair[1]),
                "the picture moves"
            );
        }
    }

    #[test]
    fn a_file_that_was_not_ordered_does_not_exist() {
        let order = Order::of("me/mine", json!({"prompt": "a cat"})).unwrap();

        for name in ["1.png", "0.mp4", "0", "x.png", "-1.png"] {
            assert!(file(&order, name).is_none(), "{name}");
        }
    }
}
