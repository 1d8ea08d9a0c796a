//! What the console knows of the targets of notifications: the fold of their receipts. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

use crate::contract::receipt::{Channel, NotificationOutcome, Receipt};

/// Hours of history of each endpoint.
const HOURS: usize = 24;
const HOUR: i64 = 3_600_000;
/// The most endpoints; the one that was quiet for longest is forgotten first.
const MOST: usize = 10_000;

/// One target: a webhook's URL, an address, a Slack channel, without its secret parts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Endpoint {
    pub channel: &'static str,
    pub target: String,
    pub target_hash: String,
    /// Delivered and not delivered in each of the last 24 hours, the oldest first.
    pub delivered: [u32; HOURS],
    pub undelivered: [u32; HOURS],
    /// Attempts of the notifications in these hours.
    pub attempts: u64,
    pub last: Last,
    /// The hour, since the epoch, of the last place of the arrays.
    #[serde(skip)]
    hour: i64,
}

/// How the newest notification ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Last {
    pub outcome: &'static str,
    pub status: Option<i32>,
    pub error: Option<String>,
    /// Milliseconds since the epoch.
    pub at: i64,
    pub request_id: String,
}

/// All targets, by channel and hash.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<(Channel, String), Endpoint>);

impl Endpoints {
    /// Adds a receipt. Receipts come at least once: a repeat counts again.
    pub(super) fn receipt(&mut self, receipt: &Receipt) {
        let known = self.0.len();
        match self.0.entry((receipt.channel, receipt.target_hash.clone())) {
            Entry::Occupied(mut endpoint) => endpoint.get_mut().take(receipt),
            Entry::Vacant(place) => {
                place.insert(Endpoint::of(receipt)).take(receipt);
                if known >= MOST {
                    self.forget_quietest();
                }
            }
        }
    }

    /// Returns all, as of `now`, those that fail first, then by their newest notification.
    pub(super) fn all(&self, now: i64) -> Vec<Endpoint> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        for endpoint in &mut all {
            endpoint.advance(now.div_euclid(HOUR));
        }
        all.sort_by_key(|endpoint| (!endpoint.is_failing(), std::cmp::Reverse(endpoint.last.at)));
        all
    }

    /// Returns how many endpoints did not take their newest notification.
    pub(super) fn failing(&self) -> usize {
        self.0.values().filter(|it| it.is_failing()).count()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the request of the newest notification to a target, if the target is known.
    pub(super) fn last_request(&self, channel: Channel, hash: &str) -> Option<String> {
        let endpoint = self.0.get(&(channel, hash.to_owned()))?;
        Some(endpoint.last.request_id.clone())
    }

    fn forget_quietest(&mut self) {
        let quietest = self.0.iter().min_by_key(|(_, endpoint)| endpoint.last.at);
        if let Some(key) = quietest.map(|(key, _)| key.clone()) {
            self.0.remove(&key);
        }
    }
}

impl Endpoint {
    fn of(receipt: &Receipt) -> Self {
        Self {
            channel: receipt.channel.as_str(),
            target: receipt.target.clone(),
            target_hash: receipt.target_hash.clone(),
            delivered: [0; HOURS],
            undelivered: [0; HOURS],
            attempts: 0,
            last: Last::of(receipt),
            hour: receipt.ended_at.div_euclid(HOUR),
        }
    }

    fn is_failing(&self) -> bool {
        self.last.outcome == NotificationOutcome::GivenUp.as_str()
    }

    fn take(&mut self, receipt: &Receipt) {
        let hour = receipt.ended_at.div_euclid(HOUR);
        self.advance(hour);
        // Nothing was sent for the other outcomes, so they say nothing of the target.
        let place = usize::try_from(self.hour - hour).ok();
        let place = place.and_then(|back| HOURS.checked_sub(back + 1));
        if let Some(place) = place {
            match receipt.outcome {
                NotificationOutcome::Delivered => self.delivered[place] += 1,
                NotificationOutcome::GivenUp => self.undelivered[place] += 1,
                NotificationOutcome::Expired
                | NotificationOutcome::Skipped
                | NotificationOutcome::Unknown => {}
            }
            self.attempts += u64::try_from(receipt.tries).unwrap_or(0);
        }
        if receipt.ended_at >= self.last.at {
            self.last = Last::of(receipt);
        }
    }

    /// Moves the hours so that the last place is that of `hour`, if it is later.
    fn advance(&mut self, hour: i64) {
        let by = usize::try_from(hour - self.hour).unwrap_or(0).min(HOURS);
        for counts in [&mut self.delivered, &mut self.undelivered] {
            counts.rotate_left(by);
            counts[HOURS - by..].fill(0);
        }
        self.hour = self.hour.max(hour);
    }
}

impl Last {
    fn of(receipt: &Receipt) -> Self {
        Self {
            outcome: receipt.outcome.as_str(),
            status: receipt.status,
            error: receipt.error.as_ref().map(ToString::to_string),
            at: receipt.ended_at,
            request_id: receipt.request_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::receipt::DeliveryError;

    const NOW: i64 = 1_700_000_000_000;

    fn receipt(target: &str, outcome: NotificationOutcome, hours_ago: i64) -> Receipt {
        Receipt {
            receipt_id: "r".to_owned(),
            event_id: "e".to_owned(),
            request_id: "order-7".to_owned(),
            channel: Channel::Webhook,
            target: format!("https://{target}/…"),
            target_hash: target.to_owned(),
            outcome,
            status: Some(503),
            tries: 2,
            first_try_at: 0,
            ended_at: NOW - hours_ago * HOUR,
            error: (outcome == NotificationOutcome::GivenUp)
                .then(|| DeliveryError::new("server_error", "why")),
        }
    }

    #[test]
    fn hours_move_on_and_old_ones_are_dropped() {
        let mut endpoints = Endpoints::default();
        for hours_ago in [30, 23, 1, 1, 0] {
            let delivered = NotificationOutcome::Delivered;
            endpoints.receipt(&receipt("a", delivered, hours_ago));
        }

        let now = endpoints.all(NOW).remove(0).delivered;
        let later = endpoints.all(NOW + 22 * HOUR).remove(0).delivered;

        assert_eq!((now[0], now[22], now[23]), (1, 2, 1));
        assert_eq!((later[0], later[1], later[23]), (2, 1, 0));
        assert_eq!(later.iter().sum::<u32>(), 3);
    }

    #[test]
    fn an_endpoint_fails_while_its_newest_notification_was_given_up() {
        let mut endpoints = Endpoints::default();
        endpoints.receipt(&receipt("good", NotificationOutcome::Delivered, 0));
        endpoints.receipt(&receipt("down", NotificationOutcome::Delivered, 2));
        endpoints.receipt(&receipt("down", NotificationOutcome::GivenUp, 1));
        endpoints.receipt(&receipt("mended", NotificationOutcome::GivenUp, 2));
        endpoints.receipt(&receipt("mended", NotificationOutcome::Delivered, 1));
        // Read late: it says nothing of the present.
        endpoints.receipt(&receipt("mended", NotificationOutcome::GivenUp, 3));

        assert_eq!(endpoints.failing(), 1);
        let first = endpoints.all(NOW).remove(0);
        assert_eq!(first.target_hash, "down");
        assert_eq!(first.last.error.as_deref(), Some("server_error: why"));
    }

    #[test]
    fn the_quietest_endpoint_is_forgotten_first() {
        let mut endpoints = Endpoints::default();
        endpoints.receipt(&receipt("quiet", NotificationOutcome::Delivered, 9));
        for number in 0..MOST {
            let target = number.to_string();
            endpoints.receipt(&receipt(&target, NotificationOutcome::Delivered, 0));
        }

        assert_eq!(endpoints.len(), MOST);
        assert!(
            endpoints
                .all(NOW)
                .iter()
                .all(|it| it.target_hash != "quiet")
        );
    }
}
