//! The ledger: every submit and every accepted job, by client id.
//!
//! Tests rely on it: two accepted jobs under one client id are a double charge. It knows no protocol and does no I/O.
//! It is bounded: above its limit it forgets the oldest ended jobs, and the oldest client ids.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Instant,
};

use serde_json::{Value, json};

use super::job::{Job, Phase};
use crate::domain::time::since_epoch;

/// How many of the oldest jobs are searched for an ended one to forget. If none has ended, the oldest is forgotten.
const SEARCHED: usize = 1000;

/// All submits and accepted jobs.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Accepted jobs in the order of their submits.
    jobs: BTreeMap<u64, Job>,
    by_id: HashMap<String, u64>,
    by_key: BTreeMap<String, Entry>,
    /// Client ids in the order of their first submits.
    keys: VecDeque<String>,
    next: u64,
    limit: usize,
}

/// The submits and jobs of one client id.
#[derive(Debug, Default)]
struct Entry {
    /// Time of each submit.
    submits: Vec<Instant>,
    accepted: usize,
    jobs: BTreeSet<u64>,
}

/// Returns the time between each pair of neighbours.
fn pauses_ms(times: &[Instant]) -> Vec<u128> {
    let pairs = times.iter().zip(times.iter().skip(1));
    pairs
        .map(|(one, next)| next.duration_since(*one).as_millis())
        .collect()
}

/// Some jobs, newest first, and the cursors of the pages on either side.
pub(super) struct Page<'a> {
    pub(super) jobs: Vec<&'a Job>,
    /// The page of older jobs, if there are any.
    pub(super) older: Option<u64>,
    /// The page of newer jobs, if there are any; the inner `None` is the first page.
    pub(super) newer: Option<Option<u64>>,
}

impl Ledger {
    /// Returns a ledger that remembers `limit` jobs and `limit` client ids.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            jobs: BTreeMap::new(),
            by_id: HashMap::new(),
            by_key: BTreeMap::new(),
            keys: VecDeque::new(),
            next: 0,
            limit,
        }
    }

    /// Records a submit under `key`; returns how many came before it.
    pub(super) fn arrive(&mut self, key: &str) -> usize {
        let entry = self.entry(key);
        entry.submits.push(Instant::now());
        entry.submits.len() - 1
    }

    /// Records an accepted job.
    pub(super) fn accept(&mut self, job: Job) {
        let (number, now) = (self.next, job.created.1);
        self.next += 1;
        let entry = self.entry(&job.key);
        entry.accepted += 1;
        entry.jobs.insert(number);
        self.by_id.insert(job.id.clone(), number);
        self.jobs.insert(number, job);
        if self.jobs.len() > self.limit {
            self.forget_one(now);
        }
    }

    /// Returns the job with this id.
    pub(super) fn job(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.get_mut(self.by_id.get(id)?)
    }

    /// Returns up to `size` jobs that are older than `cursor`.
    pub(super) fn page(&self, cursor: Option<u64>, size: usize) -> Page<'_> {
        let end = cursor.unwrap_or(u64::MAX);
        let mut numbered: Vec<_> = self.jobs.range(..end).rev().take(size + 1).collect();
        let more = numbered.len() > size;
        numbered.truncate(size);
        let older = numbered.last().filter(|_| more).map(|&(&number, _)| number);
        let newer = self
            .jobs
            .range(end..)
            .next()
            .map(|_| self.jobs.range(end..).nth(size).map(|(&number, _)| number));
        Page {
            jobs: numbered.into_iter().map(|(_, job)| job).collect(),
            older,
            newer,
        }
    }

    /// Returns the entries of all client ids, or of `key` only, as JSON for tests.
    pub(super) fn entries(&self, key: Option<&str>, now: Instant) -> Value {
        let chosen = self
            .by_key
            .iter()
            .filter(|(name, _)| key.is_none_or(|key| key == *name));
        let entries: Vec<Value> = chosen
            .map(|(name, entry)| {
                let jobs: Vec<Value> = entry
                    .jobs
                    .iter()
                    .filter_map(|number| self.jobs.get(number))
                    .map(|job| {
                        json!({
                            "id": job.id,
                            "status": status(job.phase(now)),
                            "cancel_requests": job.progress.cancel_requests,
                            "reads": job.progress.reads,
                            "accepted_at": since_epoch(job.created.0),
                            "issues": job.progress.issues,
                            "read_pauses_ms": pauses_ms(&job.progress.read_at),
                            "kind": job.order.media.kind(),
                        })
                    })
                    .collect();
                json!({
                    "key": name,
                    "submits": entry.submits.len(),
                    "pauses_ms": pauses_ms(&entry.submits),
                    "accepted": entry.accepted,
                    "jobs": jobs,
                })
            })
            .collect();
        json!({ "entries": entries })
    }

    fn entry(&mut self, key: &str) -> &mut Entry {
        if !self.by_key.contains_key(key) {
            self.keys.push_back(key.to_owned());
            if self.keys.len() > self.limit {
                self.keys
                    .pop_front()
                    .and_then(|oldest| self.by_key.remove(&oldest));
            }
        }
        self.by_key.entry(key.to_owned()).or_default()
    }

    fn forget_one(&mut self, now: Instant) {
        let ended = self
            .jobs
            .iter()
            .take(SEARCHED)
            .find(|(_, job)| job.phase(now).ended());
        let Some(number) = ended
            .or(self.jobs.first_key_value())
            .map(|(&number, _)| number)
        else {
            return;
        };
        if let Some(job) = self.jobs.remove(&number) {
            self.by_id.remove(&job.id);
            if let Some(entry) = self.by_key.get_mut(&job.key) {
                entry.jobs.remove(&number);
            }
        }
    }
}

/// Returns the word for `phase`.
pub(super) fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Processing => "processing",
        Phase::Succeeded => "succeeded",
        Phase::Failed => "failed",
        Phase::Canceled => "canceled",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{
        super::{job::Progress, order::Order},
        *,
    };

    fn accepted(ledger: &mut Ledger, id: &str, run_time: Duration) -> Instant {
        let now = Instant::now();
        ledger.arrive(id);
        ledger.accept(Job {
            id: id.to_owned(),
            key: id.to_owned(),
            model: String::new(),
            version: String::new(),
            order: Order::of("me/mine", json!({"prompt": "a cat"})).unwrap(),
            created: (SystemTime::now(), now),
            run_time,
            progress: Progress::default(),
        });
        now
    }

    #[test]
    fn a_full_ledger_forgets_the_oldest_ended_job_first() {
        let mut ledger = Ledger::new(2);

        accepted(&mut ledger, "running", Duration::MAX);
        accepted(&mut ledger, "ended", Duration::ZERO);
        accepted(&mut ledger, "new", Duration::MAX);

        assert!(ledger.job("running").is_some());
        assert!(ledger.job("ended").is_none());
        assert!(ledger.job("new").is_some());
    }

    #[test]
    fn a_full_ledger_forgets_the_oldest_job_when_none_has_ended() {
        let mut ledger = Ledger::new(2);

        for id in ["a", "b", "c"] {
            accepted(&mut ledger, id, Duration::MAX);
        }

        assert!(ledger.job("a").is_none());
        assert_eq!(ledger.keys.len(), 2);
        assert_eq!(ledger.by_key.len(), 2);
        assert_eq!(ledger.by_id.len(), 2);
    }

    #[test]
    fn pages_run_from_the_newest_to_the_oldest_and_back() {
        let mut ledger = Ledger::new(10);
        for id in ["a", "b", "c", "d", "e"] {
            accepted(&mut ledger, id, Duration::ZERO);
        }
        let read = |cursor| {
            let page = ledger.page(cursor, 2);
            let ids: String = page.jobs.iter().map(|job| job.id.as_str()).collect();
            (ids, page.older, page.newer)
        };

        let (first, older, newer) = read(None);
        assert_eq!((first.as_str(), newer), ("ed", None));
        let (second, older, newer) = read(older);
        assert_eq!((second.as_str(), newer), ("cb", Some(None)));
        let (third, older, newer) = read(older);
        assert_eq!((third.as_str(), older), ("a", None));
        assert_eq!(read(newer.unwrap()).0, "cb");
    }

    #[test]
    fn an_ended_job_cannot_be_canceled() {
        let mut ledger = Ledger::new(1);
        let now = accepted(&mut ledger, "a", Duration::ZERO);
        let job = ledger.job("a").unwrap();

        assert!(job.cancel(now).is_none());

        assert_eq!(job.phase(now), Phase::Succeeded);
        assert_eq!(job.progress.cancel_requests, 1);
    }

    #[test]
    fn a_job_starts_works_and_ends_as_it_ages() {
        let mut ledger = Ledger::new(1);
        let now = accepted(&mut ledger, "a", Duration::from_secs(10));
        let job = ledger.job("a").unwrap();
        let at = |seconds| now + Duration::from_secs_f64(seconds);

        assert_eq!(
            (job.phase(at(0.1)), job.percent(at(0.1))),
            (Phase::Starting, 0)
        );
        assert_eq!(
            (job.phase(at(4.5)), job.percent(at(4.5))),
            (Phase::Processing, 45)
        );
        assert_eq!(
            (job.phase(at(10.0)), job.percent(at(10.0))),
            (Phase::Succeeded, 100)
        );
        assert_eq!(job.end_time(at(12.0)), Some(Duration::from_secs(10)));

        assert!(job.cancel(at(5.0)).is_none());
        assert_eq!(
            (job.phase(at(12.0)), job.percent(at(12.0))),
            (Phase::Canceled, 50)
        );
        assert_eq!(job.end_time(at(12.0)), Some(Duration::from_secs(5)));
    }
}
