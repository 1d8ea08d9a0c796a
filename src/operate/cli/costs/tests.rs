//! Tests of the sums and of what is printed.

use super::*;
use crate::domain::{CostSource, Kind};
use crate::operate::cli::table::without_colors;

const DAY: i64 = 24 * 3600 * 1000;

fn run(user: &str, retry: i32, cost: Option<(f64, CostSource)>) -> Event {
    let result = Generated {
        outputs: Vec::new(),
        provider: "fal".to_owned(),
        provider_job_id: "j".to_owned(),
        elapsed_ms: 1,
        cost_usd: cost.map(|(usd, _)| usd),
        cost_source: cost.map(|(_, source)| source),
        sent: None,
        notes: Vec::new(),
        model: Some("a/b".to_owned()),
    };
    let id = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        format!("{user}{retry}").as_bytes(),
    );
    Event {
        event_id: id.to_string(),
        user_id: user.to_owned(),
        event_type: EventType::Completed,
        kind: Kind::Image,
        occurred_at: 1_700_000_000_123 + i64::from(retry) * DAY,
        result: Some(result),
        ..Event::for_test(retry, 1)
    }
}

fn bill(by: By, events: &[Event]) -> Report<'static> {
    let mut bill = Bill::default();
    for event in events {
        if let Some(result) = completed(event) {
            bill.add(3, event, by.name(event, result), result);
        }
    }
    Report {
        by,
        topic: "gen.results",
        since: 1_700_000_000_000,
        until: 1_700_900_000_000,
        bill,
    }
}

fn events() -> Vec<Event> {
    vec![
        run("ann", 0, Some((0.1, CostSource::Metered))),
        run("bob\u{1b}", 0, Some((0.2, CostSource::Provider))),
        run("ann", 1, Some((0.2, CostSource::Estimate))),
        run("ann", 2, None),
        // Repeats.
        run("ann", 1, Some((0.2, CostSource::Estimate))),
        run("ann", 0, Some((0.1, CostSource::Metered))),
        Event {
            event_type: EventType::Failed,
            result: None,
            ..run("ann", 5, None)
        },
    ]
}

#[test]
fn each_run_is_added_up_once() {
    let shown = without_colors(|out| bill(By::User, &events()).table(out).unwrap());

    assert_eq!(
        shown,
        "user   runs     USD  estimated  no price\n\
         ann       3  0.3000     0.2000         1\n\
         bob       1  0.2000     0.0000         0\n\
         total     4  0.5000     0.2000         1\n\
         completed runs from 2023-11-14T22:13:20.000Z to 2023-11-25T08:13:20.000Z; the oldest outcome that gen.results \
         still holds is from 2023-11-14T22:13:20.123Z\n"
    );
}

#[test]
fn runs_are_added_up_by_day_model_kind_or_provider() {
    let names = |by| {
        let report = bill(by, &events());
        report
            .sums()
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect::<Vec<_>>()
    };

    assert_eq!(names(By::Day), ["2023-11-14", "2023-11-15", "2023-11-16"]);
    assert_eq!(names(By::Model), ["fal:a/b"]);
    assert_eq!(names(By::Kind), ["IMAGE"]);
    assert_eq!(names(By::Provider), ["fal"]);
}

#[test]
fn sums_in_json_are_rounded() {
    let mut out = Vec::new();

    bill(By::User, &events()).json(&mut out).unwrap();

    let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let ann =
        json!({"user": "ann", "runs": 3, "cost_usd": 0.3, "estimated_usd": 0.2, "unpriced": 1});
    assert_eq!(report["groups"][0], ann);
    assert_eq!(report["total"]["cost_usd"], json!(0.5));
    assert_eq!(report["oldest"], json!("2023-11-14T22:13:20.123Z"));
    assert_eq!(report["exact"], json!(true));
}
