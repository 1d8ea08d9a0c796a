//! The two dead-letter topics.

use crate::engines::config::Topics;

/// A dead-letter topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shelf {
    /// `gen.requests.dlq`: requests and commands that intake rejected.
    #[default]
    Requests,
    /// `gen.notifications.dlq`: notifications that were given up, and events that the notifier could not read.
    Notifications,
}

impl Shelf {
    /// Returns the topic's configured name.
    pub fn topic(self, topics: &Topics) -> &str {
        match self {
            Self::Requests => &topics.dlq,
            Self::Notifications => &topics.notifications_dlq,
        }
    }
}
