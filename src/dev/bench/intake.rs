//! How many records per second the consumer of intake hands on, on a real Kafka and a real registry.
//!
//! Intake's checks and the start of the workflow are replaced: first by nothing, which leaves decoding, fingerprint,
//! scheduling and commit; then by a pause of 0 to 5 ms with 20 keys, in one partition and in six, beside a plain loop
//! that handles one record after the other. That is the experiment of the parallel-consumer project
//! (<https://github.com/confluentinc/parallel-consumer>).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt as _};
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use super::measure;
use super::report::Report;
use super::requests::image;
use super::stage::{Stage, Stages};
use crate::contract::avro;
use crate::domain::{Request, fingerprint};
use crate::engines::health::Health;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{self, Cause, Failure, Handler, Slots};
use crate::engines::kafka::producer::Producer;
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::engines::registry::Registry;
use crate::operate::cli::local::Bench;

const ROW: &str = "intake";
/// Records without a start.
const PLAIN: usize = 50_000;
/// Records with a pause, and their keys.
const PAUSED: (usize, usize) = (4_000, 20);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let plain = stages.open(&[]).await?;
    let keys: Vec<_> = (0..PLAIN).map(key).collect();
    fill(&plain, PLAIN, &keys).await?;
    let (records, number) = PAUSED;
    let (spread, together) = (stages.open(&[]).await?, stages.open(&[]).await?);
    fill(&spread, records, &keys[..number]).await?;
    fill(
        &together,
        records,
        &of_one_partition(&together, number).await?,
    )
    .await?;
    for round in 0..bench.rounds {
        let at_once = plain.config.intake.concurrency;
        let own = std::process::id();
        let before = measure::cpu_ms(own)?;
        let rate = consume(&plain, (round, at_once), PLAIN, None).await?;
        let cpu = measure::cpu_ms(own)? - before;
        let mut add = |of: &str, unit, value| report.add(ROW, of, unit, value);
        add("no start", "records/s", rate);
        add("no start", "records/s of a core", PLAIN as f64 / cpu * 1e3);
        for (stage, of) in [
            (&together, "20 keys of 0 to 5 ms, one partition"),
            (&spread, "20 keys of 0 to 5 ms, six partitions"),
        ] {
            let parallel = consume(stage, (round, at_once), records, Some(LONGEST_PAUSE)).await?;
            let serial = one_by_one(stage, records).await?;
            add(of, "records/s", parallel);
            add(of, "× one after the other", parallel / serial);
        }
    }
    Ok(())
}

fn key(number: usize) -> String {
    format!("key-{number}")
}

/// Returns that many keys whose records are in the same partition.
async fn of_one_partition(stage: &Stage, number: usize) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for key in (0..).map(key) {
        if stage.partition_of(&key).await? == 0 {
            keys.push(key);
        }
        if keys.len() == number {
            break;
        }
    }
    Ok(keys)
}

/// Produces that many records, with these keys in turn.
async fn fill(stage: &Stage, records: usize, keys: &[String]) -> anyhow::Result<()> {
    stream::iter((0..records).map(anyhow::Ok))
        .try_for_each_concurrent(512, |number| async move {
            let key = &keys[number % keys.len()];
            stage.send_as(key, &request(stage, number)?).await
        })
        .await
}

fn request(stage: &Stage, number: usize) -> anyhow::Result<Request> {
    let mut request = image(&stage.id(number))?;
    request
        .metadata
        .insert("order".to_owned(), number.to_string());
    Ok(request)
}

/// Consumes all records by a new group, from its join to the last commit; returns the records per second.
async fn consume(
    stage: &Stage,
    (round, at_once): (usize, usize),
    records: usize,
    pause: Option<Duration>,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let kafka = &stage.config.kafka;
    let starter = Starter::new(stage, pause, records);
    let stop = starter.stop.clone();
    let options = consumer::ConsumerOptions {
        role: "bench",
        topic: kafka.topics.requests.clone(),
        group: format!("{}-{at_once}-{round}", kafka.group),
        dlq: kafka.topics.dlq.clone(),
        concurrency: at_once,
        fuse: 0,
        leaves_within: Duration::from_secs(2),
    };
    let producer = Arc::new(Producer::new(kafka, "bench")?);
    let health = Arc::new(Health::default());
    consumer::run(kafka, options, producer, starter, health, stop).await?;
    Ok(records as f64 / began.elapsed().as_secs_f64())
}

/// Handles all records in a plain loop; returns the records per second.
async fn one_by_one(stage: &Stage, records: usize) -> anyhow::Result<f64> {
    let kafka = &stage.config.kafka;
    let tail = Tail::open(kafka, &kafka.topics.requests, From::Beginning).await?;
    let starter = Starter::new(stage, Some(LONGEST_PAUSE), records);
    let began = Instant::now();
    while !starter.stop.is_cancelled() {
        if let Next::Record(record) = tail.next().await? {
            starter.start(&record).await?;
        }
    }
    Ok(records as f64 / began.elapsed().as_secs_f64())
}

/// Handles a good record like intake, except for the start of the workflow.
struct Starter {
    registry: Arc<Registry>,
    pause: Option<Duration>,
    left: AtomicUsize,
    stop: CancellationToken,
}

impl Starter {
    fn new(stage: &Stage, pause: Option<Duration>, records: usize) -> Self {
        Self {
            registry: stage.registry.clone(),
            pause,
            left: AtomicUsize::new(records),
            stop: CancellationToken::new(),
        }
    }

    /// Handles one record; after the last one, it cancels `stop`.
    async fn start(&self, record: &Record) -> anyhow::Result<()> {
        let (id, datum) = avro::unframe(record.value.as_deref().unwrap_or_default())?;
        let request = avro::read_request(&*self.registry.schema(id).await?, datum)?;
        std::hint::black_box(fingerprint(&request)?);
        if let Some(longest) = self.pause {
            let pause = longest.mul_f64(rand::rng().random_range(0.0..1.0));
            tokio::time::sleep(pause).await;
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.cancel();
        }
        Ok(())
    }
}

impl Handler for Starter {
    async fn handle(&self, record: &Record, _: &Slots) -> Result<(), Failure> {
        let started = self.start(record).await;
        started.map_err(|error| Failure::Retry(Cause::RegistryUnavailable, error.into()))
    }
}
