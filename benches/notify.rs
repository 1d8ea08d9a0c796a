//! How fast the notifier delivers, on a real Kafka, a real registry, a real Temporal and real receivers.
//!
//! Throughput: deliveries per second to receivers that answer after 100 ms, and after 1 s, compared with a bare reqwest
//! loop with the same concurrency, receivers and body length; both alternate in one run. It includes the schema and the
//! connection for the first receipt.
//!
//! Latency: from the moment an event is given to Kafka until it arrives at a healthy receiver, at a steady rate, in
//! four situations: alone; with as many events for three more healthy receivers; while another notifier on the same
//! machine delivers as many to three faulty receivers; with as many events for these three. They show the cost of the
//! load, the cost of the faulty receivers to the machine, and their effect on other receivers of the same notifier.
//!
//! `cargo bench --bench notify` (release), or `cargo bench --profile dev --bench notify` without another build.
//! `BENCH_EVENTS`, `BENCH_SECONDS` and `BENCH_RATE` make it shorter or longer; 0 for the first skips the throughput,
//! 0 for the second the latency. `BENCH_APART=true` also measures with each of the faulty receivers separately.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and panics if it cannot continue"
)]

#[path = "notify/bare.rs"]
mod bare;
#[path = "notify/receivers.rs"]
mod receivers;
#[path = "notify/stage.rs"]
mod stage;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use genflow::dev::engines::{EnginePorts, Engines, Existing, Options, default_cache};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::receivers::{Manner, Receivers};
use self::stage::Stage;

/// Number of rounds of each measurement; the median is printed.
const ROUNDS: usize = 3;
/// Attempts at once.
const CONCURRENCY: usize = 128;
/// Number of receivers for the throughput: enough that none gets more than its share of the slots by chance.
const MANY: usize = 64;
/// Number of receivers whose latency is measured.
const WELL: usize = 4;
/// Number of other receivers.
const COMPANY: usize = 3;
/// Pause after a round: by then, its deliveries at Temporal have made their second attempt; the third is minutes away.
const REST: Duration = Duration::from_secs(8);

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

    let events = setting("BENCH_EVENTS", 3_000);
    if events > 0 {
        throughput(&engines, "fast", Duration::from_millis(100), events).await;
        // Few per second: this measures the use of the slots, not the speed of the machine.
        throughput(&engines, "slow", Duration::from_secs(1), events / 4).await;
    }
    if setting("BENCH_SECONDS", 20) > 0 {
        latency(&engines).await;
    }
    engines.stop().await;
    std::fs::remove_dir_all(data).ok();
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Returns the median, and all figures in their order.
fn median(figures: &[f64], digits: usize) -> (f64, String) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let all: Vec<_> = figures
        .iter()
        .map(|one| format!("{one:.digits$}"))
        .collect();
    (sorted[sorted.len() / 2], all.join(", "))
}

async fn throughput(engines: &Engines, name: &str, answer: Duration, events: usize) {
    let settings = [("NOTIFY_CONCURRENCY", CONCURRENCY.to_string())];
    let stage = Stage::set(engines, name, &settings).await;
    let mut receivers = Receivers::new();
    let urls = receivers.open(MANY, Manner::After(answer)).await;
    stream::iter(0..events)
        .for_each_concurrent(512, |number| {
            let event = stage.event(&urls[number % urls.len()]);
            stage.publish(event)
        })
        .await;

    let (mut ours, mut bare, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // A new group reads all events again.
        let notifier = stage.notifier(&format!("round-{round}"));
        receivers.arrived(events).await;
        let times = receivers.take();
        let handed_over = notifier.handed_over().await;
        cpu.push(notifier.cpu().as_secs_f64() * 1e3 / events as f64);
        notifier.stop().await;
        assert_eq!(handed_over, 0, "each first attempt gets a slot");
        ours.push(rate(&times, answer));

        bare::post(&urls, events, CONCURRENCY, receivers.longest_body()).await;
        bare.push(rate(&receivers.take(), answer));
    }
    let ((ours, all_ours), (bare, all_bare)) = (median(&ours, 0), median(&bare, 0));
    let ideal = CONCURRENCY as f64 / answer.as_secs_f64();
    println!(
        "{CONCURRENCY} at once, {events} events, answers after {answer:?}, bodies of {} bytes (at most {ideal:.0}/s are possible):",
        receivers.longest_body()
    );
    println!("  notifier: {ours:.0} deliveries/s (median of {all_ours})");
    println!("  bare reqwest loop: {bare:.0} deliveries/s (median of {all_bare})");
    println!("  notifier compared with bare loop: {:.2}", ours / bare);
    let (cpu, all_cpu) = median(&cpu, 2);
    println!(
        "  CPU of the notifier, including its start: {cpu:.2} ms per event (median of {all_cpu})"
    );
}

/// Returns the deliveries per second, from the first arrival until the last answer.
fn rate(times: &HashMap<String, Instant>, answer: Duration) -> f64 {
    let (first, last) = (times.values().min().unwrap(), times.values().max().unwrap());
    times.len() as f64 / (*last - *first + answer).as_secs_f64()
}

/// The other receivers during a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Company {
    Alone,
    Well,
    /// The faulty receivers, served by another notifier on the same machine and engines.
    Elsewhere,
    Dead,
    Silent,
    Endless,
    Ill,
}

impl Company {
    const ALL: [Self; 4] = [Self::Alone, Self::Well, Self::Elsewhere, Self::Ill];
    const APART: [Self; 3] = [Self::Dead, Self::Silent, Self::Endless];

    fn text(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Well => "with three healthy receivers",
            Self::Elsewhere => {
                "while another notifier serves a dead, a silent and an endless receiver"
            }
            Self::Dead => "with a dead receiver",
            Self::Silent => "with a silent receiver",
            Self::Endless => "with an endless receiver",
            Self::Ill => "with a dead, a silent and an endless receiver",
        }
    }
}

#[derive(Default)]
struct Figures {
    p50: Vec<f64>,
    p90: Vec<f64>,
    p99: Vec<f64>,
    cores: Vec<f64>,
    handed_over: Vec<f64>,
}

async fn latency(engines: &Engines) {
    let mut figures = BTreeMap::<Company, Figures>::new();
    let mut companies = Company::ALL.to_vec();
    if std::env::var_os("BENCH_APART").is_some() {
        companies.extend(Company::APART);
    }
    for round in 0..ROUNDS {
        // In rotating order, so a noisy moment of the machine affects all situations.
        for place in 0..companies.len() {
            let company = companies[(round + place) % companies.len()];
            let name = format!("latency{round}{company:?}").to_lowercase();
            let of_round = tell_steadily(engines, &name, company).await;
            let all = figures.entry(company).or_default();
            all.p50.extend(of_round.p50);
            all.p90.extend(of_round.p90);
            all.p99.extend(of_round.p99);
            all.cores.extend(of_round.cores);
            all.handed_over.extend(of_round.handed_over);
            sleep(REST).await;
        }
    }
    println!(
        "{} events/s for {WELL} healthy receivers, and as many for the {COMPANY} others; {} s per round:",
        setting("BENCH_RATE", 50),
        setting("BENCH_SECONDS", 20)
    );
    for (company, figures) in &figures {
        let [(p50, all_p50), (p90, _), (p99, all_p99)] =
            [&figures.p50, &figures.p90, &figures.p99].map(|all| median(all, 1));
        let ((cores, _), (handed_over, _)) =
            (median(&figures.cores, 2), median(&figures.handed_over, 0));
        println!(
            "  {}: p50 {p50:.1} ms (median of {all_p50}), p90 {p90:.1} ms, p99 {p99:.1} ms (median of {all_p99}); \
             {cores:.2} cores, {handed_over:.0} handed over",
            company.text()
        );
    }
    let p99 = |company| median(&figures[&company].p99, 1).0;
    let [alone, well, elsewhere, ill] = Company::ALL.map(p99);
    println!(
        "  p99 with faulty receivers, compared with those at another notifier: {:.2}",
        ill / elsewhere
    );
    println!(
        "  p99 with faulty receivers, compared with healthy ones: {:.2}",
        ill / well
    );
    println!(
        "  p99 with faulty receivers, compared with none: {:.2}",
        ill / alone
    );
}

/// Publishes events for the healthy receivers at a steady rate, and for the others at the same rate.
async fn tell_steadily(engines: &Engines, name: &str, company: Company) -> Figures {
    let (rate, seconds) = (setting("BENCH_RATE", 50), setting("BENCH_SECONDS", 20));
    let stage = Arc::new(Stage::set(engines, name, &[]).await);
    let (mut measured, mut beside) = (Receivers::new(), Receivers::new());
    let well = measured.open(WELL, Manner::After(Duration::ZERO)).await;
    let others = match company {
        Company::Alone => Vec::new(),
        Company::Well => beside.open(COMPANY, Manner::After(Duration::ZERO)).await,
        Company::Dead => vec![receivers::dead().await],
        Company::Silent => beside.open(1, Manner::Silent).await,
        Company::Endless => beside.open(1, Manner::Endless).await,
        Company::Ill | Company::Elsewhere => {
            let mut ill = vec![receivers::dead().await];
            ill.extend(beside.open(1, Manner::Silent).await);
            ill.extend(beside.open(1, Manner::Endless).await);
            ill
        }
    };
    let notifier = stage.notifier("latency");
    let mut elsewhere = None;
    if company == Company::Elsewhere {
        let stage = Stage::set(engines, &format!("{name}-other"), &[]).await;
        let notifier = stage.notifier("latency");
        elsewhere = Some((Arc::new(stage), notifier));
    }
    let theirs = elsewhere.as_ref().map_or(&stage, |(stage, _)| stage);
    // Warm-up: the notifier works, and has connections to the healthy receivers.
    for url in well.iter().cycle().take(10 * WELL) {
        stage.publish(stage.event(url)).await;
    }
    measured.arrived(10 * WELL).await;
    measured.take();
    if let Some((_, notifier)) = &elsewhere {
        notifier.ready().await;
    }

    let (began, cpu) = (Instant::now(), notifier.cpu());
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sent, mut sending) = (HashMap::new(), JoinSet::new());
    for number in 0..rate * seconds {
        ticks.tick().await;
        let event = stage.event(&well[number % well.len()]);
        let other = others.get(number % others.len().max(1));
        let other = other.map(|url| stage.event(url));
        sent.insert(event.event_id.clone(), Instant::now());
        let ours = stage.clone();
        sending.spawn(async move { ours.publish(event).await });
        if let Some(event) = other {
            let theirs = theirs.clone();
            sending.spawn(async move { theirs.publish(event).await });
        }
    }
    sending.join_all().await;
    measured.arrived(sent.len()).await;
    let cores = (notifier.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let handed_over = notifier.handed_over().await;
    notifier.stop().await;
    if let Some((_, notifier)) = elsewhere {
        notifier.stop().await;
    }

    let times = measured.take();
    let mut waits: Vec<_> = sent
        .iter()
        .map(|(id, at)| (times[id] - *at).as_secs_f64() * 1e3)
        .collect();
    waits.sort_by(f64::total_cmp);
    Figures {
        p50: vec![waits[waits.len() / 2]],
        p90: vec![waits[waits.len() * 90 / 100]],
        p99: vec![waits[waits.len() * 99 / 100]],
        cores: vec![cores],
        handed_over: vec![handed_over as f64],
    }
}
