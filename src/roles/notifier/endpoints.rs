//! Limits and circuit breakers: how many attempts an endpoint or a user may have at once, and when an endpoint gets no
//! attempt at all.
//!
//! The limits count attempts by origin (scheme, host, port), because a dead host may get a different URL from each
//! request, and by user, because a user may name a different host in each request (or batch item): neither can fill the
//! pool. At each origin they also count by user, so that one user cannot take all the places of an origin that users
//! share, such as the mail server.
//!
//! Each user has two circuits ([`Circuits`]) for an endpoint; of an origin of the operator, all users share one. An
//! attempt that gets no answer counts against the origin's circuit; a failure answer counts only against the target's.
//! So on a host that tenants share, a broken or hanging path of one tenant does not stop the others, and a tenant who
//! calls another tenant's target cannot stop its notifications. All counts are in the memory of this process; losing
//! them loses no notification.

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
/// An origin may use a tenth of the pool; attempts that wait for their turn count too.
const PART: usize = 10;
/// A user may use half of the pool across all endpoints, and at least [`MOST`] attempts. At one origin, a user may use
/// half of the origin's share, or as many attempts as may be in flight there if that is more; one place is always left
/// for other users, unless the origin has only one.
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
    /// True if the origin is the operator's own: an outage affects all users alike, so they share its circuit.
    pub(super) ours: bool,
}

/// Why no attempt can be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A circuit is open, for this much longer.
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
    /// Whether it already counts toward the limits of its origin.
    in_line: bool,
    /// Set while it is in flight.
    permit: Option<OwnedSemaphorePermit>,
    /// When the circuits admitted it; `None` again once they know its result.
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

    /// Counts an attempt toward the user's limit, unless the limit is reached or a circuit of `endpoint` is open.
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
    /// Waits up to `patience` until the origin may have another attempt in flight, unless too many already wait there.
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

/// Returns the keys of a user's two circuits for an endpoint: the origin's and the target's. Users never share a
/// target's circuit: otherwise a user who knows another user's URL could open it with requests that fail there.
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
