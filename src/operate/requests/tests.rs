//! The fold, the memory's bounds, filters, pages and numbers.

use super::*;
use crate::domain::{Action, EventError, Generated, Output, Progress};

const NOW: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;

fn event(id: &str, retry: i32, sequence: i32, event_type: EventType, minutes_ago: i64) -> Event {
    Event {
        request_id: id.to_owned(),
        event_type,
        run_id: Some(format!("{id}-{retry}")),
        occurred_at: NOW - minutes_ago * MINUTE,
        ..Event::for_test(retry, sequence)
    }
}

fn progress(id: &str, sequence: i32, percent: i32) -> Event {
    let (stage, message) = ("processing".to_owned(), None);
    Event {
        progress: Some(Progress {
            percent,
            stage,
            message,
        }),
        ..event(id, 0, sequence, EventType::Progress, 1)
    }
}

fn failed(id: &str, retry: i32, code: ErrorCode, minutes_ago: i64) -> Event {
    Event {
        error: Some(EventError::new(code, "why", true)),
        ..event(id, retry, 5, EventType::Failed, minutes_ago)
    }
}

fn completed(id: &str, model: &str, cost_usd: Option<f64>, minutes_ago: i64) -> Event {
    let output = Output {
        uri: format!("file:///{id}/0.png"),
        url: None,
        content_type: "image/png".to_owned(),
        bytes: 10,
        sha256: String::new(),
        width: None,
        height: None,
        duration_seconds: None,
    };
    Event {
        result: Some(Generated {
            outputs: vec![output],
            provider: "fal".to_owned(),
            provider_job_id: "j".to_owned(),
            elapsed_ms: 1,
            cost_usd,
            cost_source: None,
            sent: None,
            notes: Vec::new(),
            model: Some(model.to_owned()),
        }),
        ..event(id, 0, 5, EventType::Completed, minutes_ago)
    }
}

fn known(events: &[Event]) -> Requests {
    let mut requests = Requests::new(1_000);
    for (offset, event) in events.iter().enumerate() {
        requests.event(event, (0, offset as i64));
    }
    requests
}

fn ids(requests: &Requests, filter: &Filter) -> Vec<String> {
    let found = requests.find(filter, None, 0, 100);
    found.rows.iter().map(|row| row.id.to_string()).collect()
}

#[test]
fn a_row_follows_the_events_of_its_request() {
    let mut requests = Requests::new(10);
    let mut take = |event: Event, offset| {
        let is_new = requests.event(&event, (0, offset));
        let row = requests.get("a").unwrap();
        (is_new, row.state, row.percent, row.ended.is_some())
    };

    let started = event("a", 0, 0, EventType::Started, 2);
    assert_eq!(take(started.clone(), 0), (true, State::Started, 0, false));
    assert_eq!(
        take(progress("a", 1, 40), 1),
        (true, State::Generating, 40, false)
    );
    // A repeat, and a refusal of the same id sent again with other content, change nothing.
    assert_eq!(take(started, 2), (false, State::Generating, 40, false));
    let refused = event("a", 0, -1, EventType::Rejected, 0);
    assert_eq!(take(refused, 3), (false, State::Generating, 40, false));
    let end = failed("a", 0, ErrorCode::ProviderFailed, 1);
    assert_eq!(take(end, 4), (true, State::Failed, 40, true));
    let again = event("a", 1, 0, EventType::Started, 0);
    assert_eq!(take(again, 5), (true, State::Started, 0, false));

    let row = requests.get("a").unwrap();
    assert_eq!((row.retry, row.code), (1, None));
    assert_eq!(row.events, [(0, 0), (0, 1), (0, 4), (0, 5)]);
}

#[test]
fn the_oldest_request_that_has_ended_is_forgotten_first() {
    let mut requests = Requests::new(2);
    for (id, event_type) in [
        ("runs", EventType::Started),
        ("ended", EventType::Cancelled),
        ("new", EventType::Started),
        ("newer", EventType::Started),
    ] {
        requests.event(&event(id, 0, 0, event_type, 5), (0, 0));
    }

    assert!(requests.get("ended").is_none());
    // None has ended, so the oldest one had to go.
    assert!(requests.get("runs").is_none());
    assert!(requests.get("new").is_some() && requests.get("newer").is_some());
    assert_eq!((requests.len(), requests.forgotten), (2, 2));
}

#[test]
fn positions_of_a_request_are_bounded_and_have_its_end() {
    let mut requests = Requests::new(10);
    for sequence in 0..300 {
        requests.event(&progress("a", sequence, 1), (0, i64::from(sequence)));
    }

    let positions = &requests.get("a").unwrap().events;
    assert_eq!(positions.len(), MOST_POSITIONS);
    assert_eq!(positions.last(), Some(&(0, 299)));
}

#[test]
fn a_filter_selects_and_the_facets_ignore_its_states() {
    let requests = known(&[
        completed("img-1", "m/one", Some(0.5), 9),
        failed("img-2", 0, ErrorCode::ProviderFailed, 8),
        failed("img-3", 0, ErrorCode::ContentPolicy, 7),
        event("clip-4", 0, 0, EventType::Started, 6),
    ]);
    let filter = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };

    assert_eq!(
        ids(&requests, &Filter::default()),
        ["clip-4", "img-3", "img-2", "img-1"]
    );
    for (change, expected) in [
        (
            &(|it: &mut Filter| it.states = vec![State::Failed]) as &dyn Fn(&mut Filter),
            &["img-3", "img-2"][..],
        ),
        (&|it| it.model = Some("m/one".to_owned()), &["img-1"]),
        (&|it| it.code = Some(ErrorCode::ContentPolicy), &["img-3"]),
        (&|it| it.text = Some("CLIP".to_owned()), &["clip-4"]),
        (
            &|it| it.since = Some(NOW - 7 * MINUTE),
            &["clip-4", "img-3"],
        ),
        (&|it| it.until = Some(NOW - 8 * MINUTE), &["img-1"]),
        (&|it| it.user = Some("somebody".to_owned()), &[]),
        (&|it| it.kind = Some(Kind::Video), &[]),
        (&|it| it.batch = Some("b".to_owned()), &[]),
    ] {
        assert_eq!(ids(&requests, &filter(change)), expected);
    }
    let found_in = filter(&|it| it.states = vec![State::Failed]);
    let found = requests.find(&found_in, None, 0, 1);
    assert_eq!((found.total, found.rows.len()), (2, 1));
    assert_eq!(
        (
            found.states["failed"],
            found.states["completed"],
            found.states["started"]
        ),
        (2, 1, 1)
    );
    assert_eq!(
        found.codes.into_iter().collect::<Vec<_>>(),
        [("content_policy", 1), ("provider_failed", 1)]
    );
}

#[test]
fn pages_have_each_row_once() {
    let events: Vec<_> = (0..25)
        .map(|number| event(&format!("r-{number}"), 0, 0, EventType::Started, number % 3))
        .collect();
    let requests = known(&events);
    let (mut cursor, mut seen) = (None, Vec::new());

    loop {
        let page = requests.find(&Filter::default(), cursor, 0, 10);
        seen.extend(page.rows.iter().map(|row| row.id.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }

    assert_eq!(seen.len(), 25);
    let unique: HashSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), 25);
}

#[test]
fn an_offset_skips_rows_that_match() {
    let events: Vec<_> = (0..25)
        .map(|number| {
            let event_type = match number % 5 {
                0 => EventType::Cancelled,
                _ => EventType::Started,
            };
            event(&format!("r-{number:02}"), 0, 0, event_type, 25 - number)
        })
        .collect();
    let requests = known(&events);
    let open = Filter {
        states: vec![State::Started],
        ..Filter::default()
    };

    let found = requests.find(&open, None, 2, 2);

    let ids: Vec<_> = found.rows.iter().map(|row| &*row.id).collect();
    assert_eq!((ids, found.total), (vec!["r-22", "r-21"], 20));
    assert!(found.next.is_some());
    let last = requests.find(&open, None, 19, 2);
    assert_eq!((&*last.rows[0].id, last.rows.len()), ("r-01", 1));
    assert_eq!(last.next, None);
}

#[test]
fn numbers_count_the_last_hour_and_todays_money() {
    let requests = known(&[
        event("old", 0, 0, EventType::Started, 30),
        event("runs", 0, 0, EventType::Started, 3),
        completed("paid", "m", Some(0.25), 2),
        completed("unpriced", "m", None, 1),
        // 22:13 UTC: 120 minutes ago is today but not the last hour, 1,440 minutes ago is yesterday.
        completed("earlier", "m", Some(1.0), 120),
        completed("yesterday", "m", Some(9.0), 1_440),
        failed("failed", 0, ErrorCode::ProviderFailed, 59),
        failed("long-ago", 0, ErrorCode::ProviderFailed, 61),
    ]);

    let numbers = requests.numbers(NOW, 0);

    assert_eq!((numbers.running, numbers.started), (2, 2));
    assert_eq!(numbers.oldest.unwrap().id, "old");
    assert_eq!((numbers.completed, numbers.failed), (2, 1));
    assert_eq!(numbers.codes["provider_failed"], 1);
    assert_eq!(numbers.spent_today_usd, 1.25);
    assert_eq!(numbers.unpriced_today, 1);
    assert_eq!(requests.runs_since(NOW - 2 * MINUTE), 4);
    assert_eq!(
        (
            numbers.completed_by_minute[57],
            numbers.completed_by_minute[58]
        ),
        (1, 1)
    );
    assert_eq!(numbers.failed_by_minute[0], 1);
}

#[test]
fn the_months_money_counts_from_its_first_day_or_from_what_is_known() {
    // 2023-11-14T22:13:20Z.
    const DAY: i64 = 1_440;
    let first = 1_698_796_800_000;
    let events = [
        completed("october", "m", Some(32.0), 15 * DAY),
        completed("long-ago", "m", Some(16.0), 13 * DAY),
        completed("unpriced", "m", None, 13 * DAY),
        completed("yesterday", "m", Some(8.0), DAY),
        completed("today", "m", Some(4.0), 2),
    ];
    let money = |requests: &Requests, since| {
        let numbers = requests.numbers(NOW, since);
        let spent = (numbers.spent_today_usd, numbers.spent_month_usd);
        (spent, numbers.unpriced_month, numbers.month_from)
    };
    let requests = known(&events);

    assert_eq!(money(&requests, 0), ((4.0, 28.0), 1, first));
    let week = NOW - 7 * DAY * MINUTE;
    assert_eq!(money(&requests, week), ((4.0, 12.0), 0, week));
    // What was forgotten is not in the sum, so the sum begins after it.
    let mut requests = Requests::new(2);
    for (offset, event) in events.iter().enumerate() {
        requests.event(event, (0, offset as i64));
    }
    let after = NOW - 13 * DAY * MINUTE + 1;
    assert_eq!(money(&requests, 0), ((4.0, 12.0), 0, after));
}

#[test]
fn the_usual_cost_is_the_median_of_each_kind() {
    let costs = [Some(0.03), Some(5.0), None, Some(0.04)];
    let events: Vec<_> = costs
        .into_iter()
        .enumerate()
        .map(|(at, cost)| completed(&format!("i{at}"), "m", cost, 1))
        .collect();
    let requests = known(&events);
    let kind = events[0].kind;
    let other = if kind == Kind::Video {
        Kind::Image
    } else {
        Kind::Video
    };

    assert_eq!(requests.usual_cost(&[kind, kind]), Some(0.08));
    assert_eq!(requests.usual_cost(&[kind, other]), None);
    assert_eq!(requests.usual_cost(&[]), Some(0.0));
}

#[test]
fn a_retry_takes_each_request_once_and_no_batch() {
    let batch = Event {
        kind: Kind::Batch,
        ..failed("group", 0, ErrorCode::BatchFailed, 1)
    };
    let requests = known(&[
        failed("a", 0, ErrorCode::ProviderFailed, 1),
        batch,
        event("no", 0, -1, EventType::Rejected, 1),
    ]);
    let ids = ["a", "a", "group", "no", "nobody"].map(str::to_owned);

    let plan = bulk::Plan::of(&requests, Action::Retry, &bulk::Selection::Ids(&ids)).unwrap();

    assert_eq!(plan.ids, ["a"]);
    let rejected = "was rejected: send it again as a new request";
    for why in ["is a batch: retry its items", rejected, "unknown"] {
        assert_eq!(plan.left[why], 1, "{why}");
    }
    assert_eq!(plan.left.len(), 3);
    assert_eq!(bulk::distinct(&ids).count(), 4);
}

#[test]
fn an_action_takes_ten_thousand_requests_at_most() {
    let many = |count| {
        let events: Vec<_> = (0..count)
            .map(|number| failed(&format!("r{number}"), 0, ErrorCode::ProviderFailed, 1))
            .collect();
        let mut requests = Requests::new(count);
        for (offset, event) in events.iter().enumerate() {
            requests.event(event, (0, offset as i64));
        }
        let all = Filter::default();
        bulk::Plan::of(&requests, Action::Retry, &bulk::Selection::Matching(&all))
    };

    assert_eq!(many(10_000).unwrap().ids.len(), 10_000);
    let refused = many(10_001).unwrap_err();
    assert!(refused.contains("expected at most 10000"), "{refused}");
}
