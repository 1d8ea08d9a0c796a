//! How much of the notifier one endpoint may take, and when it is not asked at all: limits and circuit breakers.
//!
//! Places are counted by origin (scheme, host, port): a dead host with a URL for each request must not fill the pool.
//! Tries are counted by user too: neither must a user with a host for each request, nor may one fill the line of an
//! origin that others need.
//! Each endpoint has two circuits ([`Circuits`]). What gets no answer counts against the user's origin, what is answered
//! badly against the user's target alone: on a host that tenants share, one tenant's broken or hanging path does not stop
//! the others, nor does a tenant that calls another's target. All in the memory of this process; nothing is lost by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::circuits::Circuits;
use crate::engines::telemetry::events::{CircuitsOpen, TriesInFlight};

/// Tries in flight at one origin, at most (contract, section 7).
pub(super) const MOST: usize = 8;
/// The part of the pool that one origin may take, what waits for a place included.
const PART: usize = 10;
/// The part of the pool that one user may take, at whatever endpoints; [`MOST`] at least.
const USERS_PART: usize = 2;

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Where: what stands before the path of a URL.
    pub(super) origin: String,
    /// Hash of the target.
    pub(super) target: String,
    /// Tries at once that its origin can do with.
    pub(super) most: usize,
    /// Its origin is no tenant's but the operator's, and away for all users alike.
    pub(super) ours: bool,
}

/// Why an endpoint is not asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its circuit is open, for so long.
    Circuit(Duration),
    /// It, or the user, has as many tries in flight as it may.
    Full,
    /// It takes longer of late than a first try may.
    Slow,
}

impl Closed {
    /// Returns for how long it is known to stay so.
    pub(super) fn time(self) -> Duration {
        match self {
            Self::Circuit(time) => time,
            Self::Full | Self::Slow => Duration::ZERO,
        }
    }
}

/// What a try tells of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It answered as it should, or as it pleases.
    Well,
    /// It answered that it cannot.
    Unwell,
    /// It did not answer.
    Silent,
}

/// The endpoints of this process.
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
    /// How many tries each user has, those that wait included.
    users: HashMap<String, usize>,
    in_flight: usize,
}

#[derive(Debug)]
struct Origin {
    places: Arc<Semaphore>,
    /// Tries in flight or waiting for a place, by user.
    line: HashMap<String, usize>,
}

/// A try that is counted as its user's until it is dropped.
#[derive(Debug)]
pub(super) struct Share<'e> {
    endpoints: &'e Endpoints,
    endpoint: Endpoint,
    user: String,
}

/// A place at an endpoint, given back when dropped.
#[derive(Debug)]
pub(super) struct Place<'e> {
    share: &'e Share<'e>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Endpoints {
    /// `pool` is how many tries there may be at once, at all endpoints.
    pub(super) fn new(pool: usize) -> Self {
        let share = (pool / PART).max(1);
        Self {
            most: MOST.min(share),
            share,
            users_share: (pool / USERS_PART).max(MOST),
            known: Mutex::default(),
        }
    }

    /// Counts a try as the user's, unless that has its share or `endpoint` is not asked now; takes no place there.
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
        let count = known.in_flight;
        TriesInFlight { count }.emit();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share<'_> {
    /// Returns a place at the endpoint; waits for one for at most `patience`, if few enough wait.
    pub(super) async fn enter(&self, patience: Duration) -> Result<Place<'_>, Closed> {
        let (mut place, places) = self.line_up(Instant::now())?;
        // Nobody is asked to wait no time at all: a free place is taken at once.
        let permit = match places.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if patience.is_zero() => return Err(Closed::Full),
            Err(_) => match tokio::time::timeout(patience, places.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(Closed::Full),
            },
        };
        // It may have opened meanwhile.
        let mut known = self.endpoints.known();
        let admitted = known.circuits.admit(&self.keys(), Instant::now());
        admitted.map_err(Closed::Circuit)?;
        drop(known);
        place.permit = Some(permit);
        self.endpoints.count(1);
        Ok(place)
    }

    fn line_up(&self, now: Instant) -> Result<(Place<'_>, Arc<Semaphore>), Closed> {
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
        // Those of one user leave room for another's, and use all places where nobody else comes.
        if in_line >= share || ours >= places.max(share / USERS_PART) {
            return Err(Closed::Full);
        }
        origin.line.insert(self.user.clone(), ours + 1);
        let place = Place {
            share: self,
            permit: None,
        };
        Ok((place, origin.places.clone()))
    }

    fn keys(&self) -> [String; 2] {
        keys(&self.endpoint, &self.user)
    }
}

impl Place<'_> {
    /// Notes what the try told, and gives the place back.
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
        CircuitsOpen { count }.emit();
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        give_back(&mut self.endpoints.known().users, &self.user);
    }
}

impl Drop for Place<'_> {
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

/// Counts one try of a user less.
fn give_back(tries: &mut HashMap<String, usize>, user: &str) {
    if let Some(count) = tries.get_mut(user) {
        *count -= 1;
        if *count == 0 {
            tries.remove(user);
        }
    }
}

/// The circuits of a user's endpoint: that of its origin, and that of the target. A target has one for each user: who
/// knows another's URL could close it to its owner by calls that it answers badly.
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
