//! Reservations, settlements, and the days and months for which they count.

use super::*;

/// 2026-11-30, a Monday, at midnight.
const MONDAY: i64 = 20_787 * DAY_MS;
const HOUR: i64 = 3_600_000;

fn usd(amount: f64) -> Micros {
    Micros::of_usd(amount)
}

fn limits(day: f64, month: f64) -> Limits {
    Limits {
        day: Some(usd(day)),
        month: Some(usd(month)),
    }
}

fn used(account: &Account, at: i64) -> [f64; 4] {
    let Statement { day, month, .. } = account.statement(at);
    [day.spent, day.reserved, month.spent, month.reserved].map(Micros::usd)
}

fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        other @ (Answer::Granted | Answer::Full | Answer::Late) => {
            panic!("expected a refusal, got {other:?}")
        }
    }
}

#[test]
fn amounts_are_whole_millionths_rounded_up() {
    for (dollars, micros) in [
        (0.003, 3_000),
        (0.1 + 0.2, 300_000),
        (0.000_000_1, 1),
        (0.0, 0),
        (-1.0, 0),
        (1e6, 1_000_000_000_000),
    ] {
        assert_eq!(usd(dollars), Micros(micros), "{dollars}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_is_left_and_when_it_frees() {
    let mut account = Account::default();
    let limits = limits(1.0, 100.0);
    assert_eq!(
        account.reserve("a", 0, usd(0.7), limits, MONDAY),
        Answer::Granted
    );

    let refused = refusal(account.reserve("b", 0, usd(0.4), limits, MONDAY + HOUR));

    assert_eq!((refused.period, refused.left), (Period::Day, usd(0.3)));
    assert_eq!(refused.frees_at, MONDAY + DAY_MS);
    assert_eq!(
        account.reserve("b", 0, usd(0.3), limits, MONDAY),
        Answer::Granted
    );
}

#[test]
fn a_month_that_is_used_up_frees_on_the_first_of_the_next_one() {
    let mut account = Account::default();
    let limits = limits(9.0, 1.0);
    account.reserve("a", 0, usd(1.0), limits, MONDAY);

    let refused = refusal(account.reserve("b", 0, usd(0.1), limits, MONDAY));

    assert_eq!((refused.period, refused.left), (Period::Month, usd(0.0)));
    assert_eq!(
        refused.frees_at,
        MONDAY + DAY_MS,
        "December follows the 30th of November"
    );
    assert_eq!(
        account.reserve("b", 0, usd(0.1), limits, MONDAY + DAY_MS),
        Answer::Granted
    );
}

#[test]
fn a_repeated_reservation_is_the_same_one_even_if_the_limits_are_lower_by_now() {
    let mut account = Account::default();
    account.reserve("a", 0, usd(0.7), limits(1.0, 1.0), MONDAY);

    let again = account.reserve("a", 0, usd(0.7), limits(0.1, 0.1), MONDAY + HOUR);
    let less = account.reserve("a", 0, usd(0.2), limits(0.1, 0.1), MONDAY + HOUR);

    assert_eq!((again, less), (Answer::Granted, Answer::Granted));
    assert_eq!(used(&account, MONDAY), [0.0, 0.7, 0.0, 0.7]);
}

#[test]
fn a_reservation_is_raised_if_the_rest_fits_and_is_kept_if_not() {
    let mut account = Account::default();
    let limits = limits(1.0, 1.0);
    account.reserve("a", 0, usd(0.4), limits, MONDAY);
    account.reserve("b", 0, usd(0.1), limits, MONDAY);

    assert_eq!(
        account.reserve("a", 0, usd(0.9), limits, MONDAY),
        Answer::Granted
    );
    let refused = refusal(account.reserve("b", 0, usd(0.2), limits, MONDAY));

    assert_eq!(refused.left, usd(0.1), "without its own reservation");
    assert_eq!(used(&account, MONDAY)[1], 1.0);
}

#[test]
fn a_settled_run_costs_what_it_cost_once() {
    let mut account = Account::default();
    let limits = limits(10.0, 10.0);
    for (run, spend) in [
        ("refused", Spend::Nothing),
        ("unknown", Spend::Reserved),
        ("known", Spend::Cost(usd(0.25))),
    ] {
        account.reserve(run, 0, usd(1.0), limits, MONDAY);
        account.settle(run, spend, 0, MONDAY);
        account.settle(run, Spend::Reserved, 0, MONDAY);
    }
    account.settle("never reserved", Spend::Cost(usd(5.0)), 0, MONDAY);

    assert_eq!(used(&account, MONDAY), [1.25, 0.0, 1.25, 0.0]);
}

#[test]
fn a_day_begins_with_nothing_spent_and_its_reservations_count_for_their_own_day() {
    let mut account = Account::default();
    let limits = limits(1.0, 10.0);
    let saturday = MONDAY - 2 * DAY_MS;
    account.reserve("a", 0, usd(1.0), limits, saturday);

    let sunday = saturday + DAY_MS;
    assert_eq!(
        account.reserve("b", 0, usd(1.0), limits, sunday),
        Answer::Granted
    );
    account.settle("a", Spend::Reserved, 0, sunday);

    assert_eq!(used(&account, sunday), [0.0, 1.0, 1.0, 1.0]);
}

#[test]
fn a_reservation_that_is_repeated_on_the_next_day_counts_for_that_day() {
    let mut account = Account::default();
    let limits = limits(1.0, 10.0);
    let sunday = MONDAY - DAY_MS;
    account.reserve("a", 0, usd(1.0), limits, sunday);

    account.reserve("a", 0, usd(1.0), limits, MONDAY);

    assert_eq!(used(&account, MONDAY), [0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn a_reservation_that_is_never_settled_ends_with_its_month() {
    let mut account = Account::default();
    account.reserve("a", 0, usd(1.0), limits(1.0, 1.0), MONDAY);
    assert!(!account.is_empty(MONDAY));
    let december = month_end(MONDAY);

    assert!(account.is_empty(december));
    account.settle("a", Spend::Reserved, 0, december);

    assert_eq!(used(&account, december), [0.0; 4]);
}

#[test]
fn a_call_to_reserve_is_late_once_its_time_is_over_or_its_run_has_ended() {
    let mut account = Account::default();
    assert!(!account.is_late("a", None, MONDAY));
    assert!(!account.is_late("a", Some(MONDAY), MONDAY));
    assert!(account.is_late("a", Some(MONDAY - 1), MONDAY));

    account.end("a", MONDAY);

    let valid = MONDAY + RESERVES_FOR_MS;
    assert!(account.is_late("a", Some(valid), valid));
    assert!(account.is_late("a", None, MONDAY));
    assert!(!account.is_late("b", Some(valid), valid));
}

#[test]
fn a_run_that_has_ended_is_kept_until_every_call_of_its_attempts_is_late() {
    let mut account = Account::default();
    account.end("a", MONDAY);
    let last = MONDAY + RESERVES_FOR_MS;
    assert!(!account.is_empty(last), "the account is kept");

    account.end("b", last);
    assert_eq!(account.ended.len(), 2);
    account.end("c", last + 1);

    assert_eq!(account.ended.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(account.is_empty(last + 2 * RESERVES_FOR_MS));
    let json = serde_json::to_string(&account).unwrap();
    assert_eq!(serde_json::from_str::<Account>(&json).unwrap(), account);
}

#[test]
fn a_clock_that_goes_back_does_not_bring_a_day_back() {
    let mut account = Account::default();
    let limits = limits(1.0, 10.0);
    account.reserve("a", 0, usd(1.0), limits, MONDAY);

    let refused = refusal(account.reserve("b", 0, usd(1.0), limits, MONDAY - HOUR));

    assert_eq!(refused.frees_at, MONDAY + DAY_MS);
}

#[test]
fn an_account_with_as_many_reservations_as_it_can_hold_takes_no_more() {
    let mut account = Account::default();
    let reserve = |account: &mut Account, run: usize| {
        let run = format!("01234567-0123-0123-0123-{run:012}");
        account.reserve(&run, 0, usd(999.999_999), Limits::default(), MONDAY)
    };
    assert_eq!(reserve(&mut account, 0), Answer::Granted);
    let (_, one) = account.open.pop_first().unwrap();
    let run = |run: usize| format!("01234567-0123-0123-0123-{run:012}");
    account.open = (0..MOST_OPEN).map(|at| (run(at), one)).collect();

    assert_eq!(reserve(&mut account, MOST_OPEN), Answer::Full);
    assert_eq!(reserve(&mut account, 7), Answer::Granted, "it has one");
    let bytes = serde_json::to_vec(&account).unwrap().len();
    assert!(
        bytes < 1_900_000,
        "{bytes} bytes do not fit into a workflow's input"
    );
}

#[test]
fn runs_that_have_ended_take_room_for_a_minute_and_none_that_is_needed_for_continue_as_new() {
    let mut account = Account::default();
    for run in 0..MOST_OPEN {
        account
            .ended
            .insert(run.to_string(), MONDAY + RESERVES_FOR_MS);
    }

    account.end("one more", MONDAY);

    assert_eq!(account.ended.len(), MOST_OPEN);
    let mut reserve = |at| account.reserve("a", 0, usd(1.0), Limits::default(), at);
    assert_eq!(reserve(MONDAY), Answer::Full);
    assert_eq!(reserve(MONDAY + RESERVES_FOR_MS + 1), Answer::Granted);
}

#[test]
fn the_reservation_of_a_later_candidate_replaces_that_of_one_that_declined() {
    let mut account = Account::default();
    let limits = limits(1.0, 1.0);
    let mut reserve = |candidate, amount| {
        let answer = account.reserve("a", candidate, usd(amount), limits, MONDAY);
        (answer, used(&account, MONDAY)[1])
    };

    assert_eq!(reserve(0, 0.7), (Answer::Granted, 0.7));
    assert_eq!(reserve(1, 0.2), (Answer::Granted, 0.2));
    assert_eq!(reserve(2, 0.9), (Answer::Granted, 0.9), "not the sum");
    // A late repeat for a candidate that cannot send any more.
    assert_eq!(reserve(0, 0.7), (Answer::Granted, 0.9));
    assert_eq!(reserve(1, 5.0), (Answer::Granted, 0.9));
    assert_eq!(refusal(reserve(3, 1.1).0).left, usd(1.0));
    account.settle("a", Spend::Reserved, 2, MONDAY);
    assert_eq!(used(&account, MONDAY), [0.9, 0.0, 0.9, 0.0]);
}

#[test]
fn what_a_candidate_that_declined_has_reserved_is_given_back_whatever_the_run_spent() {
    for spend in [Spend::Nothing, Spend::Reserved, Spend::Cost(usd(0.3))] {
        let mut account = Account::default();
        account.reserve("a", 1, usd(0.7), limits(1.0, 1.0), MONDAY);

        account.settle("a", spend, 2, MONDAY);

        assert_eq!(used(&account, MONDAY), [0.0; 4], "{spend:?}");
    }
}

/// Random reservations, settlements and pauses. After each grant all that is spent and reserved is within the limits,
/// if no job cost more than its reservation; and the account agrees with a plain list of what happened.
#[test]
fn a_grant_never_exceeds_a_limit() {
    for seed in 1..200_u64 {
        let mut random = Random(seed);
        let mut account = Account::default();
        let mut model: BTreeMap<String, (i64, u64, bool, u32)> = BTreeMap::new();
        let limits = limits(0.000_05, 0.000_12);
        let mut at = MONDAY - 10 * DAY_MS;
        for _ in 0..300 {
            at += i64::try_from(random.below(4)).unwrap() * HOUR;
            let run = format!("run {}", random.below(1_000_000) % 12);
            if random.below(3) > 0 {
                // An id is used again only while its reservation is open.
                if model.get(&run).is_some_and(|it| it.2) {
                    continue;
                }
                let amount = random.below(30);
                let before = model.get(&run).filter(|it| is_same_month(it.0, at));
                let before = before.map_or((at, 0, 0), |it| (it.0, it.1, it.3));
                let candidate = u32::try_from(random.below(2)).unwrap();
                if account.reserve(&run, candidate, Micros(amount), limits, at) == Answer::Granted {
                    let entry = match before {
                        (day, amount, last) if last > candidate => (day, amount, false, last),
                        (_, before, last) if last == candidate => {
                            (at, before.max(amount), false, last)
                        }
                        _ => (at, amount, false, candidate),
                    };
                    model.insert(run, entry);
                    let Statement { day, month, .. } = account.statement(at);
                    assert!(day.used() <= limits.day.unwrap(), "{day:?}");
                    assert!(month.used() <= limits.month.unwrap(), "{month:?}");
                }
            } else if let Some(entry) = model.get_mut(&run) {
                let cost = random.below(entry.1 + 1);
                account.settle(&run, Spend::Cost(Micros(cost)), 0, at);
                account.settle(&run, Spend::Reserved, 0, at);
                if !entry.2 {
                    *entry = (entry.0, cost, true, entry.3);
                }
            }
            let Statement { day, month, .. } = account.statement(at);
            let this_day =
                |it: &&(i64, u64, bool, u32)| it.0.div_euclid(DAY_MS) == at.div_euclid(DAY_MS);
            let this_month = |it: &&(i64, u64, bool, u32)| is_same_month(it.0, at);
            let sum_day: u64 = model.values().filter(this_day).map(|it| it.1).sum();
            let sum_month: u64 = model.values().filter(this_month).map(|it| it.1).sum();
            assert_eq!(
                (day.used().0, month.used().0),
                (sum_day, sum_month),
                "seed {seed}"
            );
        }
    }
}

fn is_same_month(one: i64, other: i64) -> bool {
    month_end(one) == month_end(other)
}

/// A small generator of numbers: the same ones for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
