//! What the console costs with 100,000 requests: memory, processor time while nobody looks, and how long its page takes to
//! load in a real browser. It prints figures for docs/console.md and asserts only what it has to know for them:
//! `cargo test --release --test it console::figures -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use futures::future::join_all;
use genflow::domain::{ErrorCode, Event, EventError, EventType};
use genflow::engines::clock::now;
use uuid::Uuid;

use super::browser::Browser;
use super::{Console, keys};
use crate::notify::{event, publisher};
use crate::support::Space;

const COUNT: usize = 100_000;
/// Events that are published at once.
const AT_ONCE: usize = 100;
/// How long the console is left alone.
const IDLE: Duration = Duration::from_secs(30);
/// How often the page is loaded.
const LOADS: usize = 9;

/// Returns the start and the outcome of each request: three of four completed.
fn events(space: &Space) -> Vec<Event> {
    let like = event(space, "https://target.example");
    let both = |number: usize| {
        let occurred_at = now() - i64::try_from((COUNT - number) * 100).unwrap();
        let run = Uuid::new_v4().to_string();
        let of = |event_type, sequence| Event {
            event_id: Uuid::new_v4().to_string(),
            request_id: format!("order-{number:06}"),
            run_id: Some(run.clone()),
            user_id: format!("user-{}", number % 500),
            event_type,
            sequence,
            occurred_at: occurred_at + i64::from(sequence) * 1_000,
            notify: None,
            ..like.clone()
        };
        let ended = match number % 4 {
            3 => Event {
                error: Some(EventError::new(
                    ErrorCode::ProviderFailed,
                    "it failed",
                    true,
                )),
                result: None,
                ..of(EventType::Failed, 1)
            },
            _ => of(EventType::Completed, 1),
        };
        let started = Event {
            result: None,
            ..of(EventType::Started, 0)
        };
        [started, ended]
    };
    (0..COUNT).flat_map(both).collect()
}

/// What the kernel knows of a process: resident memory in MB, and processor time in seconds.
fn used(console: &Console) -> (f64, f64) {
    let pid = console.process.pid().as_raw_nonzero();
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let status = read("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    let stat = read("stat");
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    (kilobytes.parse::<f64>().unwrap() / 1024.0, ticks / 100.0)
}

#[tokio::test]
#[ignore = "a measurement of some minutes, which prints figures"]
async fn the_figures_of_100_000_requests() {
    let space = Space::new().await;
    let empty = Console::start(&space, &keys()).await;
    empty.knows(0).await;
    let (empty_mb, _) = used(&empty);
    drop(empty);
    let publisher = publisher(&space);
    let all = events(&space);
    // Each request's events are in one part, and parts are published side by side.
    let parts = all.chunks(all.len() / AT_ONCE);
    for published in join_all(parts.map(|part| publisher.publish(part, None))).await {
        published.unwrap();
    }

    let began = Instant::now();
    let console = Console::start(&space, &keys()).await;
    console.knows(COUNT).await;
    let read_in = began.elapsed().as_secs_f64();
    let (full_mb, before) = used(&console);
    tokio::time::sleep(IDLE).await;
    let (_, after) = used(&console);
    let share = (after - before) / IDLE.as_secs_f64() * 100.0;
    let asked = Instant::now();
    console.get("/requests?state=failed&limit=100").await;
    let list_ms = asked.elapsed().as_secs_f64() * 1000.0;
    eprintln!("console with {COUNT} requests of two events each, read in {read_in:.1} s");
    eprintln!("  memory: {full_mb:.0} MB, with none {empty_mb:.0} MB");
    eprintln!("  processor while nobody looks: {share:.2} % of a core, over {IDLE:?}");
    eprintln!("  a filtered list of 100: {list_ms:.0} ms");

    let Some(mut browser) = Browser::open().await else {
        return;
    };
    browser.sign_in(&console).await;
    let mut loads = Vec::new();
    for _ in 0..LOADS {
        loads.push(browser.load(&console.url).await);
    }
    loads.sort_unstable();
    eprintln!(
        "  page until its rows are there, {LOADS} loads: median {} ms, {loads:?}",
        loads[LOADS / 2]
    );
    let (looked_at_mb, _) = used(&console);
    eprintln!("  memory after that: {looked_at_mb:.0} MB");
}

impl Browser {
    /// Loads the page; returns how long it took from the navigation to the rows, in milliseconds.
    async fn load(&mut self, url: &str) -> u64 {
        self.go(url).await;
        let rows = "const done = arguments[arguments.length - 1]; \
            const look = () => document.querySelector('tr[data-id]') ? done(performance.now()) : requestAnimationFrame(look); \
            look()";
        let body = serde_json::json!({ "script": rows, "args": [] });
        self.call("execute/async", &body).await.as_f64().unwrap() as u64
    }
}
