//! Items survive the compact form unchanged, and it stays small enough.

use std::time::Duration;

use super::*;
use crate::contract::run::DefaultProviders;
use crate::contract::run::SubmitQueues;
use crate::contract::seal::NotifyKey;
use crate::domain::Secret;
use crate::domain::{
    Common, EventType, ImageSpec, ItemCounts, Priority, ProviderName, VideoSpec, fingerprint,
};
use crate::engines::config::Config;
use apache_avro::Schema;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Returns a sealer whose key id has the greatest length allowed.
fn sealer() -> Sealer {
    let key = NotifyKey {
        id: "k".repeat(32),
        key: Secret::new(BASE64.encode([7; 32])),
    };
    Sealer::new(&[key]).unwrap()
}

fn item(number: usize, webhook: Option<&str>) -> BatchItem {
    BatchItem {
        request_id: format!("item-{number}").try_into().unwrap(),
        spec: Single::Image(ImageSpec {
            common: Common::new(format!("fox {number}")),
            ..ImageSpec::default()
        }),
        webhook_url: webhook.map(|url| url.parse().unwrap()),
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

fn batch(items: Vec<BatchItem>) -> (Request, BatchSpec) {
    let spec = BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 7,
        on_failure: OnFailure::Stop,
        items,
    };
    let request = Request {
        id: "batch".to_owned().try_into().unwrap(),
        user: "ann".to_owned().try_into().unwrap(),
        spec: Spec::Batch(spec.clone()),
        priority: Priority::High,
        timeout: Some(Duration::from_secs(60)),
        targets: Targets::parse(Some("https://example.com/of-the-batch"), None, None).unwrap(),
        notify_on: vec![EventType::Completed],
        metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        requested_at: None,
    };
    (request, spec)
}

fn start(total: u32) -> BatchStart {
    let Config { intake, worker, .. } = Config::of(&[]).unwrap();
    BatchStart {
        request: "batch".to_owned().try_into().unwrap(),
        user: "ann".to_owned().try_into().unwrap(),
        metadata: BTreeMap::new(),
        notify: None,
        notify_on: vec![EventType::Completed],
        timeout_ms: 60_000,
        image_timeout_ms: 1_000,
        video_timeout_ms: 2_000,
        progress_every_ms: 5_000,
        segment: 500,
        steps: intake.steps,
        fetch_queue: "f".to_owned(),
        providers: worker.default_providers(),
        submit_queues: SubmitQueues::default(),
        traceparent: None,
        counts: ItemCounts {
            total,
            ..ItemCounts::default()
        },
        started_at: None,
        journal: crate::domain::Journal::default(),
        fallbacks: Default::default(),
    }
}

#[test]
fn an_item_comes_back_as_the_run_it_becomes() {
    let mut second = item(2, None);
    second.spec = Single::Video(VideoSpec {
        common: Common::new("waves"),
        ..VideoSpec::default()
    });
    second.notify_on = vec![EventType::Failed];
    second.metadata.insert("n".to_owned(), "2".to_owned());
    let hook = Some("https://example.com/hook");
    let mut third = item(3, hook);
    third.notify_on = vec![EventType::Failed];
    let (request, spec) = batch(vec![item(1, hook), second.clone(), third]);

    let bytes = write(&request, &spec, &sealer()).unwrap();
    let items = Items::read(&bytes).unwrap();

    assert_eq!((items.total(), items.window()), (3, 7));
    assert_eq!(items.on_failure(), OnFailure::Stop);
    assert_eq!(items.seals.len(), 1, "equal targets are sealed once");
    let first = items.start(&start(3), 0).unwrap();
    assert_eq!(first.batch.unwrap().as_str(), "batch");
    let print = fingerprint(&request.item(&spec.items[0])).unwrap();
    assert_eq!(first.fingerprint, print);
    let notify = first.notify.unwrap();
    assert_eq!(notify.on, [EventType::Completed]);
    let opened = sealer().open(&notify.sealed, "batch").unwrap();
    assert_eq!(opened, Targets::parse(hook, None, None).unwrap());
    let video = items.start(&start(3), 1).unwrap();
    assert_eq!((video.spec, video.metadata), (second.spec, second.metadata));
    assert_eq!((video.timeout_ms, video.notify), (2_000, None));
    let third = items.start(&start(3), 2).unwrap();
    assert_eq!(third.notify.unwrap().on, [EventType::Failed]);
    assert!(items.start(&start(3), 3).is_none());
}

#[test]
fn an_item_keeps_the_provider_that_was_resolved_with_its_batch() {
    let mut named = item(2, None);
    if let Single::Image(image) = &mut named.spec {
        image.common.provider = Some(ProviderName::REPLICATE);
    }
    let (request, spec) = batch(vec![item(1, None), named]);
    let items = Items::read(&write(&request, &spec, &sealer()).unwrap()).unwrap();
    let mut batch = start(2);
    batch.providers = DefaultProviders {
        video: ProviderName::FAL,
        image: ProviderName::OPENAI,
    };
    let queues = &mut batch.submit_queues.0;
    queues.insert("openai".to_owned(), Some("openai".to_owned()));

    let of = |index| {
        let start = items.start(&batch, index).unwrap();
        (start.provider, start.submit_queue)
    };

    assert_eq!(of(0), (ProviderName::OPENAI, Some("openai".to_owned())));
    assert_eq!(of(1), (ProviderName::REPLICATE, None));
}

#[test]
fn no_target_can_be_read_in_it() {
    let (request, spec) = batch(vec![item(1, Some("https://example.com/secret-token"))]);

    let bytes = write(&request, &spec, &sealer()).unwrap();

    for plain in ["secret-token", "of-the-batch"] {
        assert!(!bytes.windows(plain.len()).any(|at| at == plain.as_bytes()));
    }
}

#[test]
fn ten_thousand_items_of_a_full_record_pass_the_server() {
    // Distinct targets, and prompts that fill a record of 1 MiB.
    let urls = (0..10_000).map(|number| format!("https://h/{number}"));
    let items = urls.enumerate().map(|(number, url)| {
        let mut item = item(number, Some(&url));
        if let Single::Image(image) = &mut item.spec {
            image.common.prompt = "x".repeat(57);
        }
        item
    });
    let (request, spec) = batch(items.collect());
    let record = avro::write_request(&request).unwrap();
    assert!(
        (1_000_000..1024 * 1024).contains(&record.len()),
        "{}",
        record.len()
    );

    let began = std::time::Instant::now();
    let bytes = write(&request, &spec, &sealer()).unwrap();
    let written = began.elapsed();
    let items = Items::read(&bytes).unwrap();

    let (size, took) = (bytes.len(), began.elapsed());
    #[expect(clippy::print_stdout, reason = "to be read with --nocapture")]
    let () = println!(
        "record {}, input {size}, written in {written:?}, in all {took:?}",
        record.len()
    );
    assert_eq!(items.total(), 10_000);
    assert!(size < record.len() + 10_000 * 78 + 1_000, "{size}");
    assert!(size < 2_000_000, "{size}");
}

#[test]
fn what_is_cut_off_or_of_another_format_does_not_read() {
    let (request, spec) = batch(vec![item(1, Some("https://example.com/a")), item(2, None)]);
    let bytes = write(&request, &spec, &sealer()).unwrap();

    for length in 0..bytes.len() {
        assert!(Items::read(&bytes[..length]).is_err(), "{length}");
    }
    assert!(Items::read(&[&bytes[..], &[0]].concat()).is_err());
    assert!(matches!(Items::read(&[9]), Err(Unreadable::Format(9))));
}

#[test]
fn the_format_is_that_of_the_schema_of_today() {
    // If this fails, the items need a new format, and this format must stay readable. Docs and defaults do not matter:
    // the canonical form of a schema has all that decides how a datum is written, and no more.
    let stored = include_str!("../../../schemas/history/1/GenerationRequest.avsc");
    let stored = Schema::parse_str(stored).unwrap();

    assert_eq!(
        stored.canonical_form(),
        avro::REQUEST.schema.canonical_form()
    );
}
