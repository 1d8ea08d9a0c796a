//! Round trips of every branch, and messages that other versions wrote.

mod bounds;
mod decode;
mod versions;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::{
    Action, BatchItem, BatchSpec, BatchSummary, Common, CostSource, ErrorCode, EventError,
    Fallback, Generated, ImageSpec, Input, Note, Notify, OnFailure, OnUnsupported, Output,
    Priority, Problem, Progress, ProviderName, RecordPosition, Role, Sealed, Single, Spec,
    Strategy, Tried, VideoSpec,
};

fn id<T: TryFrom<String>>(text: &str) -> T
where
    T::Error: std::fmt::Debug,
{
    text.to_owned().try_into().unwrap()
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn common(prompt: &str) -> Common {
    let input = |(_, role)| Input {
        url: "https://example.com/in.png".parse().unwrap(),
        role,
    };
    Common {
        negative_prompt: Some("dogs".to_owned()),
        aspect_ratio: Some("16:9".to_owned()),
        style: Some("noir".to_owned()),
        seed: Some(i64::MAX),
        inputs: Role::ALL.map(input).to_vec(),
        provider: Some(ProviderName::REPLICATE),
        model: Some("owner/name:abc".to_owned()),
        params: names(&[("steps", "[1, 2]")]),
        on_unsupported: OnUnsupported::Drop,
        fallback: vec![
            Fallback {
                provider: ProviderName::OPENAI,
                model: Some("google/veo-3.1".to_owned()),
            },
            Fallback {
                provider: ProviderName::FAL,
                model: Some("fal-ai/flux".to_owned()),
            },
        ],
        ..Common::new(prompt)
    }
}

fn video() -> VideoSpec {
    VideoSpec {
        common: common("a lake at dawn, наводнение"),
        duration: Some(7),
        resolution: Some("1280x720".to_owned()),
        fps: Some(24),
        audio: Some(true),
    }
}

fn image() -> ImageSpec {
    ImageSpec {
        common: common("a cat"),
        width: Some(512),
        height: Some(768),
        num_images: Some(4),
        output_format: Some("png".to_owned()),
    }
}

fn bare_video() -> VideoSpec {
    VideoSpec {
        common: Common::new("x"),
        ..VideoSpec::default()
    }
}

fn bare_image() -> ImageSpec {
    ImageSpec {
        common: Common::new("x"),
        ..ImageSpec::default()
    }
}

fn bare(spec: Spec) -> Request {
    Request {
        id: id("r-1"),
        user: id("u"),
        spec,
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
        requested_at: None,
    }
}

fn full(spec: Spec) -> Request {
    Request {
        priority: Priority::High,
        timeout: Some(Duration::from_secs(90)),
        targets: Targets::parse(
            Some("https://example.com/hook?a=b"),
            Some("a@example.com"),
            Some("https://hooks.example.com/s"),
        )
        .unwrap(),
        notify_on: vec![
            EventType::Started,
            EventType::Progress,
            EventType::Completed,
            EventType::Failed,
            EventType::Cancelled,
            EventType::Rejected,
        ],
        metadata: names(&[("order", "7"), ("shop", "Zürich")]),
        requested_at: Some(1_700_000_000_123),
        ..bare(spec)
    }
}

fn batch() -> BatchSpec {
    BatchSpec {
        strategy: Strategy::Sequential,
        max_concurrent: 9,
        on_failure: OnFailure::Stop,
        items: vec![
            BatchItem {
                request_id: id("i-1"),
                spec: Single::Image(image()),
                webhook_url: Some("https://example.com/item".parse().unwrap()),
                notify_on: vec![EventType::Completed],
                metadata: names(&[("k", "v")]),
            },
            BatchItem {
                request_id: id("i-2"),
                spec: Single::Video(video()),
                webhook_url: None,
                notify_on: Vec::new(),
                metadata: BTreeMap::new(),
            },
            BatchItem {
                request_id: id("i-3"),
                spec: Single::Image(bare_image()),
                webhook_url: None,
                notify_on: Vec::new(),
                metadata: BTreeMap::new(),
            },
        ],
    }
}

fn every_request() -> Vec<Request> {
    let small = BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 3,
        on_failure: OnFailure::Continue,
        items: batch().items.split_off(2),
    };
    let specs: [Spec; 6] = [
        Single::Video(video()).into(),
        Single::Video(bare_video()).into(),
        Single::Image(image()).into(),
        Single::Image(bare_image()).into(),
        Spec::Batch(batch()),
        Spec::Batch(small),
    ];
    let mut requests = Vec::new();
    for spec in specs {
        requests.push(bare(spec.clone()));
        requests.push(full(spec));
    }
    requests
}

#[test]
fn every_request_reads_back_as_it_was_written() {
    for request in every_request() {
        let datum = write_request(&request).unwrap();

        assert_eq!(read_request(&REQUEST.schema, &datum).unwrap(), request);
    }
}

#[test]
fn what_the_readmes_producer_writes_is_read() {
    // From Python: fastavro.schemaless_writer with the README's request; it fills in the defaults.
    let hex = concat!(
        "0e6f726465722d370a616c6963650212612072656420666f7800028008028008",
        "000000000000000000020004000000000806080a0c000000",
    );
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let datum: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();

    let read = read_request(&REQUEST.schema, &datum).unwrap();

    let spec = Single::Image(ImageSpec {
        common: Common::new("a red fox"),
        width: Some(512),
        height: Some(512),
        ..ImageSpec::default()
    });
    let sent = Request {
        id: id("order-7"),
        user: id("alice"),
        notify_on: EventType::NOTIFIED_BY_DEFAULT.to_vec(),
        ..bare(spec.into())
    };
    assert_eq!(read, sent);
}

#[test]
fn every_priority_reads_back_as_it_was_written() {
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let request = Request {
            priority,
            ..bare(Single::Image(bare_image()).into())
        };

        let datum = write_request(&request).unwrap();

        assert_eq!(
            read_request(&REQUEST.schema, &datum).unwrap().priority,
            priority
        );
    }
}

#[test]
fn every_command_reads_back_as_it_was_written() {
    for action in [Action::Cancel, Action::Retry] {
        for text in [None, Some("because".to_owned())] {
            let command = Command {
                id: id("c-1"),
                request: id("r-1"),
                action,
                reason: text.clone(),
                issued_by: text,
            };

            let datum = write_command(&command, Some(1_700_000_000_123)).unwrap();

            assert_eq!(read_command(&COMMAND.schema, &datum).unwrap(), command);
        }
    }
}

fn bare_event() -> Event {
    Event {
        event_id: "92f851a0-b346-56ba-a96a-2664761e241d".to_owned(),
        request_id: "r-1".to_owned(),
        kind: Kind::Unknown,
        event_type: EventType::Started,
        occurred_at: 1_700_000_000_123,
        ..Event::for_test(0, 0)
    }
}

fn output() -> Output {
    Output {
        uri: "file:///results/a.png".to_owned(),
        url: None,
        content_type: "image/png".to_owned(),
        bytes: 5_000_000_000,
        sha256: "ab".repeat(32),
        width: None,
        height: None,
        duration_seconds: None,
    }
}

fn full_result() -> Generated {
    Generated {
        outputs: vec![
            output(),
            Output {
                url: Some("https://cdn.example.com/a.png".to_owned()),
                width: Some(1),
                height: Some(2),
                duration_seconds: Some(1.5),
                ..output()
            },
        ],
        provider: "replicate".to_owned(),
        provider_job_id: "job".to_owned(),
        elapsed_ms: 12_345,
        cost_usd: Some(0.02),
        cost_source: Some(CostSource::Metered),
        sent: Some("{}".to_owned()),
        notes: vec![Note {
            field: "resolution".to_owned(),
            kind: "adapted".to_owned(),
            details: "720p".to_owned(),
        }],
        model: Some("flux".to_owned()),
    }
}

fn full_event() -> Event {
    Event {
        retry: 2,
        sequence: 5,
        batch_id: Some("b-1".to_owned()),
        kind: Kind::Video,
        event_type: EventType::Failed,
        workflow_id: Some("r-1~2".to_owned()),
        run_id: Some("run".to_owned()),
        progress: Some(Progress {
            percent: 40,
            stage: "processing".to_owned(),
            message: Some("step 4".to_owned()),
        }),
        result: Some(full_result()),
        batch: Some(BatchSummary {
            total: 5,
            completed: 1,
            failed: 2,
            cancelled: 1,
            not_started: 1,
        }),
        error: Some(EventError {
            problems: vec![Problem {
                field: "fps".to_owned(),
                asked: Some("7".to_owned()),
                allowed: None,
                hint: Some("leave it out".to_owned()),
            }],
            ..EventError::new(ErrorCode::ProviderFailed, "boom", true)
        }),
        record: Some(RecordPosition {
            topic: "gen.requests".to_owned(),
            partition: 3,
            offset: 9_000_000_000,
        }),
        notify: Some(Notify {
            on: vec![EventType::Completed, EventType::Rejected],
            sealed: Sealed(vec![0, 1, 254, 255]),
        }),
        metadata: names(&[("order", "7")]),
        tried: vec![Tried::of(
            "fal",
            "fal-ai/x",
            &EventError::new(ErrorCode::ProviderAuth, "no key", true),
        )],
        ..bare_event()
    }
}

#[test]
fn every_event_reads_back_as_it_was_written() {
    for event in [bare_event(), full_event()] {
        let datum = write(&EVENT, &event).unwrap();

        assert_eq!(read_event(&EVENT.schema, &datum).unwrap(), event);
    }
}
