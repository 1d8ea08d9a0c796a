//! One request, one payment (contract, promise 3): a submit's connection is cut at each point, with every fate of the
//! worker and every provider.
//!
//! All submits of a test wait at their points at the same time; then the worker meets its fate, and the connections
//! are cut.

mod away;
mod declined;
mod fence;
mod late;
mod listed;
mod presets;
mod switched;
mod unconnected;

use genflow::domain::{ErrorCode, Event, ProviderName, Request};
use rustix::process::Signal;
use serde_json::json;

use crate::providers::Taker;
use crate::support::cutter::{Cut, Cutter};
use crate::support::ledger::check;
use crate::support::requests::at;
use crate::support::requests::{image, provider, script, video};
use crate::support::stories::{published_events, stories};
use crate::support::{Space, Watched};

use crate::support::requests::{FAL, OPENAI, REPLICATE};

/// The providers of the submits, and the requests.
const TAKERS: [Taker; 4] = [
    (REPLICATE, image),
    (FAL, image),
    (OPENAI, image),
    (OPENAI, video),
];

/// What happens to the worker whose submits are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    GoesOn,
    /// SIGKILL; another worker continues.
    Killed,
    /// SIGTERM; the connections are cut while the worker drains, and another worker continues.
    Terminated,
    /// SIGSTOP; another worker ends the runs, then this one wakes.
    Paused,
}

/// How a request ended (`None`: completed), how many submits the provider saw, and how many jobs it accepted.
type Bill = (Option<ErrorCode>, u64, u64);

const COMPLETED: Option<ErrorCode> = None;
const AMBIGUOUS: Option<ErrorCode> = Some(ErrorCode::SubmitAmbiguous);

/// One submit whose connection is cut.
struct Cell {
    provider: ProviderName,
    cut: Cut,
    request: Request,
    /// The idempotency key of the submit.
    key: String,
}

fn cells(makers: &[fn(&str) -> Request]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for make in makers {
        for cut in Cut::ALL {
            let request = make("cut");
            cells.push(Cell {
                provider: provider(&request).unwrap(),
                cut,
                key: request.id.to_string(),
                request,
            });
        }
    }
    cells
}

/// Returns the bill of an interrupted submit by the table in `docs/providers.md`.
fn expected(cell: &Cell) -> Bill {
    match (cell.cut.arrives(), cell.provider) {
        (true, REPLICATE) => (COMPLETED, 1, 1),
        (true, _) => (AMBIGUOUS, 1, 1),
        (false, _) => (AMBIGUOUS, 0, 0),
    }
}

/// Returns the bill by the same table with `SUBMIT_AMBIGUOUS=resubmit`: a job that cannot be looked up is sent again.
fn expected_of_resubmit(cell: &Cell) -> Bill {
    match (cell.cut.arrives(), cell.provider) {
        (true, REPLICATE) | (false, _) => (COMPLETED, 1, 1),
        (true, _) => (COMPLETED, 2, 2),
    }
}

/// Returns the settings of a worker whose providers are all at `base`.
pub(crate) fn served_at(base: &str) -> Vec<(&'static str, String)> {
    let mut settings: Vec<_> = [
        "VIDEO_API_BASE_URL",
        "IMAGE_API_BASE_URL",
        "REPLICATE_API_BASE_URL",
        "OPENAI_API_BASE_URL",
    ]
    .map(|name| (name, base.to_owned()))
    .into();
    settings.push(("FAL_API_BASE_URL", format!("{base}/fal")));
    settings
}

pub(crate) fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Returns the error with which a run ended. A result says what was sent, also if another attempt found its job.
fn end(events: &[Event]) -> Option<ErrorCode> {
    let last = events.last().unwrap();
    let sent = last.result.as_ref().map(|result| result.sent.is_some());
    assert_ne!(sent, Some(false), "{last:#?}");
    let error = last.error.as_ref();
    error.map(|error| error.code)
}

async fn bill(space: &Space, request: &Request, end: Option<ErrorCode>) -> Bill {
    bill_of(space, request.id.as_str(), end).await
}

async fn bill_of(space: &Space, key: &str, end: Option<ErrorCode>) -> Bill {
    let bill = space.bill(key).await;
    (end, bill.submits, bill.accepted)
}

async fn matrix(fate: Fate, ambiguous: &str, expected: fn(&Cell) -> Bill) {
    let makers: [fn(&str) -> Request; 4] = [
        |name| at(REPLICATE, image(name)),
        |name| at(FAL, image(name)),
        |name| at(OPENAI, image(name)),
        |name| at(OPENAI, video(name)),
    ];
    matrix_of(&cells(&makers), fate, ambiguous, expected).await;
}

/// Cuts each submit at its point; asserts that each cell's bill is the `expected` one. Returns the space.
async fn matrix_of(
    cells: &[Cell],
    fate: Fate,
    ambiguous: &str,
    expected: fn(&Cell) -> Bill,
) -> Space {
    let engines = &Space::new().await.engines;
    let cutter = Cutter::before(&engines.simulator).await;
    let presets = crate::support::presets::settings(&cutter.url);
    let known: Vec<_> = borrowed(&presets)
        .into_iter()
        .chain([("SUBMIT_AMBIGUOUS", ambiguous)])
        .collect();
    let space = Space::with(&known).await;
    let mut settings = served_at(&cutter.url);
    if fate == Fate::Paused {
        // The woken worker looks for jobs that it does not find, which takes time; its drain waits for that.
        settings.push(("SHUTDOWN_GRACE", "15s".to_owned()));
        settings.push(("KAFKA_SESSION_TIMEOUT", "20s".to_owned()));
    }
    let settings = borrowed(&settings);
    let _intake = space.start(&["intake"]);
    let mut first = Watched::start(&space, "worker", &settings);
    for Cell {
        cut, request, key, ..
    } in cells
    {
        cutter.plan(key, *cut);
        space.send(request).await;
    }
    cutter.held(cells.len()).await;

    match fate {
        Fate::GoesOn => cutter.cut(),
        Fate::Killed => {
            first.process.signal(Signal::KILL);
            first.process.ended().await;
        }
        Fate::Terminated => {
            first.process.signal(Signal::TERM);
            first.says("readyz", "draining").await;
            cutter.cut();
        }
        Fate::Paused => {
            first.process.signal(Signal::STOP);
            first.process.stopped().await;
        }
    }
    let _second = (fate != Fate::GoesOn).then(|| space.start_with(&["worker"], &settings));
    let requests: Vec<&Request> = cells.iter().map(|cell| &cell.request).collect();
    let stories = stories(&space, &requests).await;
    if fate == Fate::Paused {
        first.process.signal(Signal::CONT);
        cutter.cut();
        // The worker finishes its work before it exits: after this, it cannot act any more.
        assert!(first.process.terminate().await.success());
    }

    for events in published_events(&space, &requests).await {
        check(&events);
    }
    let mut wrong = Vec::new();
    for (cell, events) in cells.iter().zip(&stories) {
        let Cell {
            provider,
            cut,
            request,
            key,
        } = cell;
        let bill = bill_of(&space, key, end(events)).await;
        if bill != expected(cell) {
            let expected = expected(cell);
            let kind = request.spec.kind();
            wrong.push(format!(
                "{} {kind:?}, {cut:?}: {bill:?}, not {expected:?}",
                provider.as_str()
            ));
        }
    }
    assert!(wrong.is_empty(), "{fate:?}:\n{}", wrong.join("\n"));
    space
}

#[tokio::test]
async fn a_cut_submit_is_found_or_ambiguous_and_never_paid_twice() {
    matrix(Fate::GoesOn, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_whose_worker_is_killed_is_found_or_ambiguous_and_never_paid_twice() {
    matrix(Fate::Killed, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_that_is_cut_while_its_worker_drains_is_found_or_ambiguous_and_never_paid_twice() {
    matrix(Fate::Terminated, "fail", expected).await;
}

#[tokio::test]
async fn a_submit_whose_worker_wakes_after_the_end_is_never_paid_twice() {
    matrix(Fate::Paused, "fail", expected).await;
}

#[tokio::test]
async fn where_resubmit_is_chosen_only_what_cannot_be_looked_up_is_paid_twice() {
    matrix(Fate::GoesOn, "resubmit", expected_of_resubmit).await;
}

#[tokio::test]
async fn where_resubmit_is_chosen_a_killed_workers_submit_is_paid_twice_at_most() {
    matrix(Fate::Killed, "resubmit", expected_of_resubmit).await;
}

/// A refusal by the provider is not ambiguous, so the setting changes nothing.
#[tokio::test]
async fn where_resubmit_is_chosen_what_was_refused_is_not_paid_twice() {
    let space = Space::with(&[("SUBMIT_AMBIGUOUS", "resubmit")]).await;
    let _all = space.start(&["all"]);
    let mut cases = Vec::new();
    for (provider, make) in TAKERS {
        for (faults, expected) in [
            (json!([429, 500]), (COMPLETED, 3, 1)),
            (json!([400]), (Some(ErrorCode::InvalidRequest), 1, 0)),
        ] {
            let request = script(make("refused"), &json!({"submit": faults}));
            cases.push((at(provider, request), expected));
        }
    }

    for (request, _) in &cases {
        space.send(request).await;
    }

    let requests: Vec<&Request> = cases.iter().map(|(request, _)| request).collect();
    let stories = stories(&space, &requests).await;
    for ((request, expected), events) in cases.iter().zip(&stories) {
        assert_eq!(bill(&space, request, end(events)).await, *expected);
    }
}
