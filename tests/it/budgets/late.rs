//! Calls to reserve that come after the end of their run: they leave no reservation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::contract::budget::Reserve;
use genflow::domain::budget::{Answer, Limits, Micros, RESERVES_FOR_MS};
use genflow::engines::clock::now;
use genflow::engines::temporal::budgets::Holder;
use rustix::process::Signal;
use serde_json::Value;

use super::Budgeted;
use crate::closed::{OFTEN, terminate};
use crate::replay::history;
use crate::support::requests::image;

/// A worker is paused before it reserves, its run is terminated, the first one of its user, and the worker wakes when
/// the run is settled. To the server, its attempt is the current one all that time.
#[tokio::test]
async fn an_attempt_of_a_run_that_was_terminated_reserves_nothing() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_DAY_USD", "1"), ("BUDGET_DAY_USD", "1")]).await;
    let space = &budgeted.space;
    let _intake = space.start_with(&["intake"], &[("HEARTBEAT_TIMEOUT", "60s")]);
    let failpoint = [("GENFLOW_FAILPOINT", "budget.reserving=stop")];
    let mut late = budgeted.start("worker", &failpoint);
    let request = image("terminated");
    let began = now();
    space.send(&request).await;
    late.stopped().await;
    terminate(&space.client().await, &request).await;
    let _second = budgeted.start("worker", &[OFTEN]);
    space.story(request.id.as_str()).await;

    late.signal(Signal::CONT);
    assert!(late.terminate().await.success(), "{}", late.output());

    let started = asked_until(&budgeted).await - RESERVES_FOR_MS;
    assert!((began..=now()).contains(&started), "{started}");
    let refused = "nothing is reserved; if the run is open";
    assert!(late.output().contains(refused), "{}", late.output());
    for holder in [Holder::of("ann"), Holder::All] {
        assert_eq!(budgeted.used_by(&holder).await, [0.0, 0.0], "{holder:?}");
        // The end of the run has started the account.
        let day = budgeted.statement(&holder).await.unwrap().day;
        assert_eq!(day.limit, Some(Micros::of_usd(1.0)), "{holder:?}");
    }
}

/// Returns until when the worker's attempt might reserve, by its call in the history of `ann`'s account.
async fn asked_until(budgeted: &Budgeted) -> i64 {
    let space = &budgeted.space;
    let account = Holder::of("ann").workflow(&space.config.temporal.task_queue);
    let history = history(&space.client().await, &account, None).await;
    let history: Value = serde_json::from_slice(&history).unwrap();
    let asked = history["events"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|event| {
            let update = &event["attributes"]["WorkflowExecutionUpdateAcceptedEventAttributes"];
            update["accepted_request"]["input"]["args"]["payloads"][0]["data"].as_str()
        });
    let asked = BASE64.decode(asked.unwrap()).unwrap();
    let asked: Reserve = serde_json::from_slice(&asked).unwrap();
    asked.until.unwrap()
}

#[tokio::test]
async fn a_call_whose_attempt_is_no_longer_the_current_one_reserves_nothing() {
    let budgeted = Budgeted::new(&[]).await;
    let _worker = budgeted.start("worker", &[]);
    let temporal = budgeted.space.temporal().await;
    let ann = Holder::of("ann");
    let until = |until| Reserve {
        run: "run".to_owned(),
        candidate: 0,
        amount: Micros::of_usd(0.5),
        until: Some(until),
        limits: Limits::default(),
    };

    let late = temporal.reserve(&ann, until(now() - 1), 9).await.unwrap();

    assert_eq!(late, Answer::Late);
    assert_eq!(budgeted.used().await, [0.0, 0.0]);
    let in_time = until(now() + 60_000);
    let in_time = temporal.reserve(&ann, in_time, 9).await.unwrap();
    assert_eq!(in_time, Answer::Granted);
    assert_eq!(budgeted.used().await, [0.0, 0.5]);
}
