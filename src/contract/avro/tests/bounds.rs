//! No event exceeds 256 kB, for any request and any answer of a provider (contract, section 3, rule 5).

use super::*;
use crate::contract::seal::NotifyKey;
use crate::contract::seal::Sealer;
use crate::domain::Secret;
use crate::domain::{Identity, Journal, LARGEST_EVENT, Outcome, Single};

/// A character of four bytes; percent-encoded in a URL it takes twelve.
const WIDE: &str = "\u{1f98a}";

/// The longest path of a file that Linux opens.
const LONGEST_PATH: usize = 4095;

fn at_all_bounds() -> Request {
    let url = format!("https://h/{}", WIDE.repeat(2048 - "https://h/".len()));
    let email = format!("{}@h", WIDE.repeat(2046));
    let entries = (0..32).map(|n| (format!("{n:02}"), "v".repeat(254)));
    Request {
        id: id(&"r".repeat(128)),
        user: id(&WIDE.repeat(128)),
        targets: Targets::parse(Some(&url), Some(&email), Some(&url)).unwrap(),
        metadata: entries.collect(),
        ..full(Single::Image(image()).into())
    }
    .check()
    .unwrap()
}

fn identity(request: &Request) -> Identity {
    let key = NotifyKey {
        id: "k".repeat(32),
        key: Secret::new("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=".to_owned()),
    };
    let sealer = Sealer::new(&[key]).unwrap();
    let sealed = sealer.seal(&request.targets, request.id.as_str()).unwrap();
    Identity {
        request: request.id.clone(),
        retry: i32::MAX.unsigned_abs(),
        batch: Some(id(&"b".repeat(128))),
        user: request.user.clone(),
        kind: request.spec.kind(),
        run_id: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        first_run_id: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        notify: Some(Notify {
            on: request.notify_on.clone(),
            sealed,
        }),
        metadata: request.metadata.clone(),
    }
}

/// The most outputs that a request may ask for, each with the longest possible path.
fn longest_outputs() -> Vec<Output> {
    let parts = "\u{e9}".repeat(127);
    let folder = format!("/{parts}").repeat(LONGEST_PATH / (parts.len() + 1));
    let uri = url::Url::from_file_path(folder).unwrap().to_string();
    let output = Output {
        uri,
        url: Some("https://cdn.example.com/".to_owned() + &"u".repeat(2024)),
        bytes: i64::MAX,
        width: Some(i32::MAX),
        height: Some(i32::MAX),
        duration_seconds: Some(f64::MAX),
        ..output()
    };
    vec![output; 16]
}

fn generated(outputs: Vec<Output>) -> Generated {
    Generated {
        outputs,
        provider: "replicate".to_owned(),
        provider_job_id: WIDE.repeat(256),
        elapsed_ms: i64::MAX,
        cost_usd: Some(f64::MAX),
        cost_source: Some(CostSource::Estimate),
        sent: None,
        notes: Vec::new(),
        model: Some(WIDE.repeat(256)),
    }
}

/// Returns the most models that a run may have tried, with the longest texts.
fn all_tried() -> Vec<Tried> {
    let long = WIDE.repeat(100_000);
    let error = EventError::new(ErrorCode::CancelledBeforeStart, &long, true);
    vec![Tried::of("replicate", &long, &error); 6]
}

fn closed(identity: &Identity, outcome: Outcome) -> Event {
    closed_after(identity, outcome, Vec::new())
}

fn closed_after(identity: &Identity, outcome: Outcome, tried: Vec<Tried>) -> Event {
    let mut journal = Journal {
        tried,
        ..Journal::default()
    };
    journal.close(identity, i64::MAX, outcome, None);
    journal.unconfirmed.remove(0)
}

fn size(event: &Event) -> usize {
    let bytes = write(&EVENT, event).unwrap().len();
    assert!(bytes <= event.weight(), "weight too low: {bytes} bytes");
    bytes
}

#[test]
fn no_event_of_the_largest_request_exceeds_256_kb() {
    let identity = identity(&at_all_bounds());
    let long = WIDE.repeat(100_000);
    let mut journal = Journal::default();
    journal.open(&identity, i64::MAX);
    let progress = Progress {
        percent: 100,
        stage: long.clone(),
        message: Some(long.clone()),
    };
    journal.progress(&identity, i64::MAX, &progress);
    let problem = Problem {
        field: "fps".to_owned(),
        asked: Some(WIDE.repeat(100)),
        allowed: Some(WIDE.repeat(100)),
        hint: Some(WIDE.repeat(100)),
    };
    let error = EventError {
        problems: vec![problem; 16],
        ..EventError::new(ErrorCode::CancelledBeforeStart, &long, true)
    };
    let mut events = journal.unconfirmed;
    let outcomes = [
        Outcome::Failed(error),
        Outcome::Cancelled,
        Outcome::Completed(generated(longest_outputs())),
    ];
    for outcome in outcomes {
        events.push(closed_after(&identity, outcome, all_tried()));
    }

    for event in &events {
        let bytes = size(event);
        assert!(bytes <= LARGEST_EVENT, "{:?}: {bytes}", event.event_type);
    }
}

#[test]
fn too_large_an_event_loses_output_urls_first_then_what_was_sent_then_metadata() {
    let identity = identity(&at_all_bounds());
    let outputs = longest_outputs();
    let (few, all) = (outputs[..14].to_vec(), outputs);
    let noted = |outputs: &[Output], sent: usize| {
        let note = Note {
            field: "fps".to_owned(),
            kind: "dropped".to_owned(),
            details: WIDE.repeat(100),
        };
        let made = Generated {
            sent: Some("s".repeat(sent)),
            notes: vec![note; 3],
            ..generated(outputs.to_vec())
        };
        closed(&identity, Outcome::Completed(made))
    };

    let without_addresses = noted(&few, 100);
    let without_sent = noted(&few, 60_000);
    let without_metadata = noted(&all, 60_000);

    let result = without_addresses.result.unwrap();
    assert!(result.outputs.iter().all(|output| output.url.is_none()));
    assert!(result.sent.is_some() && result.notes.len() == 3);
    assert_eq!(without_addresses.metadata, identity.metadata);
    assert!(size(&without_sent) <= LARGEST_EVENT);
    let result = without_sent.result.unwrap();
    assert!(result.sent.is_none() && result.notes.is_empty());
    assert_eq!(without_sent.metadata, identity.metadata);
    assert!(without_metadata.metadata.is_empty());
    let stored = |outputs: &[Output]| -> Vec<_> {
        let names = outputs.iter();
        names
            .map(|output| (output.uri.clone(), output.sha256.clone()))
            .collect()
    };
    assert_eq!(
        stored(&without_metadata.result.unwrap().outputs),
        stored(&all)
    );
    assert_eq!(without_metadata.notify, identity.notify);
}

#[test]
fn the_models_tried_are_left_out_before_the_metadata() {
    let identity = identity(&at_all_bounds());
    let outputs = longest_outputs()[..14].to_vec();
    let made = Outcome::Completed(generated(outputs));

    let tried = vec![all_tried().remove(0); 60];
    let event = closed_after(&identity, made, tried);

    assert!(size(&event) <= LARGEST_EVENT);
    assert_eq!(event.tried, []);
    assert_eq!(event.metadata, identity.metadata);
}

#[test]
fn an_event_that_fits_is_not_cut() {
    let request = full(Single::Image(image()).into());
    let output = Output {
        url: Some("https://cdn.example.com/a.png".to_owned()),
        ..output()
    };
    let made = generated(vec![output; 16]);

    let event = closed(&identity(&request), Outcome::Completed(made.clone()));

    assert_eq!(event.result, Some(made));
    assert_eq!(event.metadata, request.metadata);
}

#[test]
fn outputs_at_their_bounds_fit_and_thousands_do_not() {
    assert!(Generated::fits(&longest_outputs()));
    assert!(Generated::fits(&vec![output(); 500]));
    assert!(!Generated::fits(&vec![output(); 5_000]));
}

#[test]
fn an_event_type_that_is_repeated_is_notified_of_once() {
    let mut request = bare(Single::Image(bare_image()).into());
    request.notify_on = [EventType::Failed, EventType::Completed].repeat(30_000);

    let datum = write_request(&request).unwrap();

    let read = read_request(&REQUEST.schema, &datum).unwrap();
    assert_eq!(read.notify_on, [EventType::Failed, EventType::Completed]);
}

#[test]
fn an_invalid_user_id_is_left_out_of_the_answer() {
    let name = "u".repeat(1_000_000);
    let request = write_request(&bare(Single::Image(bare_image()).into())).unwrap();
    let mut value = datum::read(&REQUEST.schema, &request).unwrap();
    if let Value::Record(fields) = &mut value {
        let user = fields.iter_mut().find(|(field, _)| field == "user_id");
        user.unwrap().1 = Value::String(name);
    }
    let datum = GenericDatumWriter::builder(&REQUEST.schema)
        .build()
        .unwrap()
        .write_value_to_vec(value)
        .unwrap();

    let error = read_request(&REQUEST.schema, &datum).unwrap_err();

    let Error::Invalid { error, named } = error else {
        panic!("{error}");
    };
    assert_eq!(error.listed[0].field, "user_id");
    assert_eq!(named.unwrap().user, "");
}
