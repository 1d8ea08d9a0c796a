//! Names that models have for a request's fields, the most specific first. A name alone does not suffice: the form of the
//! property must suit, too (`image_size` may be a size, a class, or a switch for speed).

pub(super) const PROMPT: &[&str] = &["prompt", "promptText", "text_prompt", "text", "instruction"];
pub(super) const WIDTH: &str = "width";
pub(super) const HEIGHT: &str = "height";
/// Width and height in one property.
pub(super) const PIXELS: &[&str] = &[
    "image_size",
    "video_size",
    "size",
    "resolution",
    "ratio",
    "pixel",
];
pub(super) const RATIO: &[&str] = &[
    "aspect_ratio",
    "aspectRatio",
    "ratio",
    "image_size",
    "video_size",
];
/// A class such as `720p`, `2K` or `1 MP`.
pub(super) const CLASS: &[&str] = &[
    "resolution",
    "quality",
    "mode",
    "image_size",
    "size",
    "megapixels",
];
pub(super) const DURATION: &[&str] = &["duration", "seconds", "durationSeconds"];
pub(super) const FRAMES: &[&str] = &["num_frames", "video_length", "length"];
pub(super) const FPS: &[&str] = &["fps", "frames_per_second", "frame_rate"];
pub(super) const COUNT: &[&str] = &[
    "num_outputs",
    "num_images",
    "number_of_images",
    "number_of_outputs",
    "n",
    "num_samples",
    "image_num",
    "sampleCount",
];
pub(super) const STYLE: &[&str] = &[
    "style",
    "style_type",
    "style_preset",
    "styles",
    "style_name",
];
pub(super) const AUDIO: &[&str] = &[
    "generate_audio",
    "generate_audio_switch",
    "audio",
    "sound",
    "enable_audio",
];
pub(super) const OUTPUT_FORMAT: &[&str] = &[
    "output_format",
    "format",
    "image_format",
    "outputFormat",
    "output_type",
];

pub(super) const FIRST_FRAME: &[&str] = &[
    "start_image",
    "start_image_url",
    "first_frame",
    "first_frame_image",
    "first_frame_url",
    "first_image_url",
    "image",
    "image_url",
    "input_image",
    "input_reference",
    "promptImage",
];
pub(super) const LAST_FRAME: &[&str] = &[
    "end_image",
    "end_image_url",
    "last_frame_image",
    "last_frame",
    "last_frame_url",
    "last_image",
    "last_image_url",
    "tail_image_url",
    "image_tail",
    "lastFrame",
];
/// The picture to edit, of a model for images.
pub(super) const SOURCE_IMAGE: &[&str] = &[
    "image",
    "image_url",
    "input_image",
    "image_input",
    "input_images",
    "image_urls",
    "input_image_urls",
];
/// The video to edit, of a model for videos.
pub(super) const SOURCE_VIDEO: &[&str] = &["video", "video_url", "input_video", "source_video"];
pub(super) const REFERENCE: &[&str] = &[
    "reference_images",
    "reference_image_urls",
    "ref_image_urls",
    "subject_reference",
    "style_reference_images",
    "image_prompt",
    "reference_image_url",
];
/// Lists of pictures that serve as references, if a model has nothing more specific.
pub(super) const PICTURES: &[&str] = &[
    "image_urls",
    "image_input",
    "input_images",
    "input_image_urls",
];
pub(super) const MASK: &[&str] = &["mask", "mask_url", "mask_image_url", "mask_image"];

/// Returns whether a name is that of a file.
pub(super) fn is_file(name: &str) -> bool {
    let groups = [
        FIRST_FRAME,
        LAST_FRAME,
        SOURCE_IMAGE,
        SOURCE_VIDEO,
        REFERENCE,
        PICTURES,
        MASK,
    ];
    groups.iter().any(|group| group.contains(&name))
}

/// Returns the role of a file with this name.
pub(super) fn role(name: &str) -> &'static str {
    let roles = [
        (FIRST_FRAME, "FIRST_FRAME"),
        (LAST_FRAME, "LAST_FRAME"),
        (MASK, "MASK"),
        (REFERENCE, "REFERENCE"),
        (PICTURES, "REFERENCE"),
    ];
    let found = roles.iter().find(|(names, _)| names.contains(&name));
    found.map_or("SOURCE", |(_, role)| role)
}

/// Returns the names of a field whose property has no rules of its own.
pub(super) fn of(field: &str) -> &'static [&'static str] {
    match field {
        "negative_prompt" => &["negative_prompt", "negativePrompt"],
        "seed" => &["seed", "manual_seed"],
        _ => &[],
    }
}
