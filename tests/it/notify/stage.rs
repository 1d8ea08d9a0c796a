//! A receiver of each channel, and notifiers that serve them all.

use genflow::domain::Event;

use super::event_for;
use crate::support::Space;
use crate::support::mail::Catcher;
use crate::support::receiver::{Answer, Receiver};

pub(super) struct Stage {
    pub(super) space: Space,
    pub(super) webhooks: Receiver,
    pub(super) slack: Receiver,
    pub(super) catcher: Catcher,
}

impl Stage {
    /// Makes the receivers, of which those of webhooks and of Slack messages give these answers.
    pub(super) async fn new(settings: &[(&str, &str)], answers: [&[Answer]; 2]) -> Self {
        let slack = ("SLACK_ALLOWED_HOSTS", "127.0.0.1");
        let space = Space::with(&[settings, &[slack]].concat()).await;
        Self {
            catcher: Catcher::start(&space, "--starttls").await,
            space,
            webhooks: Receiver::answering(answers[0]).await,
            slack: Receiver::answering(answers[1]).await,
        }
    }

    /// An event that is told to `mailbox`, and by that name to the two others.
    pub(super) fn event(&self, name: &str, mailbox: &str) -> Event {
        let (webhook, slack) = (self.webhooks.at(name), self.slack.at(name));
        event_for(&self.space, Some(&webhook), Some(mailbox), Some(&slack))
    }

    /// How many events the notifiers have not committed.
    pub(super) async fn lag(&self) -> u64 {
        let topic = &self.space.config.kafka.topics.events;
        self.space.lag("notifier", topic).await
    }
}
