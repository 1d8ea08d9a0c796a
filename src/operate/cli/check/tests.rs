//! What `genflow models check` and `submit --dry-run` show.

use super::*;
use crate::domain::{Common, Fallback, ImageSpec, VideoSpec};

async fn shown(single: Single) -> String {
    shown_with(&[], single).await.0
}

/// Returns the lines, and whether the request is refused.
async fn shown_with(settings: &[(&str, &str)], single: Single) -> (String, bool) {
    let config = Config::of(settings).unwrap();
    let sources = Sources::new(&config, Source { offline: true }).unwrap();
    let checked = sources.check("order-7", &single, None).await;
    let lines: Vec<_> = checked.iter().flat_map(Checked::lines).collect();
    (lines.join("\n"), checked.iter().any(Checked::refuses))
}

#[tokio::test]
async fn a_request_that_intake_refuses_is_refused() {
    let of = |provider: &str, model: &str| {
        Single::Image(ImageSpec {
            common: Common {
                provider: Some(ProviderName::parse("provider", provider).unwrap()),
                model: Some(model.to_owned()),
                ..Common::new("a fox")
            },
            ..ImageSpec::default()
        })
    };
    let settings = [("ALLOWED_MODELS", "fal/fal-ai/flux/*")];

    let (unknown, is_refused) = shown_with(&[], of("flal", "fal-ai/flux/dev")).await;
    assert!(
        is_refused && unknown.contains("which is not configured"),
        "{unknown}"
    );
    let (other, is_refused) = shown_with(&settings, of("fal", "fal-ai/qwen-image")).await;
    assert!(is_refused && other.contains("spec.model"), "{other}");
    let (allowed, is_refused) = shown_with(&settings, of("fal", "fal-ai/flux/dev")).await;
    assert!(!is_refused, "{allowed}");
}

#[tokio::test]
async fn a_check_includes_what_the_request_may_fall_back_to() {
    let fallback = |fallback| {
        Single::Image(ImageSpec {
            common: Common {
                style: Some("noir".to_owned()),
                on_unsupported: crate::domain::OnUnsupported::Drop,
                provider: Some(ProviderName::OPENAI),
                fallback,
                ..Common::new("a fox")
            },
            width: Some(64),
            height: Some(64),
            ..ImageSpec::default()
        })
    };
    let flux = Fallback {
        provider: ProviderName::REPLICATE,
        model: None,
    };

    let (own, is_refused) = shown_with(&[], fallback(vec![flux])).await;
    let (operators, is_refused_too) =
        shown_with(&[("IMAGE_FALLBACK", "replicate")], fallback(Vec::new())).await;

    let model = "replicate black-forest-labs/flux-schnell (schema from genflow's copy)";
    assert!(
        own.contains(&format!(
            "order-7: fallback[0] {model}\n  refused   width is 64x64"
        )),
        "{own}"
    );
    let line = format!("order-7: the operator's fallback {model}\n  skipped   width is 64x64");
    assert!(operators.contains(&line), "{operators}");
    assert_eq!((is_refused, is_refused_too), (true, false), "{own}");
}

#[tokio::test]
async fn a_check_shows_what_is_sent_and_what_was_adapted() {
    let image = ImageSpec {
        width: Some(1280),
        height: Some(720),
        common: Common::new("a fox"),
        ..ImageSpec::default()
    };

    let shown = shown(Single::Image(image)).await;

    let head = "order-7: replicate black-forest-labs/flux-schnell (schema from genflow's copy)\n";
    assert!(shown.starts_with(head), "{shown}");
    assert!(
        shown.contains("  sends     aspect_ratio \"16:9\"\n"),
        "{shown}"
    );
    assert!(
        shown.contains("  adapted   width: 1280x720 was asked"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_check_lists_every_problem() {
    let video = VideoSpec {
        duration: Some(60),
        fps: Some(60),
        common: Common::new("a fox"),
        ..VideoSpec::default()
    };

    let shown = shown(Single::Video(video)).await;

    assert!(
        shown.contains("  refused   fps is 60, expected 24\n"),
        "{shown}"
    );
    assert!(
        shown.contains("  refused   duration is 60, expected 2 to 12"),
        "{shown}"
    );
    assert!(!shown.contains("  sends"), "{shown}");
}

#[tokio::test]
async fn a_check_refuses_a_name_that_is_no_models() {
    let image = ImageSpec {
        common: Common {
            model: Some("flux-schnell".to_owned()),
            ..Common::new("a fox")
        },
        ..ImageSpec::default()
    };

    let shown = shown(Single::Image(image)).await;

    assert!(shown.contains("expected owner/name"), "{shown}");
}
