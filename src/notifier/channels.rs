//! The channels as one: which of them serves a target, and one try at it.

use url::Url;

use super::plan::Target;
use super::slack;
use super::tried::{Held, Letter, Tried};
use super::webhook::{self, Unusable};
use crate::config;

/// The channels that this process serves.
pub(super) struct Channels {
    webhooks: webhook::Sender,
    /// The operators' messages go by it too.
    pub(super) slack: slack::Sender,
}

/// A channel that takes a target.
pub(super) enum Served<'c> {
    /// By webhook.
    Webhook(&'c webhook::Sender, &'c Url),
    /// By Slack.
    Slack(&'c slack::Sender, &'c Url),
}

impl Channels {
    /// Makes the channels; makes no call.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, Unusable> {
        Ok(Self {
            webhooks: webhook::Sender::new(config)?,
            slack: slack::Sender::new(config)?,
        })
    }

    /// Returns the channel of a target, if it is served here.
    pub(super) fn of<'c>(&'c self, target: &'c Target) -> Option<Served<'c>> {
        match target {
            Target::Webhook(url) => Some(Served::Webhook(&self.webhooks, url)),
            Target::Slack(url) => Some(Served::Slack(&self.slack, url)),
            Target::Email(_) => None,
        }
    }
}

impl Served<'_> {
    /// Tries once, unless the target takes nothing in this second.
    pub(super) async fn send(&self, letter: &Letter<'_>) -> Result<Tried, Held> {
        match self {
            Self::Webhook(sender, url) => Ok(sender.send(letter, url).await),
            Self::Slack(sender, url) => sender.send(letter, url).await,
        }
    }
}
