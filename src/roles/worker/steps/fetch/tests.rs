//! When the state of a job becomes a PROGRESS (contract, section 3, rule 3).

use super::*;
use crate::contract::run::{Job, PendingEvents};
use crate::domain::model::Quote;
use crate::domain::{Media, ProviderName, RequestId};

fn input(last: Option<(i32, &str)>, may_report: bool) -> Fetch {
    let progress = |(percent, stage): (i32, &str)| Progress {
        percent,
        stage: stage.to_owned(),
        message: None,
    };
    Fetch {
        pending: PendingEvents {
            workflow: RequestId::try_from("r".to_owned()).unwrap().run(0),
            fingerprint: None,
            events: Vec::new(),
            traceparent: None,
        },
        model: None,
        quote: Quote::default(),
        job: Job {
            provider: ProviderName::REPLICATE,
            kind: Media::Image,
            id: "j".to_owned(),
            status_url: String::new(),
            result_url: String::new(),
            cancel_url: String::new(),
            called_back: false,
            cost_microusd: None,
        },
        last_progress: last.map(|last| LastProgress {
            progress: progress(last),
            at: 1_000,
        }),
        may_report,
        progress_every_ms: 500,
        sent_at: 0,
        deadline: i64::MAX,
    }
}

fn percent(input: &Fetch, stage: &str, percent: i32, now: i64) -> Option<i32> {
    milestone(input, stage.to_owned(), Some(percent), now).map(|progress| progress.percent)
}

#[test]
fn a_new_stage_or_ten_points_are_a_milestone_and_less_is_not() {
    assert_eq!(percent(&input(None, true), "a", 0, 0), Some(0));
    let fetch = input(Some((20, "a")), true);
    assert_eq!(percent(&fetch, "a", 29, 2_000), None);
    assert_eq!(percent(&fetch, "a", 30, 2_000), Some(30));
    assert_eq!(percent(&fetch, "b", 21, 2_000), Some(21));
}

#[test]
fn no_milestone_comes_before_its_interval_or_above_the_limit() {
    let fetch = input(Some((20, "a")), true);

    assert_eq!(percent(&fetch, "a", 50, 1_499), None);
    assert_eq!(percent(&fetch, "a", 50, 1_500), Some(50));
    assert_eq!(
        percent(&input(Some((20, "a")), false), "b", 90, 9_000),
        None
    );
}

#[test]
fn the_percent_never_falls() {
    let fetch = input(Some((40, "a")), true);

    assert_eq!(percent(&fetch, "b", 10, 2_000), Some(40));
}

#[test]
fn an_unknown_state_is_counted_when_it_appears_and_not_at_each_poll() {
    let mut counted = None;
    let polls = ["a", "a", "b", "b", "a"].map(|state| is_news(&mut counted, state));

    assert_eq!(polls, [true, false, true, false, true]);
}

/// Checks the pauses at an age and with a time left, all in seconds; the shortest pause is two.
fn expect(pause: impl Fn(Duration, Duration, Duration) -> Duration, cases: [(u64, u64, u64); 5]) {
    let seconds = Duration::from_secs;
    for (age, left, expected) in cases {
        let paused = pause(seconds(age), seconds(left), seconds(2));
        assert_eq!(paused, seconds(expected), "{age} {left}");
    }
}

#[test]
fn a_job_is_polled_more_rarely_as_it_gets_older_but_not_past_the_deadline() {
    let cases = [
        (1, 3600, 2),
        (50, 3600, 5),
        (1000, 3600, 20),
        (1000, 12, 6),
        (1000, 1, 2),
    ];
    expect(pause, cases);
}

#[test]
fn a_job_whose_provider_calls_back_is_polled_every_few_minutes_but_not_past_the_deadline() {
    let cases = [
        (1, 3600, 60),
        (240, 3600, 120),
        (10_000, 3600, 300),
        (10_000, 100, 50),
        (10_000, 1, 2),
    ];
    expect(rare_pause, cases);
}
