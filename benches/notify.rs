//! How fast the notifier tells, on a real Kafka, a real registry, a real Temporal and real receivers.
//!
//! Throughput: deliveries a second to receivers that answer after 100 ms, and after 1 s, beside a bare reqwest loop of the same
//! concurrency, to the same receivers, with a body of the same length, in turn in one run. Latency: from the moment an
//! event is given to Kafka until it arrives at a receiver that is well, at a steady rate: alone; beside as many events
//! for three more such receivers; while another notifier tells three that are ill as many; beside as many for these. So
//! there is what the load costs, what the machine has left where the ill cost it as much, and what they do to their
//! neighbours.
//!
//! `cargo bench --bench notify` (release), or `cargo bench --profile dev --bench notify` without another build.
//! `BENCH_EVENTS`, `BENCH_SECONDS` and `BENCH_RATE` make it shorter or longer (0 of the first or second leaves a half out); `BENCH_APART=true` also measures beside each
//! of the ill ones by itself.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and stops where it cannot go on"
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
use genflow::dev::engines::{Engines, Existing, Options, Ports, default_cache};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::receivers::{Manner, Receivers};
use self::stage::Stage;

/// Rounds of each measurement; the median is told.
const ROUNDS: usize = 3;
/// Tries at once.
const CONCURRENCY: usize = 128;
/// Receivers of the throughput: so many that chance gives none of them more than its share of the places.
const MANY: usize = 64;
/// Receivers whose latency is told.
const WELL: usize = 4;
/// Their company.
const COMPANY: usize = 3;
/// What a round leaves at Temporal has made its second try by then; the third is minutes away.
const REST: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() {
    let data =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    let engines = Engines::start(&Options {
        cache: default_cache(),
        data: data.clone(),
        guard: env!("CARGO_BIN_EXE_genflow").into(),
        ports: Ports::Free,
        existing: Existing::default(),
        progress: Arc::new(|line: &str| println!("engines: {line}")),
    })
    .await
    .unwrap();

    let events = setting("BENCH_EVENTS", 3_000);
    if events > 0 {
        throughput(&engines, "fast", Duration::from_millis(100), events).await;
        // Few a second: what the places are used for, and not what the machine can.
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

/// The middle one, and all as they came.
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
        // A group of its own reads all events anew.
        let notifier = stage.notifier(&format!("round-{round}"));
        receivers.arrived(events).await;
        let times = receivers.take();
        let handed_over = notifier.handed_over().await;
        cpu.push(notifier.cpu().as_secs_f64() * 1e3 / events as f64);
        notifier.stop().await;
        assert_eq!(handed_over, 0, "each first try has its place");
        ours.push(rate(&times, answer));

        bare::post(&urls, events, CONCURRENCY, receivers.longest_body()).await;
        bare.push(rate(&receivers.take(), answer));
    }
    let ((ours, all_ours), (bare, all_bare)) = (median(&ours, 0), median(&bare, 0));
    let ideal = CONCURRENCY as f64 / answer.as_secs_f64();
    println!(
        "{CONCURRENCY} at once, {events} events, answers after {answer:?}, bodies of {} bytes (no more than {ideal:.0}/s can be):",
        receivers.longest_body()
    );
    println!("  notifier: {ours:.0} deliveries/s (median of {all_ours})");
    println!("  bare reqwest loop: {bare:.0} deliveries/s (median of {all_bare})");
    println!("  notifier against bare loop: {:.2}", ours / bare);
    let (cpu, all_cpu) = median(&cpu, 2);
    println!(
        "  CPU of the notifier, its start included: {cpu:.2} ms an event (median of {all_cpu})"
    );
}

/// Deliveries a second, from the first arrival until the last is answered.
fn rate(times: &HashMap<String, Instant>, answer: Duration) -> f64 {
    let (first, last) = (times.values().min().unwrap(), times.values().max().unwrap());
    times.len() as f64 / (*last - *first + answer).as_secs_f64()
}

/// Who is told beside those that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Company {
    Alone,
    Well,
    /// The ill ones, told by another notifier on the same machine and engines.
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
            Self::Well => "beside three well ones",
            Self::Elsewhere => "while another notifier tells a dead, a silent and an endless one",
            Self::Dead => "beside a dead one",
            Self::Silent => "beside a silent one",
            Self::Endless => "beside an endless one",
            Self::Ill => "beside a dead, a silent and an endless one",
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
        // In turn, and not always in the same, so that a noisy moment of the machine meets all.
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
        "{} events/s for {WELL} well receivers, and in company as many for its {COMPANY}; {} s a round:",
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
        "  p99 in ill company against another notifier's: {:.2}",
        ill / elsewhere
    );
    println!(
        "  p99 in ill company against well company: {:.2}",
        ill / well
    );
    println!("  p99 in ill company against none: {:.2}", ill / alone);
}

/// Tells the well receivers at a steady rate, and the company beside them at the same.
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
    // It is at work, and knows the well ones.
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
