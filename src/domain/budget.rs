//! What an account may spend in a day and in a month: an amount is reserved before a submit, and settled when its run
//! ends.
//!
//! Days and months are those of the calendar in UTC. A reservation counts for the day, and the month, in which it was
//! made; what it cost in the end counts for the same ones. Once they are over, it no longer counts.
//!
//! A reservation that comes after the end of its run would never be settled, so it is refused ([`Account::is_late`]).

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Months};
use serde::{Deserialize, Serialize};

/// Most runs that an account keeps, open or ended: it must fit into the input of a workflow, of 2 MB at most.
const MOST_OPEN: usize = 20_000;
const DAY_MS: i64 = 86_400_000;
/// How long after its start an attempt may reserve, in milliseconds: the longest `HEARTBEAT_TIMEOUT`. For as long, an
/// account knows a run that has ended.
pub const RESERVES_FOR_MS: i64 = 60_000;

/// An amount in millionths of a US dollar: sums of whole numbers are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Micros(u64);

impl Micros {
    /// Converts US dollars, rounded up to a whole millionth.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an amount below zero is 0, and one that is too large is the largest"
    )]
    pub fn of_usd(usd: f64) -> Self {
        // A sum of floats such as 0.1 + 0.2 is not rounded up for its last digit.
        Self((usd * 1e6 - 1e-3).ceil() as u64)
    }

    /// Returns US dollars.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Micros {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// The most that an account may spend; `None`: any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub day: Option<Micros>,
    pub month: Option<Micros>,
}

impl Limits {
    pub fn is_unlimited(self) -> bool {
        self == Self::default()
    }
}

/// The limits of each user, and of all users together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    pub user: Limits,
    pub all: Limits,
}

impl Budgets {
    pub fn is_unlimited(self) -> bool {
        self.user.is_unlimited() && self.all.is_unlimited()
    }
}

/// The time for which a limit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Month,
}

impl Period {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Returns when the period of this day ends, in milliseconds since the epoch.
    fn end(self, day: i64) -> i64 {
        let midnight = DateTime::from_timestamp_millis(day * DAY_MS).unwrap_or_default();
        let next = match self {
            Self::Day => return (day + 1) * DAY_MS,
            Self::Month => midnight
                .with_day(1)
                .and_then(|it| it.checked_add_months(Months::new(1))),
        };
        next.unwrap_or(midnight).timestamp_millis()
    }
}

/// Returns when the month of `at` ends; both in milliseconds since the epoch.
pub fn month_end(at: i64) -> i64 {
    Period::Month.end(at.div_euclid(DAY_MS))
}

/// The answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The amount is reserved, whether by this call or an earlier one.
    Granted,
    Refused(Refusal),
    /// The account holds as many runs as it can: some must be settled first, or have ended a minute ago.
    Full,
    /// The run has ended, or the calling attempt began too long ago: nothing is reserved.
    Late,
}

/// Why an amount was not reserved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub period: Period,
    pub limit: Micros,
    /// What the limit leaves at present.
    pub left: Micros,
    /// When the period ends, in milliseconds since the epoch.
    pub frees_at: i64,
}

/// What a run has spent of its reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spend {
    /// Nothing was paid.
    Nothing,
    /// The cost is not known: the whole reservation counts as spent.
    Reserved,
    Cost(Micros),
}

/// What an account has spent and reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The last day on which it changed, in days since the epoch.
    day: i64,
    spent_day: Micros,
    spent_month: Micros,
    /// Open reservations by run id, all of this month.
    open: BTreeMap<String, Reservation>,
    /// The runs that ended a moment ago, and until when they are kept, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ended: BTreeMap<String, i64>,
    /// The limits that the last reservation brought, or the start of the account; for statements.
    limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reservation {
    amount: Micros,
    /// The candidate of the run that may cost it: 0 for the request's own model, n for the n-th fallback.
    #[serde(default, skip_serializing_if = "is_first")]
    candidate: u32,
    /// In days since the epoch.
    day: i64,
}

/// What is known about an account at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub day: Usage,
    pub month: Usage,
    /// Number of reservations that are not settled.
    pub open: usize,
}

/// What is used of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub spent: Micros,
    pub reserved: Micros,
    pub limit: Option<Micros>,
    /// When the period ends, in milliseconds since the epoch.
    pub frees_at: i64,
}

impl Statement {
    /// Returns the statement of an account on which nothing was ever reserved.
    pub fn unused(limits: Limits, at: i64) -> Self {
        Account::unused(limits).statement(at)
    }
}

impl Usage {
    fn used(self) -> Micros {
        self.spent.plus(self.reserved)
    }
}

impl Account {
    /// Returns an account on which nothing was ever reserved.
    pub fn unused(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Reserves an amount for a run, if it fits into the limits. `at` is in milliseconds since the epoch.
    ///
    /// A run has one reservation. A repeat on the same day changes nothing; a larger amount raises it if the increase
    /// fits; a call on a later day moves it to that day. A call for a later candidate replaces it, also by a smaller
    /// amount, because the earlier candidate accepted nothing. A refusal leaves the earlier reservation as it is.
    pub fn reserve(
        &mut self,
        run: &str,
        candidate: u32,
        amount: Micros,
        limits: Limits,
        at: i64,
    ) -> Answer {
        self.roll(at);
        self.limits = limits;
        let before = self.open.get(run).copied();
        let amount = match before {
            // A late call for a candidate that has declined: its caller can no longer send, so nothing changes.
            Some(it) if it.candidate > candidate => return Answer::Granted,
            Some(it) if it.candidate == candidate => it.amount.max(amount),
            Some(_) | None => amount,
        };
        let wanted = Reservation {
            amount,
            candidate,
            day: self.day,
        };
        if before == Some(wanted) {
            return Answer::Granted;
        }
        if before.is_none() && self.is_full() {
            self.forget_ended(at);
            if self.is_full() {
                return Answer::Full;
            }
        }
        // The run's own reservation must not count against it.
        self.open.remove(run);
        let Some(refusal) = self.refusal(amount) else {
            self.open.insert(run.to_owned(), wanted);
            return Answer::Granted;
        };
        if let Some(before) = before {
            self.open.insert(run.to_owned(), before);
        }
        Answer::Refused(refusal)
    }

    /// Returns whether a call to reserve comes too late, at `at`: its run has ended, or its attempt was allowed to reserve
    /// only `until` an earlier time ([`RESERVES_FOR_MS`]). Both are in milliseconds since the epoch. Every attempt starts
    /// before the end of its run, so afterwards one of the two holds.
    pub fn is_late(&self, run: &str, until: Option<i64>, at: i64) -> bool {
        until.is_some_and(|until| until < at) || self.ended.contains_key(run)
    }

    /// Notes that a run has ended: a call to reserve for it is late from now on.
    pub fn end(&mut self, run: &str, at: i64) {
        self.forget_ended(at);
        // With more runs, the account could no longer continue as new. This end is then forgotten: once there is room, a
        // late call of this run could still reserve.
        if !self.is_full() {
            self.ended.insert(run.to_owned(), at + RESERVES_FOR_MS);
        }
    }

    fn forget_ended(&mut self, at: i64) {
        self.ended.retain(|_, until| *until >= at);
    }

    fn is_full(&self) -> bool {
        self.open.len() + self.ended.len() >= MOST_OPEN
    }

    /// Settles the reservation of a run. Candidates below `declined` accepted nothing, so a reservation for one of them
    /// is released whatever `spend` is. Without a reservation it does nothing, so a repeat is harmless.
    pub fn settle(&mut self, run: &str, spend: Spend, declined: u32, at: i64) {
        self.roll(at);
        let Some(reservation) = self.open.remove(run) else {
            return;
        };
        let cost = match spend {
            _ if reservation.candidate < declined => Micros::default(),
            Spend::Nothing => Micros::default(),
            Spend::Reserved => reservation.amount,
            Spend::Cost(cost) => cost,
        };
        self.spent_month = self.spent_month.plus(cost);
        if reservation.day == self.day {
            self.spent_day = self.spent_day.plus(cost);
        }
    }

    /// Returns what is spent and reserved at a time, in milliseconds since the epoch.
    pub fn statement(&self, at: i64) -> Statement {
        let mut now = self.clone();
        now.roll(at);
        let usage = |period| now.usage(period);
        Statement {
            day: usage(Period::Day),
            month: usage(Period::Month),
            open: now.open.len(),
        }
    }

    /// Returns whether nothing is spent or reserved in the month of `at`, and no run ended a moment ago, so that the
    /// account need not be kept.
    pub fn is_empty(&self, at: i64) -> bool {
        let now = self.statement(at);
        let has_ended = self.ended.values().any(|until| *until >= at);
        now.open == 0 && now.month.spent == Micros::default() && !has_ended
    }

    /// Begins the day, and the month, of `at`. A clock that goes back does not bring an earlier day back.
    fn roll(&mut self, at: i64) {
        let day = at.div_euclid(DAY_MS);
        if day <= self.day {
            return;
        }
        if at >= Period::Month.end(self.day) {
            self.spent_month = Micros::default();
            self.open.clear();
        }
        self.spent_day = Micros::default();
        self.day = day;
    }

    fn refusal(&self, amount: Micros) -> Option<Refusal> {
        // The month first: it ends last.
        [Period::Month, Period::Day].into_iter().find_map(|period| {
            let usage = self.usage(period);
            let limit = usage.limit?;
            (usage.used().plus(amount) > limit).then(|| Refusal {
                period,
                limit,
                left: limit.minus(usage.used()),
                frees_at: usage.frees_at,
            })
        })
    }

    fn usage(&self, period: Period) -> Usage {
        let (spent, limit) = match period {
            Period::Day => (self.spent_day, self.limits.day),
            Period::Month => (self.spent_month, self.limits.month),
        };
        let counts = |it: &&Reservation| period == Period::Month || it.day == self.day;
        let open = self.open.values().filter(counts);
        Usage {
            spent,
            reserved: open.map(|it| it.amount).sum(),
            limit,
            frees_at: period.end(self.day),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_first(candidate: &u32) -> bool {
    *candidate == 0
}

#[cfg(test)]
mod tests;
