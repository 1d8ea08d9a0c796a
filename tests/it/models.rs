//! Models with inputs of their own: the simulator has their schemas, ignores what they do not have, and refuses what they
//! do not accept, as the real APIs do.

use genflow::domain::{
    Common, ErrorCode, Event, EventType, ImageSpec, Input, OnUnsupported, ProviderName, Request,
    Role, Single, VideoSpec,
};
use serde_json::{Value, json};

use crate::support::gate::Gate;
use crate::support::requests::image;
use crate::support::{Space, Watched, eventually};

const PICTURE: &str = "https://example.com/frame.png";

fn request(name: &str, single: Single) -> Request {
    Request {
        spec: single.into(),
        ..image(name)
    }
}

fn common(provider: ProviderName, model: &str) -> Common {
    Common {
        provider: Some(provider),
        model: Some(model.to_owned()),
        ..Common::new("a red fox")
    }
}

fn first_frame() -> Vec<Input> {
    vec![Input {
        url: PICTURE.parse().unwrap(),
        role: Role::FirstFrame,
    }]
}

/// Sends a request and returns its last event.
async fn outcome(space: &Space, request: &Request) -> Event {
    space.send(request).await;
    space.story(request.id.as_str()).await.pop().unwrap()
}

fn sent(event: &Event) -> Value {
    let result = event
        .result
        .as_ref()
        .unwrap_or_else(|| panic!("{event:#?}"));
    let mut sent: Value = serde_json::from_str(result.sent.as_ref().unwrap()).unwrap();
    sent.as_object_mut().unwrap().remove("sim");
    sent
}

/// Returns the input that the simulator received for a request, without what genflow adds for itself.
async fn received(space: &Space, request: &Request) -> Value {
    let jobs = space.jobs(request.id.as_str()).await;
    let mut input = jobs[0]["input"].clone();
    let fields = input.as_object_mut().unwrap();
    fields.retain(|name, _| !["sim", "genflow_id", "prompt", "model"].contains(&name.as_str()));
    input
}

#[tokio::test]
async fn an_image_has_the_asked_ratio_count_and_format_whatever_the_model_calls_them() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    for (provider, model, input) in [
        (
            ProviderName::REPLICATE,
            "black-forest-labs/flux-schnell",
            json!({"aspect_ratio": "16:9", "megapixels": "1", "num_outputs": 2, "output_format": "png"}),
        ),
        (
            ProviderName::FAL,
            "fal-ai/flux/dev",
            json!({"image_size": {"width": 1280, "height": 720}, "num_images": 2, "output_format": "png"}),
        ),
        (
            ProviderName::OPENAI,
            "gpt-image-2",
            json!({"size": "1280x720", "n": 2, "output_format": "png"}),
        ),
    ] {
        let asked = request(
            "wide",
            Single::Image(ImageSpec {
                common: common(provider, model),
                width: Some(1280),
                height: Some(720),
                num_images: Some(2),
                output_format: Some("png".to_owned()),
            }),
        );

        let last = outcome(&space, &asked).await;

        assert_eq!(sent(&last), input, "{model}");
        // The simulator keeps OpenAI's fields under other names.
        if provider != ProviderName::OPENAI {
            assert_eq!(received(&space, &asked).await, input, "{model}");
        }
        let outputs = &last.result.as_ref().unwrap().outputs;
        assert_eq!(outputs.len(), 2, "{model}");
        for output in outputs {
            let ratio = f64::from(output.width.unwrap()) / f64::from(output.height.unwrap());
            assert!(
                (ratio / (16.0 / 9.0) - 1.0).abs() < 0.03,
                "{model} {output:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_video_starts_from_its_picture_and_has_the_asked_length() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    for (provider, model, input, notes) in [
        (
            ProviderName::REPLICATE,
            "google/veo-3.1",
            json!({"duration": 8, "resolution": "1080p", "aspect_ratio": "16:9", "image": PICTURE}),
            0,
        ),
        (
            ProviderName::REPLICATE,
            "kwaivgi/kling-v3-video",
            json!({"duration": 8, "mode": "pro", "start_image": PICTURE}),
            1,
        ),
        (
            ProviderName::FAL,
            "fal-ai/veo3.1/image-to-video",
            json!({"duration": "8s", "resolution": "1080p", "aspect_ratio": "16:9", "image_url": PICTURE}),
            0,
        ),
    ] {
        let asked = request(
            "film",
            Single::Video(VideoSpec {
                common: Common {
                    inputs: first_frame(),
                    ..common(provider, model)
                },
                duration: Some(8),
                resolution: Some("1920x1080".to_owned()),
                ..VideoSpec::default()
            }),
        );

        let last = outcome(&space, &asked).await;

        assert_eq!(sent(&last), input, "{model}");
        assert_eq!(received(&space, &asked).await, input, "{model}");
        let result = last.result.as_ref().unwrap();
        assert_eq!(result.notes.len(), notes, "{model} {:?}", result.notes);
        assert_eq!(
            result.outputs[0].duration_seconds.unwrap().round(),
            8.0,
            "{model}"
        );
    }
}

#[tokio::test]
async fn a_model_that_takes_only_a_picture_gets_the_picture_and_nothing_else() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let asked = request(
        "picture",
        Single::Video(VideoSpec {
            common: Common {
                inputs: first_frame(),
                ..common(ProviderName::REPLICATE, "minimax/video-01")
            },
            duration: Some(6),
            ..VideoSpec::default()
        }),
    );

    let last = outcome(&space, &asked).await;

    let input = json!({"first_frame_image": PICTURE});
    assert_eq!(received(&space, &asked).await, input);
    assert_eq!(sent(&last), input);
    let result = last.result.as_ref().unwrap();
    assert!(result.notes.is_empty(), "{:?}", result.notes);
    assert_eq!(space.bill(asked.id.as_str()).await.submits, 1);
}

#[tokio::test]
async fn what_a_model_cannot_make_is_refused_with_all_problems_before_anything_is_sent() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let asked = request(
        "refused",
        Single::Video(VideoSpec {
            common: Common {
                negative_prompt: Some("rain".to_owned()),
                ..common(ProviderName::REPLICATE, "minimax/hailuo-2.3")
            },
            duration: Some(8),
            resolution: Some("4k".to_owned()),
            ..VideoSpec::default()
        }),
    );

    let last = outcome(&space, &asked).await;

    let error = last.error.as_ref().unwrap();
    assert_eq!(
        (last.event_type, error.code),
        (EventType::Failed, ErrorCode::InvalidRequest)
    );
    let fields: Vec<_> = error
        .problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(
        fields,
        ["negative_prompt", "resolution", "duration"],
        "{error:#?}"
    );
    assert_eq!(error.problems[2].allowed.as_deref(), Some("6, 10"));
    assert!(
        error.message.contains("duration is 8, expected 6, 10"),
        "{}",
        error.message
    );
    assert_eq!(space.bill(asked.id.as_str()).await.submits, 0);
}

#[tokio::test]
async fn a_dropped_field_is_noted() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let model = common(ProviderName::REPLICATE, "black-forest-labs/flux-schnell");
    let asked = request(
        "dropped",
        Single::Image(ImageSpec {
            common: Common {
                negative_prompt: Some("rain".to_owned()),
                on_unsupported: OnUnsupported::Drop,
                ..model
            },
            ..ImageSpec::default()
        }),
    );

    let last = outcome(&space, &asked).await;

    assert_eq!(sent(&last), json!({}));
    let [note] = last.result.as_ref().unwrap().notes.as_slice() else {
        panic!("{last:#?}");
    };
    assert_eq!(
        (note.field.as_str(), note.kind.as_str()),
        ("negative_prompt", "dropped")
    );
}

#[tokio::test]
async fn a_check_shows_what_would_be_sent_and_sends_nothing() {
    let space = Space::new().await;
    let ok = [
        "submit",
        "image",
        "--prompt",
        "a fox",
        "--width",
        "64",
        "--height",
        "64",
        "--dry-run",
    ];
    let refused = [
        "models",
        "check",
        "video",
        "--prompt",
        "a fox",
        "--duration",
        "60",
        "--model",
        "google/veo-3.1",
        "--json",
    ];

    let shown = space.succeed(&ok).await;
    let (code, problems) = space.run(&refused).await;

    assert!(
        shown.contains("simulated/image (schema from the provider)"),
        "{shown}"
    );
    assert!(shown.contains("sends     width 64"), "{shown}");
    assert_eq!(code, 1, "{problems}");
    let problems: Value = serde_json::from_str(&problems).unwrap();
    assert_eq!(
        problems["problems"][0]["allowed"],
        json!("4, 6, 8"),
        "{problems}"
    );
    assert_eq!(problems["schema"], json!("provider"));
}

#[tokio::test]
async fn the_models_and_their_inputs_are_shown_by_command_with_and_without_a_provider() {
    let space = Space::new().await;
    let model = "black-forest-labs/flux-schnell";

    let all = space.succeed(&["models", "list"]).await;
    let of_fal = space
        .succeed(&["models", "list", "--provider", "fal"])
        .await;
    let (unknown, says) = space.run(&["models", "list", "--provider", "acme"]).await;
    let offline = space.succeed(&["models", "show", model, "--offline"]).await;
    let online = space.succeed(&["models", "show", model]).await;
    let json = space.succeed(&["models", "show", model, "--json"]).await;

    for line in [
        "replicate  black-forest-labs/flux-schnell",
        "openai     gpt-image-2*",
        "fal        fal-ai/flux/dev",
    ] {
        assert!(all.lines().any(|it| it == line), "{line}: {all}");
    }
    let rows = || of_fal.lines().skip(1);
    let others = rows().filter(|line| !line.starts_with("fal "));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(of_fal.lines().count() > 10, "{of_fal}");
    assert_eq!(unknown, 64, "{says}");
    assert!(
        says.contains("expected one of: fal, openai, replicate"),
        "{says}"
    );
    let head = |origin: &str| format!("replicate {model} (schema from {origin})\n");
    assert!(offline.starts_with(&head("genflow's copy")), "{offline}");
    assert!(online.starts_with(&head("the provider")), "{online}");
    for shown in [&offline, &online] {
        assert!(shown.contains("  prompt* "), "{shown}");
        assert!(
            shown.contains("  costs 0.003 US dollars per image"),
            "{shown}"
        );
    }
    let json: Value = serde_json::from_str(&json).unwrap();
    let inputs = json["inputs"].as_array().unwrap();
    let prompt = inputs.iter().find(|it| it["name"] == "prompt").unwrap();
    assert_eq!(prompt["required"], json!(true));
    assert_eq!(json["schema"], json!("provider"));
}

#[tokio::test]
async fn a_check_without_a_provider_uses_genflows_own_schemas_and_prices() {
    let space = Space::new().await;
    let away = [("REPLICATE_API_BASE_URL", "http://127.0.0.1:1")];
    let check = [
        "models",
        "check",
        "video",
        "--prompt",
        "a fox",
        "--provider",
        "replicate",
        "--model",
        "bytedance/seedance-1-pro",
        "--offline",
    ];

    let (fits, sends) = space
        .run_with(
            &[&check[..], &["--duration", "8", "--resolution", "1080p"]].concat(),
            &away,
        )
        .await;
    let (long, refused) = space
        .run_with(&[&check[..], &["--duration", "60"]].concat(), &away)
        .await;

    assert_eq!(fits, 0, "{sends}");
    assert!(sends.contains("(schema from genflow's copy)"), "{sends}");
    assert!(sends.contains("  sends     duration 8"), "{sends}");
    assert!(
        sends.contains("  costs     about 1.2000 US dollars"),
        "{sends}"
    );
    assert_eq!(long, 1, "{refused}");
    assert!(
        refused.contains("  refused   duration is 60, expected 2 to 12"),
        "{refused}"
    );
}

/// A deployment runs a version of a model: its inputs are those of that version.
#[tokio::test]
async fn a_deployment_is_bound_by_its_versions_schema_and_asked_at_its_own_path() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let name = "deployments/black-forest-labs/flux-schnell";
    let asked = request(
        "deployed",
        Single::Image(ImageSpec {
            common: common(ProviderName::REPLICATE, name),
            width: Some(1280),
            height: Some(720),
            ..ImageSpec::default()
        }),
    );

    let last = outcome(&space, &asked).await;

    let input = json!({"aspect_ratio": "16:9", "megapixels": "1"});
    assert_eq!(sent(&last), input);
    assert_eq!(received(&space, &asked).await, input);
    let jobs = space.jobs(asked.id.as_str()).await;
    assert_eq!(jobs[0]["model"], json!(name));
}

#[tokio::test]
async fn a_request_that_needs_a_schema_waits_for_its_provider_or_fails_without_a_send() {
    let attempts = [("RETRY_BACKOFF", "2s"), ("SUBMIT_MAX_ATTEMPTS", "3")];
    let space = Space::with(&attempts).await;
    let simulator = space.engines.simulator.strip_prefix("http://").unwrap();
    let gate = Gate::before(simulator).await;
    gate.shut();
    let base = format!("http://{}", gate.address);
    let _intake = space.start(&["intake"]);
    let worker = Watched::start(&space, "worker", &[("IMAGE_API_BASE_URL", &base)]);
    let away = image("away");
    let back = image("back");

    let failed = outcome(&space, &away).await;
    let asked = || worker.process.output().matches("input schema").count();
    let before = asked();
    space.send(&back).await;
    eventually("the second request asks for the schema", async || {
        (asked() > before).then_some(())
    })
    .await;
    gate.open();
    let completed = space.story(back.id.as_str()).await.pop().unwrap();

    let error = failed.error.unwrap();
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::ProviderFailed, true)
    );
    assert!(
        error.message.contains("cannot be read now"),
        "{}",
        error.message
    );
    assert_eq!(space.bill(away.id.as_str()).await.submits, 0);
    assert_eq!(completed.event_type, EventType::Completed);
    assert_eq!(space.bill(back.id.as_str()).await.submits, 1);
}
