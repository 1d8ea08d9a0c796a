//! The ledger: every submit and every accepted job, by client id.
//!
//! Tests rely on it: two accepted jobs under one client id are a double charge. It knows no protocol and does no I/O,
//! and forgets nothing until the simulator ends.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use serde_json::{Value, json};

use super::job::{Phase, SimulatedJob};
use crate::domain::time::since_epoch;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Accepted jobs, in the order in which they were accepted.
    jobs: Vec<SimulatedJob>,
    /// Positions in `jobs`.
    by_id: HashMap<String, usize>,
    by_key: BTreeMap<String, ClientSubmits>,
}

/// The submits and jobs of one client id.
#[derive(Debug, Default)]
struct ClientSubmits {
    submits: Vec<Instant>,
    /// Positions in `jobs`.
    jobs: Vec<usize>,
}

impl Ledger {
    /// Records a submit under `key`; returns how many came before it.
    pub(super) fn arrive(&mut self, key: &str) -> usize {
        let entry = self.by_key.entry(key.to_owned()).or_default();
        entry.submits.push(Instant::now());
        entry.submits.len() - 1
    }

    pub(super) fn accept(&mut self, job: SimulatedJob) {
        let position = self.jobs.len();
        let entry = self.by_key.entry(job.key.clone()).or_default();
        entry.jobs.push(position);
        self.by_id.insert(job.id.clone(), position);
        self.jobs.push(job);
    }

    pub(super) fn job(&mut self, id: &str) -> Option<&mut SimulatedJob> {
        self.jobs.get_mut(*self.by_id.get(id)?)
    }

    /// Returns up to `size` jobs of an account among the first `cursor` jobs of all, the newest first, and the cursor for
    /// older ones, if there are any.
    pub(super) fn page(
        &self,
        account: &str,
        cursor: Option<usize>,
        size: usize,
    ) -> (Vec<&SimulatedJob>, Option<usize>) {
        let end = cursor.unwrap_or(usize::MAX).min(self.jobs.len());
        let its_own = self.jobs.iter().take(end).enumerate().rev();
        let mut its_own = its_own.filter(|(_, job)| job.account == account);
        let page = its_own.by_ref().take(size).map(|(_, job)| job).collect();
        (page, its_own.next().map(|(position, _)| position + 1))
    }

    /// Returns the entries of all client ids, or of `key` only, as JSON for tests.
    pub(super) fn entries(&self, key: Option<&str>, now: Instant) -> Value {
        let chosen = self
            .by_key
            .iter()
            .filter(|(name, _)| key.is_none_or(|key| key == *name));
        let entries: Vec<Value> = chosen
            .map(|(name, entry)| {
                let jobs = entry.jobs.iter().map(|position| &self.jobs[*position]);
                let jobs: Vec<Value> = jobs.map(|job| shown(job, now)).collect();
                json!({
                    "key": name,
                    "submits": entry.submits.len(),
                    "pauses_ms": pauses_ms(&entry.submits),
                    "accepted": jobs.len(),
                    "jobs": jobs,
                })
            })
            .collect();
        json!({ "entries": entries })
    }
}

fn shown(job: &SimulatedJob, now: Instant) -> Value {
    json!({
        "id": job.id,
        "account": job.account,
        "model": job.model,
        "input": job.order.input,
        "status": status(job.phase(now)),
        "cancel_requests": job.calls.cancel_requests,
        "reads": job.calls.reads,
        "accepted_at": since_epoch(job.created.0),
        "issues": job.calls.issues,
        "units": job.units(),
        "usage": job.usage(),
        "read_pauses_ms": pauses_ms(&job.calls.read_at),
        "callback": job.callback.as_ref().map(|callback| &callback.url),
        "callbacks": job.calls.callbacks,
    })
}

/// Returns the time between each pair of neighbours.
fn pauses_ms(times: &[Instant]) -> Vec<u128> {
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.map(|pause| pause.as_millis()).collect()
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
        super::{job::Calls, order::Order},
        *,
    };

    fn accepted(ledger: &mut Ledger, id: &str, run_time: Duration) -> Instant {
        let now = Instant::now();
        ledger.arrive(id);
        ledger.accept(SimulatedJob {
            id: id.to_owned(),
            key: id.to_owned(),
            account: id.chars().take(1).collect(),
            model: String::new(),
            order: Order::of("me/mine", json!({"prompt": "a cat"})).unwrap(),
            created: (SystemTime::now(), now),
            run_time,
            calls: Calls::default(),
            callback: None,
        });
        now
    }

    #[test]
    fn pages_run_from_the_newest_to_the_oldest_job_of_an_account() {
        let mut ledger = Ledger::default();
        for id in ["a1", "a2", "b1", "a3", "b2", "a4", "a5"] {
            accepted(&mut ledger, id, Duration::ZERO);
        }
        let read = |cursor| {
            let (jobs, older) = ledger.page("a", cursor, 2);
            let ids: Vec<_> = jobs.iter().map(|job| job.id.as_str()).collect();
            (ids.join(" "), older)
        };

        let (first, older) = read(None);
        assert_eq!(first, "a5 a4");
        let (second, older) = read(older);
        assert_eq!(second, "a3 a2");
        let (third, older) = read(older);
        assert_eq!((third.as_str(), older), ("a1", None));
    }

    #[test]
    fn an_ended_job_cannot_be_canceled() {
        let mut ledger = Ledger::default();
        let now = accepted(&mut ledger, "a", Duration::ZERO);
        let job = ledger.job("a").unwrap();

        assert!(job.cancel(now).is_none());

        assert_eq!(job.phase(now), Phase::Succeeded);
        assert_eq!(job.calls.cancel_requests, 1);
    }

    #[test]
    fn a_job_starts_works_and_ends_as_it_ages() {
        let mut ledger = Ledger::default();
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

        assert!(job.cancel(at(5.0)).is_none());
        assert_eq!(
            (job.phase(at(12.0)), job.percent(at(12.0))),
            (Phase::Canceled, 50)
        );
    }

    #[test]
    fn a_job_may_run_until_a_read() {
        let mut ledger = Ledger::default();
        let now = accepted(&mut ledger, "a", Duration::ZERO);
        let job = ledger.job("a").unwrap();
        job.order.script.done_at_read = Some(2);

        for expected in [Phase::Processing, Phase::Succeeded, Phase::Succeeded] {
            job.read();
            assert_eq!(job.phase(now), expected);
        }
    }
}
