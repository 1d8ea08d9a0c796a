//! Limits how many mails go to one address, and how many the requests of one user send.
//!
//! Tenants name the addresses, and the mails come from the operator's domain: a tenant must not flood a mailbox
//! that is not its own. Mails to operators are not limited.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::domain::token_buckets::TokenBuckets;
use crate::engines::config::MailLimits;

/// Token buckets of addresses and of users; `None` without a limit.
pub(super) struct Limits {
    addresses: Option<TokenBuckets>,
    users: Option<TokenBuckets>,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Limits {
    pub(super) fn new(settings: MailLimits) -> Self {
        let hourly = |limit: NonZeroU32| TokenBuckets::new(limit, HOUR, limit);
        Self {
            addresses: settings.address.map(hourly),
            users: settings.user.map(hourly),
        }
    }

    /// Takes a token of the user and one of the address. A mail above the address's limit has still taken the user's.
    ///
    /// # Errors
    /// How long until there is a token again.
    pub(super) fn take(&self, user: &str, address: &str) -> Result<(), Duration> {
        let now = Instant::now();
        let take = |buckets: &Option<TokenBuckets>, key: &str| match buckets {
            Some(buckets) => buckets.take(key, 1, now),
            None => Ok(()),
        };
        take(&self.users, user)?;
        take(&self.addresses, &address.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_users_have_hourly_limits_of_their_own() {
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
        assert_eq!(take("bob", "a@x.test"), Err(29), "for all users");
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
