//! The topics that the console reads.

use crate::engines::config::Config;
use crate::operate::dead_letters::DlqTopic;

/// One of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Events,
    Receipts,
    /// Of these dead letters only the times are read.
    Letters(DlqTopic),
}

impl Topic {
    /// Returns the topic's configured name.
    pub(super) fn name(self, config: &Config) -> &str {
        match self {
            Self::Events => &config.kafka.topics.events,
            Self::Receipts => &config.kafka.topics.notifications,
            Self::Letters(topic) => topic.name(&config.kafka.topics),
        }
    }
}
