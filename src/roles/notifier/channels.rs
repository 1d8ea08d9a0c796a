//! The channels as one: which of them serves a target, and one try at it.

use std::time::Duration;

use url::Url;

use super::plan::Target;
use super::{email, slack, webhook};
use crate::engines::config;
use crate::roles::notifier::attempt::{Held, Letter, Tried};

/// Why a channel cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Webhooks or messages to Slack cannot be sent.
    #[error(transparent)]
    Http(#[from] webhook::Unusable),
    /// Mails cannot be sent.
    #[error(transparent)]
    Email(#[from] email::Unusable),
}

/// The channels that this process serves.
pub(super) struct Channels {
    webhooks: webhook::Sender,
    /// The operators' messages go by it too.
    pub(super) slack: slack::Sender,
    /// Where there is a mail server; the operators' messages go by it too.
    pub(super) mails: Option<email::Sender>,
}

/// A channel that takes a target.
pub(super) enum Served<'c> {
    /// By webhook.
    Webhook(&'c webhook::Sender, &'c Url),
    /// By Slack.
    Slack(&'c slack::Sender, &'c Url),
    /// By mail.
    Email(&'c email::Sender, &'c str),
}

impl Channels {
    /// Makes the channels; makes no call.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, Unusable> {
        Ok(Self {
            webhooks: webhook::Sender::new(config)?,
            slack: slack::Sender::new(config)?,
            mails: email::Sender::new(config)?,
        })
    }

    /// Returns the channel of a target, if it is served here.
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
}

impl Served<'_> {
    /// Waits until the target may have its next message, if that is soon: before a place at its endpoint is taken.
    pub(super) async fn turn(&self, user: &str) -> Result<(), Held> {
        match self {
            Self::Slack(sender, url) => sender.turn(Some(user), url).await,
            Self::Webhook(..) | Self::Email(..) => Ok(()),
        }
    }

    /// Returns what becomes of a message that is above the limits of its target or of `user`.
    pub(super) fn limited(&self, user: &str) -> Option<Tried> {
        match self {
            Self::Email(sender, to) => sender.limited(user, to),
            Self::Webhook(..) | Self::Slack(..) => None,
        }
    }

    /// Whether a try of `limit` would probably be cut when the other side has all of it, and is busy with it: a mail comes
    /// twice by that. Who gets webhooks or messages to Slack answers at once.
    pub(super) fn is_slower_than(&self, limit: Duration) -> bool {
        match self {
            Self::Email(sender, _) => sender.is_slower_than(limit),
            Self::Webhook(..) | Self::Slack(..) => false,
        }
    }

    /// Tries once, within `limit`, unless the target takes nothing in this second. What is answered in time counts,
    /// however long its end takes.
    pub(super) async fn send(&self, letter: &Letter<'_>, limit: Duration) -> Result<Tried, Held> {
        match self {
            Self::Webhook(sender, url) => Ok(sender.send(letter, url, limit).await),
            Self::Slack(sender, url) => sender.send(letter, url, limit).await,
            Self::Email(sender, to) => Ok(sender.send(letter, to, limit).await),
        }
    }
}
