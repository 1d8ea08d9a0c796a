//! The allocations of a request's pure path, against committed numbers. They are counted in a test binary of their own,
//! because the counting allocator slows a program down.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use allocation_counter::measure;
use genflow::contract::avro;
use genflow::domain::{
    Common, EventType, Generated, Identity, ImageSpec, Journal, Outcome, Output, Priority,
    ProviderName, Request, Single, Targets, fingerprint,
};
use genflow::engines::config::Log;
use genflow::engines::telemetry::{self, spans};

use self::table::{Figures, check};

#[path = "it/counts/table.rs"]
mod table;

fn request() -> Request {
    let spec = ImageSpec {
        common: Common::new("a red fox in the snow, golden hour, 35 mm"),
        width: Some(1024),
        height: Some(1024),
        ..ImageSpec::default()
    };
    Request {
        id: "order-7".to_owned().try_into().unwrap(),
        user: "ann".to_owned().try_into().unwrap(),
        spec: Single::Image(spec).into(),
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: EventType::NOTIFIED_BY_DEFAULT.to_vec(),
        metadata: [("order".to_owned(), "7".to_owned())].into(),
        requested_at: None,
    }
}

fn identity(request: &Request) -> Identity {
    Identity {
        request: request.id.clone(),
        retry: 0,
        batch: None,
        user: request.user.clone(),
        kind: request.spec.kind(),
        run_id: "5f0c7d1e-97f5-4a3f-8a55-0d8f5f0c7d1e".to_owned(),
        first_run_id: "5f0c7d1e-97f5-4a3f-8a55-0d8f5f0c7d1e".to_owned(),
        notify: None,
        metadata: request.metadata.clone(),
    }
}

fn outcome() -> Outcome {
    let output = Output {
        uri: "file:///srv/results/order-7/0.png".to_owned(),
        url: None,
        content_type: "image/png".to_owned(),
        bytes: 1_000_000,
        sha256: "0".repeat(64),
        width: Some(1024),
        height: Some(1024),
        duration_seconds: None,
    };
    Outcome::Completed(Generated {
        outputs: vec![output],
        provider: "replicate".to_owned(),
        provider_job_id: "0123456789abcdefghijklmnop".to_owned(),
        elapsed_ms: 1000,
        cost_usd: None,
        cost_source: None,
        sent: None,
        notes: Vec::new(),
        model: None,
    })
}

/// Takes one request along its pure path; returns the number of allocations of each step.
fn steps() -> Figures {
    let datum = avro::write_request(&request()).unwrap();
    let (mut decoded, mut journal) = (None, Journal::default());
    let decoding = measure(|| decoded = avro::read_request(&avro::REQUEST.schema, &datum).ok());
    let request = decoded.unwrap();
    let hashing = measure(|| drop(fingerprint(&request).unwrap()));
    let (identity, outcome) = (identity(&request), outcome());
    let deciding = measure(|| {
        journal.open(&identity, 0);
        journal.close(&identity, 1000, outcome, None);
    });
    let encoding = measure(|| {
        for event in &journal.unconfirmed {
            avro::write(&avro::EVENT, event).unwrap();
        }
    });
    let tracing = measure(untraced);
    let steps = [
        ("decode a request", decoding),
        ("compute its fingerprint", hashing),
        ("decide STARTED and COMPLETED", deciding),
        ("encode STARTED and COMPLETED", encoding),
        ("spans while traces are off", tracing),
    ];
    steps
        .map(|(step, counted)| (format!("allocations: {step}"), counted.count_total))
        .into()
}

/// Opens the spans that exist only for traces, with the log as in production.
fn untraced() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for span in [
        spans::start_workflow("generation.v1", "order-7"),
        spans::provider_step(ProviderName::REPLICATE, "submit"),
        spans::store("put", "disk"),
    ] {
        span.in_scope(|| {
            let sent_on = spans::traceparent(Some(trace));
            assert_eq!(sent_on.as_deref(), Some(trace));
            spans::failed("full");
        });
    }
}

#[test]
fn the_pure_path_allocates_as_often_as_before() {
    let log = Log {
        filter: "warn,genflow=info".to_owned(),
        json: true,
        file: None,
    };
    telemetry::init(&log, None).unwrap();
    // The first time, the schemas are parsed too.
    steps();

    check("allocations", steps());
}
