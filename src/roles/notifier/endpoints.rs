//! How many attempts one endpoint or user may have at once, and when no attempt is made at all: limits and circuit
//! breakers.
//!
//! Attempts are counted by origin (scheme, host, port), so that a dead host with a URL for each request cannot fill the
//! pool, and by user, so that a user with a host for each request (such as the items of a batch) cannot fill it either.
//! At each origin they are counted by user too, so that one user cannot fill the line of an origin that users share,
//! such as the mail server.
//!
//! Each endpoint has two circuits ([`Circuits`]). An attempt without an answer counts against the user's origin; a
//! failure answer counts only against the user's target. So on a host that tenants share, one tenant's broken or
//! hanging path does not stop the others, and neither does a tenant that calls another's target. All counts are in the
//! memory of this process; losing them loses no notification.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::circuits::Circuits;
use crate::engines::telemetry::events;

/// Most attempts in flight at one origin (contract, section 7).
pub(super) const MOST: usize = 8;
/// One origin may use a tenth of the pool, including attempts that wait for their turn.
const PART: usize = 10;
/// One user may use half of the pool over all endpoints, and at least [`MOST`]. At one origin, a user may use half of
/// its part of the pool, or as many attempts as may be in flight there if that is more, but leaves one to other users.
const USERS_PART: usize = 2;

/// Where an attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Scheme, host and port of a URL; `mail` for the mail server.
    pub(super) origin: String,
    /// Hash of the target.
    pub(super) target: String,
    /// Most concurrent attempts that its origin supports.
    pub(super) most: usize,
    /// Its origin is the operator's, so an outage affects all users alike.
    pub(super) ours: bool,
}

/// Why no attempt can be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its circuit is open for this long.
    Circuit(Duration),
    /// The endpoint or the user already has as many attempts in flight as allowed.
    Full,
    /// Its last attempt took longer than a first attempt may.
    Slow,
}

impl Closed {
    /// Returns how long the endpoint is known to stay closed.
    pub(super) fn time(self) -> Duration {
        match self {
            Self::Circuit(time) => time,
            Self::Full | Self::Slow => Duration::ZERO,
        }
    }
}

/// What an attempt shows about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It accepted the notification or refused it for good.
    Well,
    /// It answered that it cannot accept the notification now.
    Unwell,
    /// It did not answer.
    Silent,
}

/// Attempts and circuits of all endpoints, in this process.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// Most concurrent attempts at all endpoints together.
    pool: usize,
    known: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    origins: HashMap<String, Origin>,
    circuits: Circuits,
    /// Number of attempts of each user, including those that wait.
    users: HashMap<String, usize>,
    in_flight: usize,
}

#[derive(Debug)]
struct Origin {
    in_flight: Arc<Semaphore>,
    /// Number of attempts of each user, including those that wait.
    line: HashMap<String, usize>,
}

/// An attempt at an endpoint, which counts toward the limits until it is dropped.
#[derive(Debug)]
pub(super) struct Entry<'e> {
    endpoints: &'e Endpoints,
    endpoint: Endpoint,
    user: String,
    /// Whether it counts at its origin.
    in_line: bool,
    /// Set while it is in flight.
    permit: Option<OwnedSemaphorePermit>,
    /// When the circuits let it through, until its result is known.
    admitted: Option<Instant>,
}

impl Endpoints {
    /// `pool` is the most concurrent attempts at all endpoints together.
    pub(super) fn new(pool: usize) -> Self {
        Self {
            pool,
            known: Mutex::default(),
        }
    }

    /// Counts an attempt toward the user's limit, unless that is reached or a circuit of `endpoint` is open.
    pub(super) fn enter(&self, user: &str, endpoint: Endpoint) -> Result<Entry<'_>, Closed> {
        let mut known = self.known();
        let checked = known.circuits.check(&keys(&endpoint, user), Instant::now());
        checked.map_err(Closed::Circuit)?;
        let attempts = known.users.entry(user.to_owned()).or_default();
        if *attempts >= (self.pool / USERS_PART).max(MOST) {
            return Err(Closed::Full);
        }
        *attempts += 1;
        Ok(Entry {
            endpoints: self,
            endpoint,
            user: user.to_owned(),
            in_line: false,
            permit: None,
            admitted: None,
        })
    }

    fn count(&self, change: isize) {
        let mut known = self.known();
        known.in_flight = known.in_flight.saturating_add_signed(change);
        events::tries_in_flight(known.in_flight);
    }

    fn known(&self) -> MutexGuard<'_, Counts> {
        self.known.lock()
    }
}

impl Entry<'_> {
    /// Waits for at most `patience` until the origin may have another attempt in flight, if not too many wait already.
    pub(super) async fn turn(&mut self, patience: Duration) -> Result<(), Closed> {
        let in_flight = self.line_up()?;
        // A free slot is taken even without patience.
        let Ok(Ok(permit)) = timeout(patience, in_flight.acquire_owned()).await else {
            return Err(Closed::Full);
        };
        // A circuit may have opened during the wait.
        let now = Instant::now();
        let mut known = self.endpoints.known();
        let admitted = known.circuits.admit(&self.keys(), now);
        admitted.map_err(Closed::Circuit)?;
        drop(known);
        self.admitted = Some(now);
        self.permit = Some(permit);
        self.endpoints.count(1);
        Ok(())
    }

    fn line_up(&mut self) -> Result<Arc<Semaphore>, Closed> {
        let share = (self.endpoints.pool / PART).max(1);
        let places = MOST.min(share).min(self.endpoint.most);
        let mut known = self.endpoints.known();
        let checked = known.circuits.check(&self.keys(), Instant::now());
        checked.map_err(Closed::Circuit)?;
        let origin = known.origins.entry(self.endpoint.origin.clone());
        let origin = origin.or_insert_with(|| Origin {
            in_flight: Arc::new(Semaphore::new(places)),
            line: HashMap::new(),
        });
        let attempts: usize = origin.line.values().sum();
        let of_user = origin.line.get(&self.user).copied().unwrap_or(0);
        let users_share = places.max(share / USERS_PART).min(share - 1).max(1);
        if attempts >= share || of_user >= users_share {
            return Err(Closed::Full);
        }
        origin.line.insert(self.user.clone(), of_user + 1);
        self.in_line = true;
        Ok(origin.in_flight.clone())
    }

    /// Records in the circuits what the attempt showed, and ends it.
    pub(super) fn seen(mut self, seen: Seen) {
        self.admitted = None;
        let now = Instant::now();
        let mut known = self.endpoints.known();
        let [origin, target] = self.keys();
        let (origin_failed, target_failed) = match seen {
            Seen::Well => (Some(false), Some(false)),
            Seen::Unwell => (Some(false), Some(true)),
            Seen::Silent => (Some(true), None),
        };
        for (key, failed) in [(origin, origin_failed), (target, target_failed)] {
            match failed {
                Some(true) => known.circuits.failed(&key, now),
                Some(false) => known.circuits.succeeded(&key),
                None => {}
            }
        }
        let count = known.circuits.open(now);
        events::circuits_open(count);
    }

    fn keys(&self) -> [String; 2] {
        keys(&self.endpoint, &self.user)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let keys = self.keys();
        let mut known = self.endpoints.known();
        if let Some(admitted) = self.admitted {
            known.circuits.release(&keys, admitted);
        }
        remove_one(&mut known.users, &self.user);
        if self.in_line
            && let Some(origin) = known.origins.get_mut(&self.endpoint.origin)
        {
            remove_one(&mut origin.line, &self.user);
            if origin.line.is_empty() {
                known.origins.remove(&self.endpoint.origin);
            }
        }
        drop(known);
        if self.permit.take().is_some() {
            self.endpoints.count(-1);
        }
    }
}

/// Subtracts one attempt of a user.
fn remove_one(attempts: &mut HashMap<String, usize>, user: &str) {
    if let Some(count) = attempts.get_mut(user) {
        *count -= 1;
        if *count == 0 {
            attempts.remove(user);
        }
    }
}

/// Returns the keys of the circuits of a user's endpoint: its origin's and its target's. A target has one for each
/// user: otherwise a user who knows another's URL could open its circuit by sending requests that fail there.
fn keys(endpoint: &Endpoint, user: &str) -> [String; 2] {
    let Endpoint { origin, target, .. } = endpoint;
    let whose = if endpoint.ours { "" } else { user };
    [
        format!("origin {origin} {whose}"),
        format!("target {target} {user}"),
    ]
}

#[cfg(test)]
mod tests;
