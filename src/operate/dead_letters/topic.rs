//! Which dead-letter topic is meant.

use crate::engines::config::Topics;

/// A dead-letter topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shelf {
    /// Requests and commands that intake refused.
    #[default]
    Requests,
    /// Notifications that were given up, and events that the notifier could not read.
    Notifications,
}

impl Shelf {
    /// Returns the name of its topic.
    pub fn topic(self, topics: &Topics) -> &str {
        match self {
            Self::Requests => &topics.dlq,
            Self::Notifications => &topics.notifications_dlq,
        }
    }
}
