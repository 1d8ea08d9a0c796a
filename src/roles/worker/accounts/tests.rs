//! What a run has spent when it ends, and the text of a refusal.

use super::*;
use crate::contract::run::{BudgetUse, JobLookup};
use crate::domain::{Generated, Media, ProviderName, WorkflowId};

fn finish(leftover: ProviderJobLeft) -> Finish {
    Finish {
        pending: PendingEvents {
            workflow: WorkflowId::parse("r").unwrap(),
            fingerprint: None,
            events: Vec::new(),
            traceparent: None,
        },
        leftover,
        started_at: 0,
        sent_at: None,
        budget: BudgetUse::default(),
    }
}

fn sent() -> Finish {
    let unsent = finish(ProviderJobLeft::None);
    Finish {
        sent_at: Some(7),
        ..unsent
    }
}

fn unknown() -> Finish {
    finish(ProviderJobLeft::Unknown(JobLookup {
        provider: ProviderName::FAL,
        kind: Media::Image,
        run_id: "run".to_owned(),
        since: 0,
        recent: true,
        candidate: 0,
    }))
}

fn not_accepted() -> Finish {
    let budget = BudgetUse {
        not_accepted: true,
        ..BudgetUse::default()
    };
    Finish {
        budget,
        ..unknown()
    }
}

fn completed(cost_usd: Option<f64>) -> Event {
    let json = serde_json::json!({"outputs": [], "provider": "fal", "provider_job_id": "j", "elapsed_ms": 1, "cost_usd": cost_usd,
        "sent": null, "notes": []});
    let result: Generated = serde_json::from_value(json).unwrap();
    Event {
        result: Some(result),
        ..Event::for_test(0, 1)
    }
}

fn failed(code: ErrorCode) -> Event {
    Event {
        error: Some(EventError::new(code, "no", false)),
        ..Event::for_test(0, 1)
    }
}

#[test]
fn a_completed_run_costs_what_is_known_of_it_and_else_what_was_reserved() {
    let cost = spend(&completed(Some(0.25)), &sent());

    assert_eq!(cost, Spend::Cost(Micros::of_usd(0.25)));
    assert_eq!(spend(&completed(None), &sent()), Spend::Reserved);
}

#[test]
fn only_what_was_surely_not_paid_is_given_back() {
    let unsent = finish(ProviderJobLeft::None);
    for (what, outcome, input, expected) in [
        (
            "refused",
            failed(ErrorCode::ProviderAuth),
            unsent.clone(),
            Spend::Nothing,
        ),
        (
            "cancelled early",
            Event::for_test(0, 1),
            unsent.clone(),
            Spend::Nothing,
        ),
        (
            "late, not accepted",
            failed(ErrorCode::DeadlineExceeded),
            not_accepted(),
            Spend::Nothing,
        ),
        (
            "late, unknown",
            failed(ErrorCode::DeadlineExceeded),
            unknown(),
            Spend::Reserved,
        ),
        (
            "ambiguous",
            failed(ErrorCode::SubmitAmbiguous),
            unknown(),
            Spend::Reserved,
        ),
        (
            "failed job",
            failed(ErrorCode::ProviderFailed),
            sent(),
            Spend::Reserved,
        ),
        (
            "cancelled job",
            Event::for_test(0, 1),
            sent(),
            Spend::Reserved,
        ),
        (
            "made, not stored",
            failed(ErrorCode::StoreFailed),
            unsent.clone(),
            Spend::Reserved,
        ),
        (
            "closed from outside",
            failed(ErrorCode::Terminated),
            unsent,
            Spend::Reserved,
        ),
    ] {
        assert_eq!(spend(&outcome, &input), expected, "{what}");
    }
}

#[test]
fn a_refusal_says_which_budget_how_much_is_left_and_when_it_resets() {
    let refusal = |limit| Refusal {
        period: Period::Day,
        limit: Micros::of_usd(limit),
        left: Micros::of_usd(0.3),
        frees_at: 1_796_083_200_000,
    };
    let message = |limit| {
        let error = exceeded(&Holder::of("ann"), Micros::of_usd(1.2), &refusal(limit));
        assert_eq!(
            (error.code, error.retryable),
            (ErrorCode::BudgetExceeded, false)
        );
        error.message
    };

    assert_eq!(
        message(5.0),
        "the user's budget of the day has 0.3000 US dollars left, and the request may cost 1.2000; it resets at \
         2026-12-01T00:00:00.000Z; send the request again then, or have the operator raise BUDGET_USER_DAY_USD"
    );
    assert!(message(1.0).contains("more than the whole budget"));
}
