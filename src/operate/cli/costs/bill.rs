//! The sums: each completed run once, in bounded memory. Pure.
//!
//! A record may be repeated at any time, with the same event id (contract, rule 11). All records of a run are in one
//! partition, and partitions are read one after the other, so the ids of one partition are kept at a time. Each event
//! id is one paid run: a retry, or a later run with a reused request id, has its own.

use std::collections::{BTreeMap, HashSet};

use crate::domain::{CostSource, Event, Generated};

/// Limit on the runs of a partition of which repeats are recognized: about 100 MB.
const MOST_RUNS: usize = 4_000_000;
/// Limit on the groups.
const MOST_NAMES: usize = 100_000;
/// The name for runs beyond that.
const OTHERS: &str = "(others)";

/// The line under a report that is not exact.
pub(super) const NOT_EXACT: &str =
    "not exact: there are too many runs or names to keep; choose a shorter period";

/// What runs cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) runs: u64,
    /// US dollars, of the runs that have a price.
    pub(super) usd: f64,
    /// The part of it that is estimated.
    pub(super) estimated_usd: f64,
    /// Runs without a price.
    pub(super) unpriced: u64,
}

impl Sum {
    fn add(&mut self, result: &Generated) {
        self.runs += 1;
        match result.cost_usd {
            None => self.unpriced += 1,
            Some(usd) => {
                self.usd += usd;
                if result.cost_source == Some(CostSource::Estimate) {
                    self.estimated_usd += usd;
                }
            }
        }
    }

    /// Returns the dollars, rounded to a millionth.
    pub(super) fn usd(&self) -> f64 {
        rounded(self.usd)
    }

    /// Returns the estimated part, rounded to a millionth.
    pub(super) fn estimated_usd(&self) -> f64 {
        rounded(self.estimated_usd)
    }
}

fn rounded(usd: f64) -> f64 {
    (usd * 1e6).round() / 1e6
}

/// The sums of the runs that were read.
#[derive(Debug, Default)]
pub(super) struct Bill {
    sums: BTreeMap<String, Sum>,
    total: Sum,
    oldest: Option<i64>,
    /// The partition that is being read, and the runs in it.
    partition: i32,
    runs: HashSet<u64>,
    is_inexact: bool,
}

impl Bill {
    /// Adds a run, unless it is a repeat.
    pub(super) fn add(&mut self, partition: i32, event: &Event, name: String, result: &Generated) {
        if self.partition != partition {
            self.partition = partition;
            self.runs.clear();
        }
        let id = short(&event.event_id);
        if self.runs.contains(&id) {
            return;
        }
        match self.runs.len() < MOST_RUNS {
            true => drop(self.runs.insert(id)),
            false => self.is_inexact = true,
        }
        let name = match self.sums.len() < MOST_NAMES || self.sums.contains_key(&name) {
            true => name,
            false => {
                self.is_inexact = true;
                OTHERS.to_owned()
            }
        };
        self.sums.entry(name).or_default().add(result);
        self.total.add(result);
        let oldest = self.oldest.unwrap_or(event.occurred_at);
        self.oldest = Some(oldest.min(event.occurred_at));
    }

    pub(super) fn sums(&self) -> impl Iterator<Item = (&str, Sum)> {
        self.sums.iter().map(|(name, sum)| (name.as_str(), *sum))
    }

    pub(super) fn total(&self) -> Sum {
        self.total
    }

    /// Returns when the oldest run ended, in milliseconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.oldest
    }

    pub(super) fn is_exact(&self) -> bool {
        !self.is_inexact
    }
}

/// Shortens an event id, which is a hash. Two of a few million ids are equal with a chance below one in a million.
fn short(event_id: &str) -> u64 {
    match uuid::Uuid::parse_str(event_id) {
        Ok(id) => id.as_u64_pair().1,
        // No build of genflow writes such an id.
        Err(_) => event_id.bytes().fold(0, |hash: u64, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        }),
    }
}
