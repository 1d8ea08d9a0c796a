//! Tests where a model's input schema is read, what serves without it, and what a request may cost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{HOUR, providers_in, read_until, spec};
use crate::domain::model::Bound;
use crate::domain::{Common, ErrorCode, EventError, Media, ProviderName, Single, VideoSpec};
use crate::engines::config::Config;
use crate::engines::provider::Providers;

/// Serves these answers to requests of any path, one after another; returns what was bound and the requested paths.
async fn bound(
    name: ProviderName,
    model: &str,
    answers: &[(u16, String)],
) -> (Result<Bound, EventError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().simple().to_string());
    let providers = providers_in(&base, Some(folder.clone()));
    let mut single = spec(name);
    if let Single::Image(image) = &mut single {
        image.common.model = Some(model.to_owned());
        image.num_images = Some(2);
    }
    let mut asked = Vec::new();
    let serving = async {
        for (status, answer) in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let read = read_until(&mut socket, b"\r\n\r\n").await;
            let request = String::from_utf8(read).unwrap();
            asked.push(request.split(' ').nth(1).unwrap().to_owned());
            let head = format!("HTTP/1.1 {status} Any\r\nconnection: close\r\ncontent-length:");
            let answer = format!("{head} {}\r\n\r\n{answer}", answer.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        // A further request is noted, and not answered.
        let mut further = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            asked.push("again".to_owned());
            read_until(&mut socket, b"\r\n\r\n").await;
            further.push(socket);
        }
    };
    let provider = providers.of(Media::Image, name);
    let twice = async {
        let first = provider.bind(&single, HOUR).await;
        // From memory: the server would not answer again.
        assert_eq!(provider.bind(&single, HOUR).await.is_ok(), first.is_ok());
        // From disk, by a process that starts while the provider does not answer.
        if answers.iter().all(|(status, _)| *status == 200) {
            let restarted = providers_in(&base, Some(folder.clone())).of(Media::Image, name);
            let from_disk = restarted.bind(&single, Duration::from_millis(50)).await;
            assert_eq!(from_disk, first);
        }
        first
    };
    let bound = tokio::select! {
        bound = twice => bound,
        () = serving => unreachable!(),
    };
    std::fs::remove_dir_all(folder).ok();
    (bound, asked)
}

fn schema(count: &str) -> Value {
    json!({"type": "object", "properties": {"prompt": {"type": "string"}, count: {"type": "integer", "maximum": 3}}})
}

#[tokio::test]
async fn a_schema_is_read_once_from_where_the_provider_publishes_it() {
    let replicate = json!({"components": {"schemas": {"Input": schema("amount_n")}}});
    let fal = json!({
        "components": {"schemas": {"In": schema("num_samples")}},
        "paths": {"/a/b": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}}}}},
    });
    let cog = json!({"components": {"schemas": {"Input": schema("num_samples")}}});
    let deployment = json!({"current_release": {"model": "a/b", "version": "5c7d"}});
    for (name, model, answers, paths, fits) in [
        (
            ProviderName::REPLICATE,
            "a/b",
            vec![(
                200,
                json!({"latest_version": {"openapi_schema": replicate}}),
            )],
            vec!["/v1/models/a/b"],
            false,
        ),
        (
            ProviderName::REPLICATE,
            "a/b:5c7d",
            vec![(200, json!({"openapi_schema": cog}))],
            vec!["/v1/models/a/b/versions/5c7d"],
            true,
        ),
        (
            ProviderName::REPLICATE,
            "deployments/a/b",
            vec![(200, deployment), (200, json!({"openapi_schema": cog}))],
            vec!["/v1/deployments/a/b", "/v1/models/a/b/versions/5c7d"],
            true,
        ),
        (
            ProviderName::REPLICATE,
            "my/cog",
            vec![(404, json!({})), (200, cog.clone())],
            vec!["/v1/models/my/cog", "/openapi.json"],
            true,
        ),
        (
            ProviderName::FAL,
            "a/b",
            vec![(
                200,
                json!({"models": [{"endpoint_id": "a/b", "openapi": fal}]}),
            )],
            vec!["/v1/models?endpoint_id=a/b&expand=openapi-3.0"],
            true,
        ),
    ] {
        let answers: Vec<_> = answers
            .into_iter()
            .map(|(status, body)| (status, body.to_string()))
            .collect();

        let (bound, asked) = bound(name, model, &answers).await;

        // Once more by the process that starts later, and finds the copy on disk.
        let later = answers.iter().all(|(status, _)| *status == 200);
        let again = later.then_some("again");
        let expected: Vec<_> = paths.into_iter().chain(again).collect();
        assert_eq!(asked, expected, "{model}");
        match fits {
            true => assert_eq!(bound.unwrap().input["num_samples"], json!(2), "{model}"),
            false => assert_eq!(
                bound.unwrap_err().problems[0].field,
                "num_images",
                "{model}"
            ),
        }
    }
}

#[tokio::test]
async fn without_the_providers_schema_a_copy_serves_and_without_one_only_the_prompt_is_sent() {
    let failed = [(500, String::new())];
    // Nor has a Cog server one.
    let absent = [(404, String::new()), (404, String::new())];

    let (known, _) = bound(
        ProviderName::REPLICATE,
        "black-forest-labs/flux-schnell",
        &failed,
    )
    .await;
    let (unknown, _) = bound(ProviderName::REPLICATE, "me/mine", &absent).await;

    assert_eq!(known.unwrap().input["num_outputs"], json!(2));
    let error = unknown.unwrap_err();
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::InvalidRequest, false)
    );
    assert_eq!(error.problems[0].field, "num_images");
    assert!(
        error
            .message
            .contains("genflow has no schema of this model"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn while_a_provider_does_not_answer_its_known_schema_serves_and_an_unknown_one_may_be_read_later()
 {
    let (unknown, _) = bound(ProviderName::REPLICATE, "me/mine", &[(500, String::new())]).await;

    let error = unknown.unwrap_err();
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::ProviderFailed, true)
    );
}

#[tokio::test]
async fn a_request_that_costs_too_much_or_whose_price_is_not_known_is_refused() {
    let bound = async |most: &str, model: &str| {
        let config = Config::of(&[
            ("MAX_COST_USD", most),
            ("IMAGE_API_BASE_URL", "http://127.0.0.1:1"),
        ]);
        let providers = Providers::new(&config.unwrap().worker, None).unwrap();
        let mut single = spec(ProviderName::REPLICATE);
        if let Single::Image(image) = &mut single {
            image.common.model = Some(model.to_owned());
        }
        let bound = providers
            .of(Media::Image, ProviderName::REPLICATE)
            .bind(&single, HOUR)
            .await;
        bound.map_err(|error| error.problems[0].clone())
    };

    assert!(
        bound("0.003", "black-forest-labs/flux-schnell")
            .await
            .is_ok()
    );
    let dear = bound("0.002", "black-forest-labs/flux-schnell")
        .await
        .unwrap_err();
    assert_eq!(
        (dear.field.as_str(), dear.asked.as_deref()),
        ("cost", Some("0.0030 US dollars"))
    );
    let unknown = bound("9", "me/mine").await.unwrap_err();
    assert!(unknown.hint.unwrap().contains("PRICES_FILE"));
}

#[tokio::test]
async fn a_provider_that_accepts_and_does_not_answer_holds_up_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let providers = providers_in(&base, None);
    let provider = providers.of(Media::Image, ProviderName::REPLICATE);
    let single = spec(ProviderName::REPLICATE);

    let binding = provider.bind(&single, Duration::from_millis(50));
    let bound = tokio::time::timeout(Duration::from_secs(2), binding).await;

    assert!(bound.expect("the time limit is kept").is_ok());
}

#[tokio::test]
async fn a_schema_is_read_again_after_the_provider_has_refused_an_input() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let providers = providers_in(&base, None);
    let provider = providers.of(Media::Image, ProviderName::REPLICATE);
    let single = spec(ProviderName::REPLICATE);
    let served = AtomicUsize::new(0);
    let serving = async {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            served.fetch_add(1, Ordering::SeqCst);
            read_until(&mut socket, b"\r\n\r\n").await;
            let body = json!({"latest_version": {"openapi_schema":
                {"components": {"schemas": {"Input": schema("num_outputs")}}}}});
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            socket.write_all((head + &body).as_bytes()).await.unwrap();
        }
    };
    let binding = async {
        for _ in 0..2 {
            provider.bind(&single, HOUR).await.unwrap();
        }
        let before = served.load(Ordering::SeqCst);
        provider.forget_schema(&single);
        provider.bind(&single, HOUR).await.unwrap();
        (before, served.load(Ordering::SeqCst))
    };

    let reads = tokio::select! {
        reads = binding => reads,
        () = serving => unreachable!(),
    };

    assert_eq!(reads, (1, 2));
}

#[tokio::test]
async fn a_video_on_openai_needs_a_model() {
    let providers = providers_in("http://127.0.0.1:1", None);
    let video = |model: Option<&str>| {
        Single::Video(VideoSpec {
            common: Common {
                model: model.map(str::to_owned),
                ..Common::new("a fox")
            },
            ..VideoSpec::default()
        })
    };
    let openai = providers.of(Media::Video, ProviderName::OPENAI);

    let error = openai.bind(&video(None), HOUR).await.unwrap_err();

    assert!(
        error.message.contains("has ended its API for videos"),
        "{}",
        error.message
    );
    assert!(openai.bind(&video(Some("sora-2")), HOUR).await.is_ok());
}

#[tokio::test]
async fn a_name_that_is_no_models_is_refused_before_the_fence() {
    for (name, model) in [
        (ProviderName::REPLICATE, "flux-schnell"),
        (ProviderName::REPLICATE, "a/b:"),
        (ProviderName::REPLICATE, "deployments/a/../b"),
        (ProviderName::FAL, "flux"),
    ] {
        let (bound, asked) = bound(name, model, &[]).await;

        assert_eq!(
            bound.unwrap_err().code,
            ErrorCode::InvalidRequest,
            "{model}"
        );
        assert!(asked.is_empty(), "{model} {asked:?}");
    }
}
