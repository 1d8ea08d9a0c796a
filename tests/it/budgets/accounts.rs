//! The workflow of an account: it continues as new, ends, and begins again.

use genflow::contract::budget::{Reserve, Settle};
use genflow::domain::budget::{Answer, Limits, Micros, Spend};
use genflow::engines::temporal::budgets::Holder;
use genflow::workflows::budget::Budget;
use temporalio_client::WorkflowTerminateOptions;

use super::{Budgeted, PRICE};
use crate::replay::{history, keep, run_before};
use crate::support::eventually;
use crate::support::requests::image;
use crate::support::stories::stories;

fn reserve(run: usize) -> Reserve {
    Reserve {
        run: format!("run {run}"),
        candidate: 0,
        amount: Micros::of_usd(0.01),
        until: None,
        limits: Limits {
            day: Some(Micros::of_usd(0.25)),
            month: None,
        },
    }
}

/// Several callers at once, and a new run of the account after each few changes.
#[tokio::test]
async fn an_account_that_continues_as_new_under_load_loses_nothing() {
    let budgeted = Budgeted::new(&[]).await;
    let _worker = budgeted.start("worker", &[]);
    let temporal = &budgeted.space.temporal().await;
    let ann = &Holder::of("ann");

    let caller = |caller: usize| async move {
        let mut granted = 0;
        for number in 0..10 {
            let asked = reserve(caller * 10 + number);
            // As attempts of a submit do it.
            let answer = eventually("the account answers", async || {
                temporal.reserve(ann, asked.clone(), 4).await.ok()
            })
            .await;
            match answer {
                Answer::Granted => granted += 1,
                Answer::Refused(_) => {}
                other @ (Answer::Full | Answer::Late) => panic!("{other:?}"),
            }
            let settled = Settle {
                run: asked.run,
                spend: Spend::Reserved,
                declined: 0,
                ends: true,
            };
            if number % 2 == 0 {
                temporal.settle(ann, settled).await.unwrap();
            }
        }
        granted
    };
    let granted = tokio::join!(caller(0), caller(1), caller(2), caller(3));

    assert_eq!(granted.0 + granted.1 + granted.2 + granted.3, 25);
    let used = budgeted.used().await;
    assert_eq!(Micros::of_usd(used[0] + used[1]), Micros::of_usd(0.25));
    let account = temporal
        .describe(&account_of(&budgeted, ann))
        .await
        .unwrap();
    let account = account.unwrap().info;
    assert_ne!(account.first_run_id, account.execution.unwrap().run_id);
}

fn account_of(budgeted: &Budgeted, holder: &Holder) -> String {
    holder.workflow(&budgeted.space.config.temporal.task_queue)
}

#[tokio::test]
async fn an_account_that_an_operator_terminates_begins_anew_with_the_next_request() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_DAY_USD", "1")]).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let _worker = budgeted.start("worker", &[]);
    let first = budgeted.outcome(&image("first")).await;
    assert_eq!(super::code(&first), None);
    let account = account_of(&budgeted, &Holder::of("ann"));
    let client = space.client().await;
    let account = client.get_workflow_handle::<Budget>(account);

    let options = WorkflowTerminateOptions::builder().build();
    account.terminate(options).await.unwrap();
    assert_eq!(budgeted.statement(&Holder::of("ann")).await, None);
    let second = budgeted.outcome(&image("second")).await;

    assert_eq!(super::code(&second), None);
    assert_eq!(budgeted.used().await, [PRICE, 0.0]);
}

/// Budgets that were set when a request was sent are settled by a worker that no longer knows of them.
#[tokio::test]
async fn a_reservation_is_settled_by_a_worker_without_budgets() {
    let budgeted = Budgeted::new(&[("BUDGET_USER_DAY_USD", "1")]).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let request = image("later");
    budgeted.dies_at("finish.began", &request).await;

    let _second = space.start(&["worker"]);

    stories(space, &[&request]).await;
    assert_eq!(budgeted.used().await, [PRICE, 0.0]);
}

#[tokio::test]
async fn the_history_of_an_account_replays() {
    let budgeted = Budgeted::new(&[]).await;
    let _worker = budgeted.start("worker", &[]);
    let temporal = budgeted.space.temporal().await;
    let ann = Holder::of("ann");
    for run in 0..30 {
        let asked = reserve(run);
        let settled = Settle {
            run: asked.run.clone(),
            spend: Spend::Cost(Micros::of_usd(0.02)),
            declined: 0,
            ends: true,
        };
        temporal.reserve(&ann, asked, 40).await.unwrap();
        if run % 2 == 0 {
            temporal.settle(&ann, settled).await.unwrap();
        }
    }
    let client = budgeted.space.client().await;
    let account = account_of(&budgeted, &ann);

    let newest = history(&client, &account, None).await;
    let before = history(&client, &account, run_before(&newest)).await;
    keep("budget", &newest).await;
    keep("budget-continued", &before).await;
}
