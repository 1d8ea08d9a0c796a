//! How many records per second the intake's consumer handles, on a real Kafka and a real registry.
//!
//! The start of the workflow is replaced: first by nothing, which leaves decode, validation, fingerprint, scheduling
//! and commit; then by a pause of 0 to 5 ms with 20 keys, alternating between parallel handling and one record at a
//! time. That is the experiment of the parallel-consumer project
//! (<https://github.com/confluentinc/parallel-consumer>).
//!
//! `cargo bench --bench intake` (release), or `cargo bench --profile dev --bench intake` without another build.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and panics if it cannot continue"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use genflow::contract::avro;
use genflow::dev::engines::{EnginePorts, Engines, Existing, Options, default_cache};
use genflow::domain::{
    Common, EventType, ImageSpec, Priority, Request, Single, Targets, fingerprint,
};
use genflow::engines::config::Config;
use genflow::engines::health::Health;
use genflow::engines::kafka::Record;
use genflow::engines::kafka::admin::{Asked, lag};
use genflow::engines::kafka::consumer;
use genflow::engines::kafka::consumer::{Failure, Handler, Slots};
use genflow::engines::kafka::producer::{Message, Producer};
use genflow::engines::registry::Registry;
use genflow::operate::setup;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

/// Number of runs of each measurement; the median is printed.
const RUNS: usize = 3;

#[tokio::main]
async fn main() {
    let data =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    let engines = Engines::start(&Options {
        cache: default_cache(),
        data: data.clone(),
        guard: env!("CARGO_BIN_EXE_genflow").into(),
        ports: EnginePorts::Free,
        existing: Existing::default(),
        progress: Arc::new(|line: &str| println!("engines: {line}")),
    })
    .await
    .unwrap();

    let plain = bench(&engines, "noop", 50_000, 50_000, None).await;
    plain.print(
        "decode, validate, schedule, commit; no start; 16 at once",
        16,
    );
    let slow = bench(&engines, "slow", 4_000, 20, Some(Duration::from_millis(5))).await;
    slow.print("a start of 0 to 5 ms, 20 keys, 16 records at once", 16);
    slow.print("a start of 0 to 5 ms, 20 keys, one record at a time", 1);
    println!(
        "16 records at once are {:.1} times as fast as one at a time",
        slow.median(16) / slow.median(1)
    );
    engines.stop().await;
    std::fs::remove_dir_all(data).ok();
}

/// Records per second, by concurrency.
struct Rates(BTreeMap<usize, Vec<f64>>);

impl Rates {
    fn median(&self, concurrency: usize) -> f64 {
        let mut rates = self.0[&concurrency].clone();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }

    fn print(&self, what: &str, concurrency: usize) {
        let all: Vec<_> = self.0[&concurrency]
            .iter()
            .map(|rate| format!("{rate:.0}"))
            .collect();
        println!(
            "{what}: {:.0} records/s (median of {})",
            self.median(concurrency),
            all.join(", ")
        );
    }
}

async fn bench(
    engines: &Engines,
    name: &str,
    records: usize,
    keys: usize,
    pause: Option<Duration>,
) -> Rates {
    let variables = BTreeMap::from([
        ("KAFKA_BROKERS", engines.kafka_brokers.clone()),
        ("SCHEMA_REGISTRY_URL", engines.schema_registry_url.clone()),
        ("TEMPORAL_HOST", engines.temporal_host.clone()),
        ("TOPIC_REQUESTS", format!("{name}.requests")),
    ]);
    let config = Config::load(|name| variables.get(name).cloned()).unwrap();
    setup::run(&config, Asked::ONE_COPY, &mut std::io::sink())
        .await
        .unwrap();
    let registry = Arc::new(Registry::new(&config.schema_registry_url).unwrap());
    let producer = Arc::new(Producer::new(&config.kafka, "bench").unwrap());
    produce(&config, &registry, &producer, records, keys).await;

    let mut rates = BTreeMap::<usize, Vec<f64>>::new();
    for run in 0..RUNS {
        // Alternating, so a noisy moment of the machine affects both.
        for concurrency in if pause.is_some() {
            vec![16, 1]
        } else {
            vec![16]
        } {
            let group = format!("{name}-{concurrency}-{run}");
            let began = Instant::now();
            consume(
                &config,
                &registry,
                &producer,
                &group,
                concurrency,
                records,
                pause,
            )
            .await;
            let rate = records as f64 / began.elapsed().as_secs_f64();
            rates.entry(concurrency).or_default().push(rate);
        }
    }
    Rates(rates)
}

async fn produce(
    config: &Config,
    registry: &Registry,
    producer: &Producer,
    records: usize,
    keys: usize,
) {
    let topic = &config.kafka.topics.requests;
    let id = registry
        .id_of(&format!("{topic}-value"), &avro::REQUEST)
        .await
        .unwrap();
    stream::iter(0..records)
        .for_each_concurrent(512, |number| async move {
            let key = format!("key-{}", number % keys);
            let datum = avro::write_request(&request(number)).unwrap();
            let value = avro::frame(id, &datum);
            let message = Message {
                topic,
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: Vec::new(),
            };
            producer.send(message).await.unwrap();
        })
        .await;
}

fn request(number: usize) -> Request {
    Request {
        id: format!("bench-{number}").try_into().unwrap(),
        user: "ann".to_owned().try_into().unwrap(),
        spec: Single::Image(ImageSpec {
            common: Common::new("a red fox in the snow, golden hour, 35 mm"),
            ..ImageSpec::default()
        })
        .into(),
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: vec![EventType::Completed],
        metadata: BTreeMap::from([("order".to_owned(), number.to_string())]),
        requested_at: None,
    }
}

/// Consumes all records, from the join of the group to the last commit.
async fn consume(
    config: &Config,
    registry: &Arc<Registry>,
    producer: &Arc<Producer>,
    group: &str,
    concurrency: usize,
    records: usize,
    pause: Option<Duration>,
) {
    let stop = CancellationToken::new();
    let starter = Starter {
        registry: registry.clone(),
        pause,
        left: AtomicUsize::new(records),
        stop: stop.clone(),
    };
    let options = consumer::ConsumerOptions {
        role: "bench",
        topic: config.kafka.topics.requests.clone(),
        group: group.to_owned(),
        dlq: config.kafka.topics.dlq.clone(),
        concurrency,
        fuse: 0,
    };
    consumer::run(
        &config.kafka,
        options,
        producer.clone(),
        starter,
        Arc::new(Health::default()),
        stop,
    )
    .await
    .unwrap();
    let left = lag(&config.kafka, group, &config.kafka.topics.requests)
        .await
        .unwrap();
    assert_eq!(left, 0, "records not committed");
}

/// Handles a good record like the intake, except for the start of the workflow.
struct Starter {
    registry: Arc<Registry>,
    pause: Option<Duration>,
    left: AtomicUsize,
    stop: CancellationToken,
}

impl Handler for Starter {
    async fn handle(&self, record: &Record, _: &Slots) -> Result<(), Failure> {
        let (id, datum) = avro::unframe(record.value.as_deref().unwrap()).unwrap();
        let writer = self.registry.schema(id).await.unwrap();
        let request = avro::read_request(&writer, datum).unwrap();
        std::hint::black_box(fingerprint(&request).unwrap());
        if let Some(most) = self.pause {
            let pause = most.mul_f64(rand::rng().random_range(0.0..1.0));
            tokio::time::sleep(pause).await;
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.cancel();
        }
        Ok(())
    }
}
