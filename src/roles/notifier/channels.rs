//! All channels behind one interface: finds the channel of a target, and makes one attempt with it.

use std::time::Duration;

use url::Url;

use super::digest_text::DigestText;
use super::plan::Target;
use super::{email, slack, webhook};
use crate::contract::receipt::DeliveryError;
use crate::engines::config;
use crate::roles::notifier::attempt::{NotNow, Notice, Tried};

/// Why a channel cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum UnusableChannel {
    #[error(transparent)]
    Http(#[from] webhook::UnusableWebhook),
    #[error(transparent)]
    Email(#[from] email::UnusableEmail),
}

/// The channels that this process serves.
pub(super) struct Channels {
    webhooks: webhook::Sender,
    slack: slack::Sender,
    /// Set if there is a mail server.
    mails: Option<email::Sender>,
    try_timeout: Duration,
}

/// A channel with a target that it serves.
pub(super) enum Served<'c> {
    Webhook(&'c webhook::Sender, &'c Url),
    Slack(&'c slack::Sender, &'c Url),
    Email(&'c email::Sender, &'c str),
}

impl Channels {
    /// Creates the channels; makes no network call.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, UnusableChannel> {
        Ok(Self {
            webhooks: webhook::Sender::new(config)?,
            slack: slack::Sender::new(config)?,
            mails: email::Sender::new(config)?,
            try_timeout: config.try_timeout,
        })
    }

    /// Returns the channel of a target, if this process serves it.
    pub(super) fn of<'c>(&'c self, target: &'c Target) -> Option<Served<'c>> {
        match target {
            Target::Webhook(url) => Some(Served::Webhook(&self.webhooks, url)),
            Target::Slack(url) => Some(Served::Slack(&self.slack, url)),
            Target::Email(address) => {
                let mails = self.mails.as_ref().filter(|mails| mails.serves_tenants())?;
                Some(Served::Email(mails, address))
            }
        }
    }

    /// Makes one attempt to send a digest to one of the operators' targets.
    pub(super) async fn send_digest(
        &self,
        text: &DigestText,
        to: &Target,
    ) -> Result<Tried, NotNow> {
        match (to, &self.mails) {
            (Target::Slack(url), _) => self.slack.post(slack::digest(text), url).await,
            (Target::Email(to), Some(mails)) => {
                Ok(mails.send_digest(text, to, self.try_timeout).await)
            }
            // The settings are checked at start: OPS_EMAIL needs SMTP_URL, and no webhook gets digests.
            (Target::Email(_), None) | (Target::Webhook(_), _) => Ok(Tried::Refused {
                status: None,
                error: unserved(),
            }),
        }
    }
}

/// Returns the error of a tenant's notification for which [`Channels::of`] has no channel. Only email can be unserved.
pub(super) fn unserved() -> DeliveryError {
    let why =
        "this notifier sends no mail to tenants: SMTP_URL or EMAIL_ALLOWED_DOMAINS is not set";
    DeliveryError::new("channel_not_served", why)
}

impl Served<'_> {
    /// Waits until the target may get its next message, if that is soon. Call it before the endpoint's turn, so that a
    /// waiting message does not use that up.
    pub(super) async fn turn(&self) -> Result<(), NotNow> {
        match self {
            Self::Slack(sender, url) => sender.turn(url).await,
            Self::Webhook(..) | Self::Email(..) => Ok(()),
        }
    }

    /// Counts a message against the limits of its target and of `user`; returns its result if it exceeds them.
    pub(super) fn limited(&self, user: &str) -> Option<Tried> {
        match self {
            Self::Email(sender, to) => sender.limited(user, to),
            Self::Webhook(..) | Self::Slack(..) => None,
        }
    }

    /// Whether an attempt of `limit` would probably time out after the mail server has the whole message and is
    /// still processing it, so that the mail would arrive twice. Webhook and Slack targets are expected to answer at
    /// once.
    pub(super) fn is_slower_than(&self, limit: Duration) -> bool {
        match self {
            Self::Email(sender, _) => sender.is_slower_than(limit),
            Self::Webhook(..) | Self::Slack(..) => false,
        }
    }

    /// Makes one attempt within `limit`, unless the target's rate limit is used up. An answer counts if its
    /// status arrives in time, however long its body takes.
    pub(super) async fn send(&self, notice: &Notice<'_>, limit: Duration) -> Result<Tried, NotNow> {
        match self {
            Self::Webhook(sender, url) => Ok(sender.send(notice, url, limit).await),
            Self::Slack(sender, url) => sender.send(notice, url, limit).await,
            Self::Email(sender, to) => Ok(sender.send(notice, to, limit).await),
        }
    }
}
