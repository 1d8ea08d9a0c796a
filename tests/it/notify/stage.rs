//! A receiver for each channel, and notifiers that serve all of them.

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
    /// Starts the receivers; those of webhooks and of Slack messages give these answers.
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

    /// Returns an event with `mailbox` as target, and `name` as target at the two other receivers.
    pub(super) fn event(&self, name: &str, mailbox: &str) -> Event {
        let (webhook, slack) = (self.webhooks.at(name), self.slack.at(name));
        event_for(&self.space, Some(&webhook), Some(mailbox), Some(&slack))
    }

    /// Returns how many events the notifiers have not committed.
    pub(super) async fn lag(&self) -> u64 {
        let topic = &self.space.config.kafka.topics.events;
        self.space.lag("notifier", topic).await
    }
}
