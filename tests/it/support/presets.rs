//! The presets at the simulator: their settings, and requests for them.

use genflow::domain::{ProviderName, Request, Single, Spec};

use super::requests::common;

/// The presets without the pauses between polls, and a graph for ComfyUI.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/providers.toml");

/// Returns the provider with this name.
fn named(name: &str) -> ProviderName {
    ProviderName::parse("provider", name).unwrap()
}

/// Returns the settings for the presets at the simulator with this base URL.
pub(crate) fn settings(base: &str) -> Vec<(&'static str, String)> {
    let key = || "simulated".to_owned();
    vec![
        ("PROVIDERS_FILE", FILE.to_owned()),
        ("BFL_API_KEY", key()),
        ("GOOGLE_API_KEY", key()),
        ("LUMA_API_KEY", key()),
        ("RUNWAY_API_KEY", key()),
        ("BFL_API_BASE_URL", format!("{base}/bfl")),
        ("COMFYUI_API_BASE_URL", format!("{base}/comfyui")),
        ("GOOGLE_API_BASE_URL", format!("{base}/google")),
        ("LUMA_API_BASE_URL", format!("{base}/luma")),
        ("RUNWAY_API_BASE_URL", format!("{base}/runway")),
    ]
}

/// Returns the same request for a preset, with what its default model makes.
pub(crate) fn of(preset: &str, mut request: Request) -> Request {
    match (preset, &mut request.spec) {
        ("runway", Spec::Single(Single::Image(image))) => {
            (image.width, image.height) = (Some(720), Some(720));
        }
        ("luma", Spec::Single(Single::Image(image))) => {
            (image.width, image.height) = (None, None);
            image.common.aspect_ratio = Some("16:9".to_owned());
        }
        ("runway", Spec::Single(Single::Video(video))) => {
            video.resolution = Some("1280x720".to_owned());
        }
        ("luma", Spec::Single(Single::Video(video))) => {
            (video.duration, video.resolution) = (Some(5), Some("540p".to_owned()));
        }
        ("google", Spec::Single(Single::Video(video))) => {
            (video.duration, video.resolution) = (Some(4), Some("720p".to_owned()));
        }
        (_, _) => {}
    }
    let common = common(&mut request);
    common.provider = Some(named(preset));
    common.model = None;
    request
}
