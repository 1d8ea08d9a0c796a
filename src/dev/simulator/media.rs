//! The files: real PNG and MP4 bytes, cheap to create and the same each time.
//!
//! Colours depend only on the prompt and the index, so two prompts give two different files. Images have the requested
//! size. Videos have the requested shape and length, but few pixels and frames, so they stay below a megabyte.

use std::io::Cursor;

use less_avc::{
    BitDepth, LessEncoder,
    ycbcr_image::{DataPlane, Planes, YCbCrImage},
};
use mp4::{AvcConfig, MediaConfig, Mp4Config, Mp4Sample, Mp4Writer, TrackConfig, TrackType};
use ring::digest;

use super::order::{Media, Order};
use super::script::OutputFault;

/// The longer side of a video, in pixels.
const FILM_SIDE: u32 = 160;
/// The total size of a video's frames: frames are uncompressed (I_PCM), so this limits their number.
const FILM_BYTES: usize = 900_000;
/// The most frames of a video; fewer than its side has pixels, so each frame differs from the one before.
const FILM_FRAMES: usize = 60;
/// The most frames per second of a video.
const FILM_FPS: f64 = 8.0;
/// Ticks per second.
const TIMESCALE: u32 = 1000;

/// Why a file could not be created.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("picture was not encoded")]
    Png(#[from] png::EncodingError),
    #[error("frame was not encoded")]
    Avc(#[from] less_avc::Error),
    #[error("film was not muxed")]
    Mp4(#[from] mp4::Error),
}

/// Returns the content type and bytes of the file `name` of `order`, or `None` if it has no such file.
pub(super) fn file(order: &Order, name: &str) -> Option<Result<(&'static str, Vec<u8>), Error>> {
    let (index, extension) = name.split_once('.')?;
    let index: u32 = index.parse().ok()?;
    let colours = Colours::new(&order.prompt, index);
    match (&order.media, extension) {
        (
            &Media::Images {
                width,
                height,
                count,
            },
            "png",
        ) if index < count => {
            Some(picture(&colours, width, height).map(|bytes| ("image/png", bytes)))
        }
        (
            &Media::Video {
                width,
                height,
                seconds,
                fps,
            },
            "mp4",
        ) if index == 0 => {
            Some(film(&colours, width, height, seconds, fps).map(|bytes| ("video/mp4", bytes)))
        }
        _ => None,
    }
}

/// Returns the file, or one of the other kind if the script asks for it.
pub(super) fn file_or_other(
    order: &Order,
    name: &str,
) -> Option<Result<(&'static str, Vec<u8>), Error>> {
    match order.script.output {
        Some(OutputFault::OtherKind) => {
            let colours = Colours::new(&order.prompt, 0);
            Some(match order.media {
                Media::Images { .. } => {
                    film(&colours, 64, 64, 1.0, 8).map(|bytes| ("video/mp4", bytes))
                }
                Media::Video { .. } => picture(&colours, 64, 64).map(|bytes| ("image/png", bytes)),
            })
        }
        Some(_) | None => file(order, name),
    }
}

/// Returns the names of the files of `media`, in the order of their index.
pub(super) fn names(media: &Media) -> Vec<String> {
    match media {
        Media::Images { count, .. } => (0..*count).map(|index| format!("{index}.png")).collect(),
        Media::Video { .. } => vec!["0.mp4".to_owned()],
    }
}

/// Two colours, as six bytes.
struct Colours([u8; 6]);

impl Colours {
    fn new(prompt: &str, index: u32) -> Self {
        let hash = digest::digest(&digest::SHA256, format!("{index} {prompt}").as_bytes());
        let mut six = [0; 6];
        six.iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        Self(six)
    }

    /// Returns the `channel` of the colour at `at` 256ths of the way from the first to the second colour.
    fn mixed(&self, channel: usize, at: u8) -> u8 {
        let (from, to, at) = (
            u32::from(self.0[channel]),
            u32::from(self.0[channel + 3]),
            u32::from(at),
        );
        u8::try_from((from * (255 - at) + to * at) / 255).unwrap_or(u8::MAX)
    }
}

/// Draws a slanted gradient; a palette keeps it at one byte per pixel.
fn picture(colours: &Colours, width: u32, height: u32) -> Result<Vec<u8>, Error> {
    let palette: Vec<u8> = (0..=255)
        .flat_map(|at| [0, 1, 2].map(|channel| colours.mixed(channel, at)))
        .collect();
    let across: Vec<u8> = (0..width + height)
        .map(|at| shade(at, width + height))
        .collect();
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
    Ok(bytes)
}

/// Returns `at` as 256ths of `end`.
fn shade(at: u32, end: u32) -> u8 {
    u8::try_from(at * 256 / end).unwrap_or(u8::MAX)
}

/// Creates a video of a light bar that crosses the picture once, along its longer side.
fn film(
    colours: &Colours,
    width: u32,
    height: u32,
    seconds: f64,
    fps: u32,
) -> Result<Vec<u8>, Error> {
    let canvas = Canvas::shaped(width, height);
    let most = FILM_FRAMES.min(FILM_BYTES / canvas.frame_bytes());
    let frames = ((seconds * FILM_FPS.min(fps.into())).ceil() as usize).clamp(1, most) as u32;
    let ticks = (seconds * f64::from(TIMESCALE)).round() as u64;
    let starts = |frame: u32| ticks * u64::from(frame) / u64::from(frames);

    let (first, mut encoder) = LessEncoder::new(&canvas.draw(colours, 0.0).image())?;
    let mut muxer = Mp4Writer::write_start(Cursor::new(Vec::new()), &container())?;
    muxer.add_track(&canvas.track(first.sps.to_nal_unit(), first.pps.to_nal_unit()))?;
    let mut nal = first.frame.to_nal_unit();
    for frame in 0..frames {
        if frame > 0 {
            let at = f64::from(frame) / f64::from(frames);
            nal = encoder
                .encode(&canvas.draw(colours, at).image())?
                .to_nal_unit();
        }
        let mut bytes = u32::try_from(nal.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        bytes.append(&mut nal);
        let sample = Mp4Sample {
            start_time: starts(frame),
            duration: u32::try_from(starts(frame + 1) - starts(frame)).unwrap_or(u32::MAX),
            rendering_offset: 0,
            is_sync: true,
            bytes: bytes.into(),
        };
        muxer.write_sample(1, &sample)?;
    }
    muxer.write_end()?;
    Ok(muxer.into_writer().into_inner())
}

fn container() -> Mp4Config {
    Mp4Config {
        major_brand: (*b"isom").into(),
        minor_version: 512,
        compatible_brands: [*b"isom", *b"iso2", *b"avc1", *b"mp41"]
            .map(Into::into)
            .to_vec(),
        timescale: TIMESCALE,
    }
}

/// The size of a video; the planes are padded to whole macroblocks of 16 pixels.
#[derive(Clone, Copy)]
struct Canvas {
    width: u32,
    height: u32,
}

impl Canvas {
    /// Returns the canvas with the shape of `width` by `height`; both sides are even, as 4:2:0 requires.
    fn shaped(width: u32, height: u32) -> Self {
        let even = |side: u32| (side * FILM_SIDE / width.max(height) / 2 * 2).clamp(16, FILM_SIDE);
        Self {
            width: even(width),
            height: even(height),
        }
    }

    fn frame_bytes(self) -> usize {
        let (width, height) = self.padded();
        width * height * 3 / 2
    }

    fn padded(self) -> (usize, usize) {
        (
            self.width.next_multiple_of(16) as usize,
            self.height.next_multiple_of(16) as usize,
        )
    }

    fn track(self, seq_param_set: Vec<u8>, pic_param_set: Vec<u8>) -> TrackConfig {
        let [width, height] =
            [self.width, self.height].map(|side| u16::try_from(side).unwrap_or(u16::MAX));
        TrackConfig {
            track_type: TrackType::Video,
            timescale: TIMESCALE,
            language: "und".to_owned(),
            media_conf: MediaConfig::AvcConfig(AvcConfig {
                width,
                height,
                seq_param_set,
                pic_param_set,
            }),
        }
    }

    /// Draws the frame at the fraction `at` of the video.
    fn draw(self, colours: &Colours, at: f64) -> Frame {
        let (width, height) = self.padded();
        let bar = (at * f64::from(FILM_SIDE)) as usize;
        let wide = self.width >= self.height;
        let luma = (0..width * height).map(|pixel| {
            let (x, y) = (pixel % width, pixel / width);
            if (bar..bar + 12).contains(if wide { &x } else { &y }) {
                230
            } else {
                40 + ((x + y) * 120 / (width + height)) as u8
            }
        });
        let flat = |channel: usize| {
            vec![colours.mixed(channel, (at * 255.0) as u8).clamp(16, 240); width * height / 4]
        };
        Frame {
            canvas: self,
            luma: luma.collect(),
            blue: flat(0),
            red: flat(1),
        }
    }
}

/// One frame's planes.
struct Frame {
    canvas: Canvas,
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
}

impl Frame {
    fn image(&self) -> YCbCrImage<'_> {
        let (stride, _) = self.canvas.padded();
        let plane = |data, stride| DataPlane {
            data,
            stride,
            bit_depth: BitDepth::Depth8,
        };
        YCbCrImage {
            planes: Planes::YCbCr((
                plane(&self.luma, stride),
                plane(&self.blue, stride / 2),
                plane(&self.red, stride / 2),
            )),
            width: self.canvas.width,
            height: self.canvas.height,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Creates a video for tests of its readers.
    pub(crate) fn a_film(width: u32, height: u32, seconds: f64) -> Vec<u8> {
        film(&Colours::new("a film", 0), width, height, seconds, 8).unwrap()
    }

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
            ("1920x1080", 5.0, (160, 90)),
            ("768x768", 0.5, (160, 160)),
            ("72x1080", 600.0, (16, 160)),
        ] {
            let bytes = made(
                json!({"prompt": "a cat", "duration": seconds, "resolution": resolution, "fps": 30}),
                "0.mp4",
            );

            let length = bytes.len() as u64;
            let mut film = mp4::Mp4Reader::read_header(Cursor::new(bytes), length).unwrap();
            let track = &film.tracks()[&1];
            let samples = track.sample_count();
            assert!(length < 1_000_000, "{length} bytes");
            assert!(
                (film.duration().as_secs_f64() - seconds).abs() < 0.01,
                "{:?}",
                film.duration()
            );
            assert_eq!((track.width(), track.height()), size);
            assert!(samples >= 4, "{samples} samples");
            let nals: Vec<_> = (1..=samples)
                .map(|id| film.read_sample(1, id).unwrap().unwrap().bytes)
                .collect();
            for nal in &nals {
                assert_eq!(
                    u32::from_be_bytes(nal[..4].try_into().unwrap()) as usize,
                    nal.len() - 4
                );
                assert_eq!(nal[4] & 0x1f, 5, "an IDR picture");
            }
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
