//! How much of the notifier one endpoint or user may use, and when no attempt is made at all: limits and
//! circuit breakers.
//!
//! Slots are counted by origin (scheme, host, port), so that a dead host with a URL for each request cannot fill the
//! pool. Attempts are also counted by user, so that a user with a host for each request cannot fill the pool either,
//! and by user at each origin, so that one user cannot fill the line of an origin that others need.
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

use super::circuits::Circuits;
use crate::engines::telemetry::events;

/// Most attempts in flight at one origin (contract, section 7).
pub(super) const MOST: usize = 8;
/// One origin may use a tenth of the pool, including attempts that wait for a slot.
const PART: usize = 10;
/// One user may use half of the pool over all endpoints, and at least [`MOST`].
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

/// Slots and circuits of all endpoints, in this process.
#[derive(Debug)]
pub(super) struct Endpoints {
    most: usize,
    share: usize,
    users_share: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    origins: HashMap<String, Origin>,
    circuits: Circuits,
    /// Attempts of each user, including those that wait.
    users: HashMap<String, usize>,
    in_flight: usize,
}

#[derive(Debug)]
struct Origin {
    places: Arc<Semaphore>,
    /// Attempts in flight or waiting for a slot, by user.
    line: HashMap<String, usize>,
}

/// An attempt that counts toward its user's share until it is dropped.
#[derive(Debug)]
pub(super) struct Share<'e> {
    endpoints: &'e Endpoints,
    endpoint: Endpoint,
    user: String,
}

/// A place in an origin's line; with a permit, it is a slot. Both are released when it is dropped.
#[derive(Debug)]
pub(super) struct Slot<'e> {
    share: &'e Share<'e>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Endpoints {
    /// Creates the endpoints; `pool` is the most concurrent attempts at all of them together.
    pub(super) fn new(pool: usize) -> Self {
        let share = (pool / PART).max(1);
        Self {
            most: MOST.min(share),
            share,
            users_share: (pool / USERS_PART).max(MOST),
            known: Mutex::default(),
        }
    }

    /// Counts an attempt toward the user's share, unless that is used up or a circuit of `endpoint` is open.
    /// Takes no slot yet.
    pub(super) fn share(&self, user: &str, endpoint: Endpoint) -> Result<Share<'_>, Closed> {
        let mut known = self.known();
        known
            .circuits
            .check(&keys(&endpoint, user), Instant::now())
            .map_err(Closed::Circuit)?;
        let tries = known.users.entry(user.to_owned()).or_default();
        if *tries >= self.users_share {
            return Err(Closed::Full);
        }
        *tries += 1;
        Ok(Share {
            endpoints: self,
            endpoint,
            user: user.to_owned(),
        })
    }

    fn count(&self, change: isize) {
        let mut known = self.known();
        known.in_flight = known.in_flight.saturating_add_signed(change);
        events::tries_in_flight(known.in_flight);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

impl Share<'_> {
    /// Takes a slot at the endpoint; waits for one for at most `patience`, if the line has room.
    pub(super) async fn enter(&self, patience: Duration) -> Result<Slot<'_>, Closed> {
        let (mut place, places) = self.line_up(Instant::now())?;
        // Take a free slot at once; wait for one only with patience.
        let permit = match places.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if patience.is_zero() => return Err(Closed::Full),
            Err(_) => match tokio::time::timeout(patience, places.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(Closed::Full),
            },
        };
        // A circuit may have opened during the wait.
        let mut known = self.endpoints.known();
        let admitted = known.circuits.admit(&self.keys(), Instant::now());
        admitted.map_err(Closed::Circuit)?;
        drop(known);
        place.permit = Some(permit);
        self.endpoints.count(1);
        Ok(place)
    }

    fn line_up(&self, now: Instant) -> Result<(Slot<'_>, Arc<Semaphore>), Closed> {
        let Endpoints { most, share, .. } = *self.endpoints;
        let mut known = self.endpoints.known();
        let checked = known.circuits.check(&self.keys(), now);
        checked.map_err(Closed::Circuit)?;
        let places = most.min(self.endpoint.most);
        let origin = known
            .origins
            .entry(self.endpoint.origin.clone())
            .or_insert_with(|| Origin {
                places: Arc::new(Semaphore::new(places)),
                line: HashMap::new(),
            });
        let in_line: usize = origin.line.values().sum();
        let ours = origin.line.get(&self.user).copied().unwrap_or(0);
        // One user may fill all slots, or half of the line if that is more; the rest is for other users.
        if in_line >= share || ours >= places.max(share / USERS_PART) {
            return Err(Closed::Full);
        }
        origin.line.insert(self.user.clone(), ours + 1);
        let place = Slot {
            share: self,
            permit: None,
        };
        Ok((place, origin.places.clone()))
    }

    fn keys(&self) -> [String; 2] {
        keys(&self.endpoint, &self.user)
    }
}

impl Slot<'_> {
    /// Records in the circuits what the attempt showed, and releases the slot.
    pub(super) fn seen(self, seen: Seen) {
        let now = Instant::now();
        let mut known = self.share.endpoints.known();
        let [origin, target] = self.share.keys();
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
        drop(known);
        events::circuits_open(count);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        give_back(&mut self.endpoints.known().users, &self.user);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let Share {
            endpoints,
            endpoint,
            user,
        } = self.share;
        let mut known = endpoints.known();
        if let Some(origin) = known.origins.get_mut(&endpoint.origin) {
            give_back(&mut origin.line, user);
            if origin.line.is_empty() {
                known.origins.remove(&endpoint.origin);
            }
        }
        drop(known);
        if self.permit.take().is_some() {
            endpoints.count(-1);
        }
    }
}

/// Subtracts one attempt of a user.
fn give_back(tries: &mut HashMap<String, usize>, user: &str) {
    if let Some(count) = tries.get_mut(user) {
        *count -= 1;
        if *count == 0 {
            tries.remove(user);
        }
    }
}

/// Returns the circuits of a user's endpoint: that of its origin and that of its target. A target has one for each
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
