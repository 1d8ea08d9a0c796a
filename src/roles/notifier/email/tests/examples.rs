//! Example events of each type, and of failures for operators: the docs show their mails.

use crate::contract::digest::{FailedRequest, FailedRequests};
use crate::domain::{
    BatchSummary, ErrorCode, Event, EventError, EventType, Generated, Kind, Output, Progress,
    RecordPosition, RequestId,
};
use crate::roles::notifier::testing;

/// Returns the examples of events, each with its name.
pub(super) fn all() -> Vec<(&'static str, Event)> {
    let video = || event("teaser-42", Kind::Video);
    vec![
        ("started", of(video(), EventType::Started, 0)),
        ("progress", progress(of(video(), EventType::Progress, 1))),
        (
            "completed",
            Event {
                result: Some(images()),
                ..of(event("hero-7", Kind::Image), EventType::Completed, 2)
            },
        ),
        (
            "completed-video",
            Event {
                result: Some(clip()),
                ..of(video(), EventType::Completed, 2)
            },
        ),
        (
            "completed-batch",
            Event {
                batch: Some(BatchSummary {
                    total: 24,
                    completed: 21,
                    failed: 2,
                    cancelled: 0,
                    not_started: 1,
                }),
                ..of(event("catalogue-3", Kind::Batch), EventType::Completed, 9)
            },
        ),
        (
            "failed",
            failed(
                of(video(), EventType::Failed, 2),
                ErrorCode::ContentPolicy,
                "the provider refused the prompt: it shows a trademark",
            ),
        ),
        ("cancelled", of(video(), EventType::Cancelled, 2)),
        ("rejected", rejected(of(video(), EventType::Rejected, -1))),
    ]
}

/// Returns an example for operators.
pub(super) fn failures() -> FailedRequests {
    let codes = [
        (ErrorCode::ContentPolicy, "the provider refused the prompt"),
        (ErrorCode::ProviderQuota, "the account is used up"),
    ];
    let mut failures = FailedRequests::default();
    for (at, (code, message)) in codes.iter().cycle().take(3).enumerate() {
        let event = event(&format!("teaser-{at}"), Kind::Video);
        let event = failed(of(event, EventType::Failed, 2), *code, message);
        failures.append(FailedRequest::of(&event).unwrap().into());
    }
    failures
}

fn event(request: &str, kind: Kind) -> Event {
    Event {
        request_id: request.to_owned(),
        kind,
        occurred_at: 1_767_614_460_000,
        workflow_id: Some(request.to_owned()),
        run_id: Some("0197a2c4-0000-7000-8000-000000000000".to_owned()),
        ..testing::event()
    }
}

fn of(event: Event, event_type: EventType, sequence: i32) -> Event {
    let request = RequestId::try_from(event.request_id.clone()).unwrap();
    let run_id = event.run_id.clone().unwrap();
    Event {
        event_id: Event::id(&request.run(0), &run_id, sequence),
        event_type,
        sequence,
        ..event
    }
}

fn progress(event: Event) -> Event {
    let progress = Progress {
        percent: 40,
        stage: "rendering".to_owned(),
        message: Some("frame 96 of 240".to_owned()),
    };
    Event {
        progress: Some(progress),
        ..event
    }
}

fn failed(event: Event, code: ErrorCode, message: &str) -> Event {
    Event {
        error: Some(EventError::new(code, message, false)),
        ..event
    }
}

fn rejected(event: Event) -> Event {
    let record = RecordPosition {
        topic: "gen.requests".to_owned(),
        partition: 4,
        offset: 1071,
    };
    let message = "spec.fps is 480, expected 1 to 120";
    Event {
        workflow_id: None,
        run_id: None,
        record: Some(record),
        ..failed(event, ErrorCode::Invalid, message)
    }
}

fn images() -> Generated {
    let output = |index: u32, bytes, url: Option<&str>| Output {
        uri: format!("s3://results/hero-7/{index}-9f86d081884c7d65.png"),
        url: url.map(str::to_owned),
        content_type: "image/png".to_owned(),
        bytes,
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        width: Some(1024),
        height: Some(768),
        duration_seconds: None,
    };
    let public = "https://cdn.example.com/hero-7/0-9f86d081884c7d65.png?expires=3600";
    Generated {
        outputs: vec![
            output(0, 1_482_334, Some(public)),
            output(1, 1_390_021, None),
        ],
        provider: "replicate".to_owned(),
        provider_job_id: "ufawqhfynnddngldkgtslldrkq".to_owned(),
        elapsed_ms: 8_400,
        cost_usd: Some(0.04),
        cost_source: None,
        sent: None,
        notes: Vec::new(),
        model: None,
    }
}

fn clip() -> Generated {
    Generated {
        outputs: vec![Output {
            uri: "s3://results/teaser-42/0-2c26b46b68ffc68f.mp4".to_owned(),
            url: Some("https://cdn.example.com/teaser-42/0-2c26b46b68ffc68f.mp4".to_owned()),
            content_type: "video/mp4".to_owned(),
            bytes: 18_220_944,
            sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".to_owned(),
            width: Some(1920),
            height: Some(1080),
            duration_seconds: Some(10.0),
        }],
        cost_usd: None,
        cost_source: None,
        elapsed_ms: 192_000,
        ..images()
    }
}
