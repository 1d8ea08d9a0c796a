//! Budgets of runs that fall back: only the model that is asked is reserved, and only the one that made it is paid.

use genflow::domain::{ErrorCode, Event, EventType, Request};
use genflow::engines::temporal::budgets::Holder;
use serde_json::{Value, json};

use super::{Budgeted, code};
use crate::closed::{OFTEN, terminate};
use crate::support::requests::{FAL, REPLICATE, at, falling_back, image, script};

/// Either price fits into this, but not both.
const BUDGETS: [(&str, &str); 2] = [("BUDGET_USER_DAY_USD", "0.7"), ("BUDGET_DAY_USD", "0.7")];
/// What an image costs at replicate and at fal.
const DEARER_FIRST: [(&str, f64); 2] = [("replicate", 0.6), ("fal", 0.2)];
const CHEAPER_FIRST: [(&str, f64); 2] = [("replicate", 0.2), ("fal", 0.6)];

/// Returns a request for replicate with this script, and fal to fall back to.
fn request(name: &str, faults: &Value) -> Request {
    let request = at(REPLICATE, script(image(name), faults));
    falling_back(request, &[FAL])
}

/// Returns a request that replicate declines after it was reserved.
fn declined_once(name: &str) -> Request {
    request(name, &json!({"candidates": 1, "submit": [401]}))
}

impl Budgeted {
    /// Returns what is spent and reserved on the accounts of `ann` and of all users.
    async fn both(&self) -> [[f64; 2]; 2] {
        [self.used().await, self.used_by(&Holder::All).await]
    }

    /// Returns how many submits the providers of both candidates got.
    async fn submits(&self, request: &Request) -> [u64; 2] {
        let [first, second] = [request.id.to_string(), format!("{}/1", request.id)];
        let space = &self.space;
        [
            space.bill(&first).await.submits,
            space.bill(&second).await.submits,
        ]
    }
}

fn tried(end: &Event) -> Vec<ErrorCode> {
    end.tried.iter().map(|it| it.code).collect()
}

#[tokio::test]
async fn a_run_whose_first_model_declines_is_reserved_and_pays_for_the_second_only() {
    for prices in [DEARER_FIRST, CHEAPER_FIRST] {
        let budgeted = Budgeted::priced(&prices, &BUDGETS).await;
        let _intake = budgeted.space.start(&["intake"]);
        let request = declined_once("falls-back");
        budgeted.dies_at("submit.fencing_fallback", &request).await;
        let _second = budgeted.start("worker", &[]);

        let end = budgeted
            .space
            .story(request.id.as_str())
            .await
            .pop()
            .unwrap();

        let [_, (_, cost)] = prices;
        assert_eq!(end.event_type, EventType::Completed, "{end:#?}");
        assert_eq!(end.result.as_ref().unwrap().cost_usd, Some(cost));
        assert_eq!(tried(&end), [ErrorCode::ProviderAuth]);
        assert_eq!(budgeted.submits(&request).await, [1, 1]);
        assert_eq!(budgeted.both().await, [[cost, 0.0]; 2]);
    }
}

/// The worker that ends the run may know of no budget.
#[tokio::test]
async fn a_run_that_all_its_models_refuse_leaves_nothing_spent_or_reserved() {
    let budgeted = Budgeted::priced(&DEARER_FIRST, &BUDGETS).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let request = request("refused", &json!({"submit": [401]}));
    budgeted.dies_at("finish.began", &request).await;

    let _second = space.start(&["worker"]);

    let end = space.story(request.id.as_str()).await.pop().unwrap();
    assert_eq!(code(&end), Some(ErrorCode::ProviderAuth));
    assert_eq!(tried(&end), [ErrorCode::ProviderAuth; 2]);
    assert_eq!(budgeted.submits(&request).await, [1, 1]);
    assert_eq!(budgeted.both().await, [[0.0, 0.0]; 2]);
}

#[tokio::test]
async fn a_fallback_that_a_budget_refuses_ends_the_run_and_gives_back_what_the_first_model_reserved()
 {
    let budgets = [("BUDGET_USER_DAY_USD", "1"), ("BUDGET_DAY_USD", "0.5")];
    let budgeted = Budgeted::priced(&CHEAPER_FIRST, &budgets).await;
    let _intake = budgeted.space.start(&["intake"]);
    let request = declined_once("too-dear");
    budgeted.dies_at("finish.began", &request).await;

    let _second = budgeted.space.start(&["worker"]);

    let end = budgeted
        .space
        .story(request.id.as_str())
        .await
        .pop()
        .unwrap();
    assert_eq!(code(&end), Some(ErrorCode::BudgetExceeded));
    let expected = [ErrorCode::ProviderAuth, ErrorCode::BudgetExceeded];
    assert_eq!(tried(&end), expected);
    assert_eq!(budgeted.submits(&request).await, [1, 0]);
    assert_eq!(budgeted.both().await, [[0.0, 0.0]; 2]);
}

#[tokio::test]
async fn no_cheaper_model_is_tried_when_a_budget_refuses_the_first() {
    let budgets = [("BUDGET_USER_DAY_USD", "0.5")];
    let budgeted = Budgeted::priced(&DEARER_FIRST, &budgets).await;
    let _intake = budgeted.space.start(&["intake"]);
    let _worker = budgeted.start("worker", &[]);

    let request = request("dear", &json!({}));
    let end = budgeted.outcome(&request).await;

    assert_eq!(code(&end), Some(ErrorCode::BudgetExceeded));
    assert_eq!(tried(&end), []);
    assert_eq!(budgeted.submits(&request).await, [0, 0]);
    assert_eq!(budgeted.used().await, [0.0, 0.0]);
}

/// `end.v1` cannot know whether the second model was paid, but the first surely was not.
#[tokio::test]
async fn a_run_that_is_terminated_while_its_second_model_is_asked_counts_with_that_one() {
    let budgeted = Budgeted::priced(&DEARER_FIRST, &BUDGETS).await;
    let space = &budgeted.space;
    let _intake = space.start(&["intake"]);
    let request = declined_once("terminated");
    budgeted.dies_at("submit.fencing_fallback", &request).await;
    terminate(&space.client().await, &request).await;

    let _second = budgeted.start("worker", &[OFTEN]);

    let end = space.story(request.id.as_str()).await.pop().unwrap();
    assert_eq!(code(&end), Some(ErrorCode::Terminated));
    assert_eq!(tried(&end), [ErrorCode::ProviderAuth]);
    assert_eq!(budgeted.both().await, [[0.2, 0.0]; 2]);
}
