//! Circuit breakers by key. Pure: the caller passes the time.
//!
//! A circuit opens after [`FAILURES`] failures in a row, stays open for [`OPEN_FOR`], and then lets one attempt
//! through. Indexes by time keep each step cheap for any number of circuits, since tenants decide how many there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many failures in a row open a circuit.
const FAILURES: u32 = 5;
/// How long a circuit stays open.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(30);
/// Circuits that were not used for this long are dropped; at [`MANY`] circuits, so are the least recently used ones.
const FORGOTTEN: Duration = Duration::from_secs(600);
const MANY: usize = 10_000;

/// Circuits with a failure and no success since.
#[derive(Debug, Default)]
pub(super) struct Circuits {
    by_key: HashMap<Arc<str>, Circuit>,
    /// Keys by time of last use.
    used: BTreeSet<(Instant, Arc<str>)>,
    /// Keys of open circuits, by the end of their open time.
    open: BTreeSet<(Instant, Arc<str>)>,
}

#[derive(Clone, Copy, Debug)]
struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
    used: Instant,
}

impl Circuits {
    /// Checks that none of these circuits is open.
    ///
    /// # Errors
    /// If one is, the time that is left.
    pub(super) fn check(&self, keys: &[String], now: Instant) -> Result<(), Duration> {
        let circuits = keys.iter().filter_map(|key| self.by_key.get(key.as_str()));
        let open_until = circuits.filter_map(|circuit| circuit.open_until).max();
        match open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) | None => Ok(()),
        }
    }

    /// Lets an attempt through. If a circuit was open, no other attempt passes until its result is known or
    /// [`OPEN_FOR`] is over.
    ///
    /// # Errors
    /// If one of them is open, the time that is left.
    pub(super) fn admit(&mut self, keys: &[String], now: Instant) -> Result<(), Duration> {
        self.check(keys, now)?;
        for key in keys {
            if let Some((key, mut circuit)) = self.take(key) {
                circuit.used = now;
                circuit.open_until = circuit.open_until.map(|_| now + OPEN_FOR);
                self.put(key, circuit);
            }
        }
        Ok(())
    }

    /// Notes that an attempt which was let through at `admitted` ended without a result: the next one may pass.
    pub(super) fn release(&mut self, keys: &[String], admitted: Instant) {
        for key in keys {
            if let Some((key, mut circuit)) = self.take(key) {
                // A later time is that of a failure or of another attempt.
                if circuit.open_until == Some(admitted + OPEN_FOR) {
                    circuit.open_until = Some(admitted);
                }
                self.put(key, circuit);
            }
        }
    }

    pub(super) fn failed(&mut self, key: &str, now: Instant) {
        let new = || {
            let circuit = Circuit {
                failures: 0,
                open_until: None,
                used: now,
            };
            (key.into(), circuit)
        };
        let (key, mut circuit) = self.take(key).unwrap_or_else(new);
        self.forget(now);
        circuit.used = now;
        circuit.failures += 1;
        if circuit.failures >= FAILURES {
            circuit.open_until = Some(now + OPEN_FOR);
        }
        self.put(key, circuit);
    }

    pub(super) fn succeeded(&mut self, key: &str) {
        self.take(key);
    }

    pub(super) fn open(&mut self, now: Instant) -> usize {
        while self.open.first().is_some_and(|(until, _)| *until <= now) {
            self.open.pop_first();
        }
        self.open.len()
    }

    /// Drops unused circuits, to make room for one more.
    fn forget(&mut self, now: Instant) {
        while let Some((used, key)) = self.used.first()
            && (self.by_key.len() >= MANY || now.saturating_duration_since(*used) >= FORGOTTEN)
        {
            let key = key.clone();
            self.take(&key);
        }
    }

    fn take(&mut self, key: &str) -> Option<(Arc<str>, Circuit)> {
        let (key, circuit) = self.by_key.remove_entry(key)?;
        self.used.remove(&(circuit.used, key.clone()));
        if let Some(until) = circuit.open_until {
            self.open.remove(&(until, key.clone()));
        }
        Some((key, circuit))
    }

    fn put(&mut self, key: Arc<str>, circuit: Circuit) {
        self.used.insert((circuit.used, key.clone()));
        if let Some(until) = circuit.open_until {
            self.open.insert((until, key.clone()));
        }
        self.by_key.insert(key, circuit);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Ends the open time of every circuit.
    #[cfg(test)]
    pub(super) fn age(&mut self) {
        for key in self.by_key.keys().cloned().collect::<Vec<_>>() {
            let (key, mut circuit) = self.take(&key).unwrap();
            circuit.open_until = circuit.open_until.map(|until| until - OPEN_FOR);
            self.put(key, circuit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(circuits: &mut Circuits, key: &str, now: Instant) {
        for _ in 0..FAILURES {
            circuits.failed(key, now);
        }
    }

    #[test]
    fn circuits_that_are_not_used_are_forgotten() {
        let (mut circuits, now) = (Circuits::default(), Instant::now());
        circuits.failed("early", now);
        circuits.failed("late", now + FORGOTTEN / 2);

        circuits.failed("new", now + FORGOTTEN);

        let keys: Vec<_> = circuits.used.iter().map(|(_, key)| &**key).collect();
        assert_eq!(keys, ["late", "new"]);
        assert_eq!(circuits.len(), 2);
    }

    #[test]
    fn at_the_limit_the_least_recently_used_circuits_are_dropped_first() {
        let (mut circuits, now) = (Circuits::default(), Instant::now());
        let second = |n: usize| now + Duration::from_millis(n as u64);
        opened(&mut circuits, "first", now);
        for n in 0..MANY - 1 {
            opened(&mut circuits, &n.to_string(), second(n + 1));
        }
        assert_eq!(circuits.open(now), MANY);

        opened(&mut circuits, "last", second(MANY));

        let of = |key: &str| circuits.check(&[key.to_owned()], second(MANY));
        assert_eq!(of("first"), Ok(()), "it is dropped");
        assert!(of("0").is_err() && of("last").is_err());
        assert_eq!((circuits.len(), circuits.used.len()), (MANY, MANY));
        assert_eq!(circuits.open.len(), MANY);
    }

    #[test]
    fn only_what_is_open_now_counts_as_open() {
        let (mut circuits, now) = (Circuits::default(), Instant::now());
        opened(&mut circuits, "a", now);
        opened(&mut circuits, "b", now + OPEN_FOR / 2);
        circuits.failed("c", now);

        assert_eq!(circuits.open(now), 2);
        assert_eq!(circuits.open(now + OPEN_FOR), 1);
        circuits.succeeded("b");
        assert_eq!(circuits.open(now), 0);
        // `a` lets one attempt through, and one more failure opens it again.
        let later = now + OPEN_FOR;
        circuits.admit(&["a".to_owned()], later).unwrap();
        assert_eq!(circuits.open(later), 1, "one probe at a time");
        circuits.failed("a", later);
        assert_eq!(circuits.open(later + OPEN_FOR / 2), 1);
    }
}
