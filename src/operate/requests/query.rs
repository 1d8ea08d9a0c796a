//! Selects rows and counts them: the list, its facets, and the numbers above it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Key, Requests, Row, State};
use crate::domain::time::rfc3339;
use crate::domain::{ErrorCode, Kind};

/// Which requests to list; an absent condition matches all.
#[derive(Clone, Debug, Default)]
pub(in crate::operate) struct Filter {
    /// One of these states; empty: all.
    pub states: Vec<State>,
    pub kind: Option<Kind>,
    pub user: Option<String>,
    pub model: Option<String>,
    pub code: Option<ErrorCode>,
    /// Items of this batch.
    pub batch: Option<String>,
    /// Part of the request id or the user, in any case.
    pub text: Option<String>,
    /// Created at this time or later; this and the next one in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Created before this time.
    pub until: Option<i64>,
}

/// A page of the list, the newest first, and the counts of all that match.
#[derive(Debug)]
pub(in crate::operate) struct Found<'r> {
    pub rows: Vec<&'r Row>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Key>,
    pub total: usize,
    /// How many match in each state, whatever states the filter has.
    pub states: BTreeMap<&'static str, usize>,
    /// The same by error code.
    pub codes: BTreeMap<&'static str, usize>,
}

/// The numbers of the strip.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(in crate::operate) struct Numbers {
    /// Requests that have not ended, and how many of them are videos, images and batches.
    pub running: usize,
    pub running_by_kind: BTreeMap<&'static str, usize>,
    /// Requests whose workflow runs but whose provider has reported nothing.
    pub started: usize,
    pub oldest: Option<Oldest>,
    pub completed: usize,
    pub failed: usize,
    /// The last hour's failures and refusals by code.
    pub codes: BTreeMap<&'static str, usize>,
    pub rejected: usize,
    pub cancelled: usize,
    /// Since midnight UTC, in US dollars, of the jobs whose cost is known.
    pub spent_today_usd: f64,
    /// How many completed since midnight UTC without a known cost.
    pub unpriced_today: usize,
    /// Since `month_from`, like the two above: since the first of the month, or since all that has ended is known.
    pub spent_month_usd: f64,
    pub unpriced_month: usize,
    pub month_from: i64,
    /// Completed and failed in each of the last 60 minutes, the oldest first.
    pub completed_by_minute: Vec<usize>,
    pub failed_by_minute: Vec<usize>,
}

/// The open request that began first.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::operate) struct Oldest {
    pub id: String,
    pub created: i64,
    pub percent: i32,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Filter {
    /// Returns whether a row meets all conditions but that of the state.
    fn takes(&self, row: &Row) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == value
        };
        self.kind.is_none_or(|kind| kind == row.kind)
            && is(&self.user, Some(&row.user))
            && is(&self.model, row.model.as_deref())
            && is(&self.batch, row.batch.as_deref())
            && self.code.is_none_or(|code| Some(code) == row.code)
            && self.since.is_none_or(|since| row.created >= since)
            && self.until.is_none_or(|until| row.created < until)
            && self
                .text
                .as_deref()
                .is_none_or(|text| contains(&row.id, text) || contains(&row.user, text))
    }
}

/// Returns when the month of a time began, in UTC.
fn month(now: i64) -> i64 {
    let date = rfc3339(now);
    let day = date.get(8..10).and_then(|day| day.parse().ok());
    (now.div_euclid(DAY) - day.unwrap_or(1) + 1) * DAY
}

/// Returns whether `text` contains `part`, which is in lower case, in any case of ASCII letters.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty()
        || text
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
}

impl Requests {
    /// Returns the rows that match from `cursor` on, without the first `offset` of them, at most `limit`.
    pub(in crate::operate) fn find(
        &self,
        filter: &Filter,
        cursor: Option<Key>,
        offset: usize,
        limit: usize,
    ) -> Found<'_> {
        let mut skipped = 0;
        let mut found = Found {
            rows: Vec::new(),
            next: None,
            total: 0,
            states: State::ALL.map(|state| (state.as_str(), 0)).into(),
            codes: BTreeMap::new(),
        };
        for (key, row) in self.rows.iter().rev() {
            if !filter.takes(row) {
                continue;
            }
            *found.states.entry(row.state.as_str()).or_default() += 1;
            if !filter.states.is_empty() && !filter.states.contains(&row.state) {
                continue;
            }
            found.total += 1;
            if let Some(code) = row.code {
                *found.codes.entry(code.as_str()).or_default() += 1;
            }
            if cursor.is_some_and(|cursor| *key > cursor) {
                continue;
            }
            if skipped < offset {
                skipped += 1;
            } else if found.rows.len() < limit {
                found.rows.push(row);
            } else if found.next.is_none() {
                found.next = Some(*key);
            }
        }
        found
    }

    /// Returns what requests of these kinds usually cost together, in US dollars: for each kind, the median of what is known.
    /// `None` if nothing is known of one of them.
    pub(in crate::operate) fn usual_cost(&self, kinds: &[Kind]) -> Option<f64> {
        let median = |kind| {
            let rows = self.rows.values().filter(|row| row.kind == kind);
            let mut costs: Vec<_> = rows.filter_map(|row| row.cost_usd).collect();
            let middle = costs.len() / 2;
            (!costs.is_empty()).then(|| *costs.select_nth_unstable_by(middle, f64::total_cmp).1)
        };
        [Kind::Video, Kind::Image, Kind::Batch]
            .into_iter()
            .map(|kind| (kind, kinds.iter().filter(|it| **it == kind).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| Some(median(kind)? * count as f64))
            .sum()
    }

    /// Returns how many runs are open, or have ended at this time or later.
    pub(in crate::operate) fn runs_since(&self, ended: i64) -> usize {
        let rows = self.rows.values();
        rows.filter(|row| row.ended.is_none_or(|at| at >= ended))
            .count()
    }

    /// Returns the numbers of the strip at `now`; requests are known since `since`. Both are in milliseconds since the epoch.
    pub(in crate::operate) fn numbers(&self, now: i64, since: i64) -> Numbers {
        let mut numbers = Numbers {
            completed_by_minute: vec![0; 60],
            failed_by_minute: vec![0; 60],
            month_from: month(now).max(since).max(self.forgotten_ended + 1),
            ..Numbers::default()
        };
        let midnight = now.div_euclid(DAY) * DAY;
        for row in self.rows.values() {
            match row.ended {
                None => numbers.open(row),
                Some(ended) => {
                    numbers.ended(row, now - ended);
                    if row.state == State::Completed && row.kind != Kind::Batch {
                        numbers.paid(row.cost_usd, ended, midnight);
                    }
                }
            }
        }
        numbers
    }
}

impl Numbers {
    fn open(&mut self, row: &Row) {
        self.running += 1;
        *self.running_by_kind.entry(row.kind.as_str()).or_default() += 1;
        if row.state == State::Started {
            self.started += 1;
        }
        // Rows come in the order of their creation.
        if self.oldest.is_none() {
            self.oldest = Some(Oldest {
                id: row.id.to_string(),
                created: row.created,
                percent: row.percent,
            });
        }
    }

    /// Adds what a job cost that ended at this time.
    fn paid(&mut self, cost_usd: Option<f64>, ended: i64, midnight: i64) {
        let (usd, unpriced) = match cost_usd {
            Some(cost) => (cost, 0),
            None => (0.0, 1),
        };
        if ended >= midnight {
            self.spent_today_usd += usd;
            self.unpriced_today += unpriced;
        }
        if ended >= self.month_from {
            self.spent_month_usd += usd;
            self.unpriced_month += unpriced;
        }
    }

    /// Counts a row that ended this many milliseconds ago.
    fn ended(&mut self, row: &Row, ago: i64) {
        if ago >= HOUR {
            return;
        }
        let minute = 59 - usize::try_from(ago / MINUTE).unwrap_or(0).min(59);
        match row.state {
            State::Completed => {
                self.completed += 1;
                self.completed_by_minute[minute] += 1;
            }
            State::Failed => {
                self.failed += 1;
                self.failed_by_minute[minute] += 1;
            }
            State::Cancelled => self.cancelled += 1,
            State::Rejected => self.rejected += 1,
            State::Started | State::Generating => {}
        }
        if let Some(code) = row.code {
            *self.codes.entry(code.as_str()).or_default() += 1;
        }
    }
}
