//! What the parts without I/O cost: decoding, fingerprint, binding to a model's input, the deciding of events, encoding,
//! encryption.
//!
//! `cargo bench --bench pure` prints nanoseconds per call, the median and the fastest of several rounds. `cargo test`
//! runs each part once.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and panics if it cannot continue"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use genflow::contract::avro;
use genflow::domain::model::{Schema, bind, bundle};
use genflow::domain::{
    BatchItem, BatchSpec, Common, Event, EventType, Generated, Identity, ImageSpec, Journal, Kind,
    OnFailure, Outcome, Output, Priority, Progress, ProviderName, Request, Secret, Single, Spec,
    Strategy, Targets, VideoSpec, fingerprint,
};
use genflow::engines::config::{PayloadCodec, PayloadKey};
use genflow::engines::temporal::payloads::Codec;
use temporalio_common::protos::temporal::api::common::v1::Payload;

const ROUNDS: usize = 11;
/// Least time of a round.
const ROUND: Duration = Duration::from_millis(50);

fn main() {
    // `cargo bench` says so; `cargo test` does not.
    let rounds = match std::env::args().any(|argument| argument == "--bench") {
        true => ROUNDS,
        false => 0,
    };
    let single = request("order-7", image());
    let batch = request("order-8", batch(1_000));
    for (of, request) in [("an image", &single), ("a batch of 1,000", &batch)] {
        let datum = avro::write_request(request).expect("it fits the schema");
        measure(rounds, &format!("encode {of}"), || {
            avro::write_request(request)
        });
        measure(rounds, &format!("decode and check {of}"), || {
            avro::read_request(&avro::REQUEST.schema, &datum)
        });
        measure(rounds, &format!("fingerprint of {of}"), || {
            fingerprint(request)
        });
    }
    for (provider, model, single) in [
        (ProviderName::FAL, "fal-ai/nano-banana-pro", wide_image()),
        (ProviderName::REPLICATE, "google/veo-3.1", film()),
    ] {
        let input = bundle::input(provider, model).expect("it is bundled");
        let schema = Schema::parse(&serde_json::Value::Null, input);
        let profile = bundle::profile(provider, model, schema);
        measure(rounds, &format!("bind to {model}"), || {
            bind(&profile, &single)
        });
    }
    measure(rounds, "decide three events", || Some(decided()));
    let [.., outcome] = &decided()[..] else {
        return;
    };
    let datum = avro::write(&avro::EVENT, outcome).expect("it fits the schema");
    measure(rounds, "encode COMPLETED", || {
        avro::write(&avro::EVENT, outcome)
    });
    measure(rounds, "decode COMPLETED", || {
        avro::read_event(&avro::EVENT.schema, &datum)
    });
    measure_payloads(rounds);
}

/// Measures the codec of Temporal's payloads, with an input of some thousand bytes.
fn measure_payloads(rounds: usize) {
    let events: Vec<_> = (0..4).flat_map(|_| decided()).collect();
    let plain = Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: serde_json::to_vec(&events).expect("events are JSON"),
        ..Payload::default()
    };
    let size = plain.data.len();
    let key = PayloadKey {
        id: "one".to_owned(),
        key: Secret::new("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned()),
    };
    for (what, encrypts, compresses) in [
        ("plain", false, false),
        ("encrypted", true, false),
        ("compressed", false, true),
    ] {
        let settings = PayloadCodec {
            keys: vec![key.clone()],
            encrypts,
            compresses,
        };
        let codec = Codec::new(&settings).expect("a good key");
        measure(rounds, &format!("encode {size} bytes, {what}"), || {
            codec.encode(plain.clone())
        });
        let encoded = codec.encode(plain.clone()).expect("it can be encoded");
        measure(rounds, &format!("decode {size} bytes, {what}"), || {
            codec.decode(encoded.clone())
        });
    }
}

/// Runs `work` once, and then in rounds with as many calls as take long enough.
fn measure<T: IntoIterator>(rounds: usize, name: &str, work: impl Fn() -> T) {
    let run = |calls: u32| {
        let began = Instant::now();
        for _ in 0..calls {
            black_box(work());
        }
        began.elapsed()
    };
    let works = work().into_iter().next().is_some();
    assert!(works, "{name} fails");
    let mut calls = 1;
    while rounds > 0 && run(calls) < ROUND {
        calls *= 2;
    }
    let mut times: Vec<_> = (0..rounds).map(|_| run(calls) / calls).collect();
    times.sort();
    if let Some(fastest) = times.first() {
        let median = times[times.len() / 2].as_nanos();
        println!(
            "{name:<36} {median:>10} ns, fastest {:>10} ns",
            fastest.as_nanos()
        );
    }
}

/// Returns the events of a run, as its workflow decides them.
fn decided() -> Vec<Event> {
    let identity = Identity {
        request: "order-7".to_owned().try_into().expect("a good id"),
        retry: 0,
        batch: None,
        user: "ann".to_owned().try_into().expect("a good id"),
        kind: Kind::Image,
        run_id: "0a6a7f0e-9c1b-7c5e-8a5b-0b8f4f6f6d11".to_owned(),
        first_run_id: "0a6a7f0e-9c1b-7c5e-8a5b-0b8f4f6f6d11".to_owned(),
        notify: None,
        metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
    };
    let progress = Progress {
        percent: 50,
        stage: "processing".to_owned(),
        message: None,
    };
    let mut journal = Journal::default();
    journal.open(&identity, 1_700_000_000_000);
    journal.progress(&identity, 1_700_000_001_000, &progress);
    let outcome = Outcome::Completed(generated());
    journal.close(&identity, 1_700_000_002_000, outcome, None);
    journal.unconfirmed
}

fn generated() -> Generated {
    Generated {
        outputs: vec![Output {
            uri: "file:///results/order-7/0-0123456789abcdef.png".to_owned(),
            url: None,
            content_type: "image/png".to_owned(),
            bytes: 1_048_576,
            sha256: "0123456789abcdef".repeat(4),
            width: Some(1024),
            height: Some(1024),
            duration_seconds: None,
        }],
        provider: "replicate".to_owned(),
        provider_job_id: "k3y9x2".to_owned(),
        elapsed_ms: 4_200,
        cost_usd: None,
        cost_source: None,
        sent: None,
        notes: Vec::new(),
        model: None,
    }
}

fn request(id: &str, spec: Spec) -> Request {
    Request {
        id: id.to_owned().try_into().expect("a good id"),
        user: "ann".to_owned().try_into().expect("a good id"),
        spec,
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: vec![EventType::Completed],
        metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
        requested_at: Some(1_700_000_000_000),
    }
}

fn image() -> Spec {
    Single::Image(picture()).into()
}

fn picture() -> ImageSpec {
    ImageSpec {
        common: Common::new("a red fox in the snow, golden hour, 35 mm"),
        width: Some(1024),
        height: Some(1024),
        ..ImageSpec::default()
    }
}

/// Returns an image whose size and count the model has under other names.
fn wide_image() -> Single {
    Single::Image(ImageSpec {
        width: Some(1280),
        height: Some(720),
        num_images: Some(2),
        output_format: Some("png".to_owned()),
        ..picture()
    })
}

fn film() -> Single {
    Single::Video(VideoSpec {
        common: picture().common,
        duration: Some(8),
        resolution: Some("1920x1080".to_owned()),
        ..VideoSpec::default()
    })
}

fn batch(items: usize) -> Spec {
    let item = |number| BatchItem {
        request_id: format!("item-{number}").try_into().expect("a good id"),
        spec: Single::Image(picture()),
        webhook_url: None,
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
    };
    Spec::Batch(BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 100,
        on_failure: OnFailure::Continue,
        items: (0..items).map(item).collect(),
    })
}
