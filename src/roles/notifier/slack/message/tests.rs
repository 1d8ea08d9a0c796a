//! What messages contain, and that those of any event are within Slack's limits.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::contract::digest::tests::failures;
use crate::domain::ErrorCode;
use crate::roles::notifier::testing::event;

fn png(at: usize, url: Option<&str>) -> Output {
    Output {
        uri: format!("s3://renders/order-7/{at}-0123456789abcdef.png"),
        url: url.map(str::to_owned),
        content_type: "image/png".to_owned(),
        bytes: 1_234_567,
        sha256: "0".repeat(64),
        width: Some(1024),
        height: Some(768),
        duration_seconds: None,
    }
}

fn completed(outputs: Vec<Output>) -> Event {
    let result = Generated {
        outputs,
        provider: "replicate".to_owned(),
        provider_job_id: "job".to_owned(),
        elapsed_ms: 12_345,
        cost_usd: Some(0.04),
        cost_source: None,
        sent: None,
        notes: Vec::new(),
        model: None,
    };
    Event {
        result: Some(result),
        ..event()
    }
}

fn failed(message: &str) -> Event {
    Event {
        event_type: EventType::Failed,
        error: Some(EventError::new(ErrorCode::ContentPolicy, message, false)),
        ..event()
    }
}

fn kinds(message: &Value) -> Vec<&str> {
    let blocks = message["blocks"].as_array().unwrap();
    let kinds = blocks.iter().map(|block| block["type"].as_str().unwrap());
    kinds.collect()
}

#[test]
fn the_example_is_what_is_sent() {
    let mut event = completed(vec![
        png(
            0,
            Some("https://renders.example.com/order-7/0-0123456789abcdef.png?a=1&b=2"),
        ),
        png(1, None),
    ]);
    event.metadata = [("order".to_owned(), "7 & <8>".to_owned())].into();

    let example: Value =
        serde_json::from_str(include_str!("../../../../../docs/slack-message.json")).unwrap();
    assert_eq!(message(&event), example);
}

#[test]
fn a_message_says_what_happened_to_which_request() {
    let reported = message(&failed("the prompt was refused"));

    assert_eq!(
        kinds(&reported),
        ["header", "section", "section", "context"]
    );
    assert_eq!(reported["text"], "Image failed: order-7");
    assert_eq!(
        reported["blocks"][0]["text"]["text"],
        "Image failed: order-7"
    );
    assert_eq!(
        reported["blocks"][1]["fields"][1]["text"],
        "*User*\n`alice`"
    );
    assert_eq!(
        reported["blocks"][2]["text"]["text"],
        "*`content_policy`*\n`the prompt was refused`"
    );
    let context = reported["blocks"][3]["elements"][0]["text"]
        .as_str()
        .unwrap();
    assert!(context.starts_with("request `order-7` · event `92f851a0-"));
    assert!(context.ends_with("|2023-11-14T22:13:20Z>"), "{context}");
}

#[test]
fn a_batch_says_how_its_items_ended() {
    let batch = BatchSummary {
        total: 5,
        completed: 3,
        failed: 1,
        cancelled: 0,
        not_started: 1,
    };

    let reported = message(&Event {
        kind: Kind::Batch,
        batch: Some(batch),
        ..event()
    });

    assert_eq!(
        reported["blocks"][2]["text"]["text"],
        "*5 items*: 3 completed, 1 failed, 0 cancelled, 1 not started"
    );
}

#[test]
fn only_images_that_slack_can_fetch_are_shown() {
    let webp = Output {
        content_type: "image/webp".to_owned(),
        ..png(0, Some("https://renders.example.com/a.webp"))
    };
    for (output, shown) in [
        (png(0, Some("https://renders.example.com/a.png")), true),
        (png(0, Some("http://renders.example.com/a.png")), false),
        (png(0, Some("https://10.0.0.1/a.png")), false),
        (
            png(0, Some("https://me:pw@renders.example.com/a.png")),
            false,
        ),
        (png(0, Some("not a url")), false),
        (png(0, None), false),
        (webp, false),
    ] {
        let mut reported = message(&completed(vec![output.clone()]));

        assert_eq!(kinds(&reported).contains(&"image"), shown, "{output:?}");
        assert_eq!(without_images(&mut reported), shown);
        assert!(!kinds(&reported).contains(&"image"));
    }
}

#[test]
fn what_does_not_fit_is_counted() {
    let reported = message(&completed((0..100).map(|at| png(at, None)).collect()));

    let text = reported["blocks"][2]["text"]["text"].as_str().unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "*100 outputs*");
    let shown = lines.len() - 2;
    assert_eq!(lines[lines.len() - 1], format!("…and {} more", 100 - shown));
    assert!(shown > 20, "{shown}");
}

/// Texts that are long, odd, or try to add markup of their own.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[`<>&|*_~\\\\!@#a-z\u{1F600}-\u{1F64F}\n]{0,40}",
        Just("<!channel> <@U012AB3CD> `<https://evil.example|bank>`".to_owned()),
        (
            1_usize..6000,
            prop_oneof![Just("&"), Just("🦉"), Just("`x"), Just("<!here>")]
        )
            .prop_map(|(times, what)| what.repeat(times)),
    ]
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![
        text(),
        (1_usize..4000).prop_map(|length| format!("https://e.test/{}", "&".repeat(length))),
        text().prop_map(|path| format!("https://e.test/{path}")),
    ]
}

fn any_output() -> impl Strategy<Value = Output> {
    let kind = prop_oneof![Just("image/png".to_owned()), text()];
    let size = option::of(any::<i32>());
    (
        text(),
        option::of(url()),
        kind,
        any::<i64>(),
        size,
        option::of(any::<f64>()),
    )
        .prop_map(|(uri, url, content_type, bytes, size, seconds)| Output {
            uri,
            url,
            content_type,
            bytes,
            sha256: "0".repeat(64),
            width: size,
            height: size,
            duration_seconds: seconds,
        })
}

prop_compose! {
    fn any_event()(
        (request_id, user_id, batch_id) in (text(), text(), option::of(text())),
        (retry, sequence, occurred_at) in (any::<i32>(), any::<i32>(), any::<i64>()),
        outputs in option::of(vec(any_output(), 0..30)),
        (provider, elapsed_ms, cost_usd) in (text(), any::<i64>(), option::of(any::<f64>())),
        progress in option::of((any::<i32>(), text(), option::of(text()))),
        (problem, batch) in (option::of((text(), any::<bool>())), option::of(any::<i32>())),
        record in option::of((text(), any::<i64>())),
        metadata in proptest::collection::btree_map(text(), text(), 0..32),
    ) -> Event {
        Event {
            request_id,
            user_id,
            batch_id,
            retry,
            sequence,
            occurred_at,
            result: outputs.map(|outputs| Generated {
                outputs,
                provider: provider.clone(),
                provider_job_id: "job".to_owned(),
                elapsed_ms,
                cost_usd,
                cost_source: None,
                sent: None,
                notes: Vec::new(),
                model: None,
            }),
            progress: progress.map(|(percent, stage, message)| Progress { percent, stage, message }),
            error: problem.map(|(message, retryable)| EventError {
                code: ErrorCode::ProviderFailed,
                message,
                retryable,
                problems: Vec::new(),
            }),
            batch: batch.map(|total| BatchSummary { total, ..BatchSummary::default() }),
            record: record.map(|(topic, offset)| crate::domain::RecordPosition {
                topic,
                partition: 0,
                offset,
            }),
            metadata,
            ..event()
        }
    }
}

/// Checks a text object against the limits of Slack, and that its only mentions and links are ours.
fn check_text(object: &Value, limit: usize) {
    let text = object["text"].as_str().unwrap();
    assert!(
        (1..=limit).contains(&length(text)),
        "{} of {limit}",
        length(text)
    );
    match object["type"].as_str().unwrap() {
        "plain_text" => assert!(!text.contains('<')),
        "mrkdwn" => {
            assert_eq!(object["verbatim"], true);
            for opened in text.split('<').skip(1) {
                let (inside, _) = opened.split_once('>').unwrap();
                assert!(
                    inside.starts_with("!date^") || inside.starts_with("https://"),
                    "{inside}"
                );
            }
            assert_eq!(text.matches('`').count() % 2, 0);
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn check(message: &Value) {
    let blocks = message["blocks"].as_array().unwrap();
    assert!((1..=50).contains(&blocks.len()));
    let fallback = message["text"].as_str().unwrap();
    assert!(!fallback.is_empty() && length(fallback) <= SECTION && !fallback.contains('<'));
    for block in blocks {
        match block["type"].as_str().unwrap() {
            "header" => check_text(&block["text"], 150),
            "section" => {
                let fields = block["fields"].as_array();
                assert!(fields.is_some() || block["text"].is_object());
                if block["text"].is_object() {
                    check_text(&block["text"], 3000);
                }
                if let Some(fields) = fields {
                    assert!((1..=10).contains(&fields.len()));
                    fields.iter().for_each(|field| check_text(field, 2000));
                }
            }
            "image" => {
                let alternative = block["alt_text"].as_str().unwrap();
                assert!((1..=2000).contains(&length(alternative)));
                let url = block["image_url"].as_str().unwrap();
                assert!(url.starts_with("https://") && length(url) <= 3000);
            }
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()));
                elements
                    .iter()
                    .for_each(|element| check_text(element, 3000));
            }
            other => panic!("{other}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_message_of_any_event_is_within_slacks_limits(event in any_event()) {
        check(&message(&event));
    }
}

#[test]
fn many_failures_fit_into_one_message() {
    let mut many = failures(5000);
    for failed in &mut many.first {
        failed.message = "&".repeat(200);
        failed.user_id = "<!channel>".repeat(12);
    }

    let reported = digest(&DigestText::of(&many));

    check(&reported);
    assert_eq!(reported["text"], "5000 requests failed");
    let codes = reported["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(codes.contains("`2500 x content_policy`"), "{codes}");
    assert_eq!(reported["blocks"][2]["text"]["text"], "*The first 20*");
    let listed = &reported["blocks"].as_array().unwrap()[3..23];
    for (at, failure) in listed.iter().enumerate() {
        let line = failure["text"]["text"].as_str().unwrap();
        assert!(line.contains(&format!("order-{at} of")), "{line}");
    }
    assert!(
        reported.to_string().len() < 12_000,
        "the whole message is too long"
    );
}
