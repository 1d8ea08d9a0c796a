//! How many mails go to one address and for one user: token buckets in the memory of this process.
//!
//! Tenants name the addresses, and the mails come from the operator's domain: a tenant must not flood a mailbox that is not
//! its own. Operators' own mails are not counted.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::MailLimits;

/// The buckets of addresses and of users, where they are limited.
pub(super) struct Limits {
    addresses: Option<Buckets>,
    users: Option<Buckets>,
}

struct Buckets(DefaultKeyedRateLimiter<String>);

/// Buckets that are full again are forgotten when there are more than this.
const MOST_BUCKETS: usize = 10_000;

impl Limits {
    pub(super) fn new(settings: MailLimits) -> Self {
        Self {
            addresses: settings.address.map(Buckets::new),
            users: settings.user.map(Buckets::new),
        }
    }

    /// Takes a token of the user and of the address.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(super) fn take(&self, user: &str, address: &str) -> Result<(), Duration> {
        let take = |buckets: &Option<Buckets>, key: String| match buckets {
            Some(buckets) => buckets.take(&key),
            None => Ok(()),
        };
        take(&self.users, user.to_owned())?;
        take(&self.addresses, address.to_ascii_lowercase())
    }
}

impl Buckets {
    fn new(an_hour: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_hour(an_hour)))
    }

    fn take(&self, key: &String) -> Result<(), Duration> {
        if self.0.len() > MOST_BUCKETS {
            self.0.retain_recent();
        }
        let taken = self.0.check_key(key);
        taken.map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_user_have_so_many_an_hour_and_others_their_own() {
        let limits = Limits::new(MailLimits {
            address: NonZeroU32::new(2),
            user: NonZeroU32::new(3),
        });
        let take = |user, address| {
            limits
                .take(user, address)
                .map_err(|wait| wait.as_secs() / 60)
        };

        assert_eq!(take("ann", "a@x.test"), Ok(()));
        assert_eq!(take("ann", "A@X.test"), Ok(()));
        assert_eq!(
            take("ann", "a@x.test"),
            Err(29),
            "the address has had its two"
        );
        assert_eq!(
            take("ann", "b@x.test"),
            Err(19),
            "the user has had its three"
        );
        assert_eq!(take("bob", "a@x.test"), Err(29), "whoever asks");
        assert_eq!(take("bob", "b@x.test"), Ok(()));
    }

    #[test]
    fn without_limits_nothing_waits() {
        let limits = Limits::new(MailLimits {
            address: None,
            user: None,
        });

        assert!((0..100).all(|_| limits.take("ann", "a@x.test") == Ok(())));
    }
}
