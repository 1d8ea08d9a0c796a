//! Finds, opens and redrives dead letters. Those of `gen.requests.dlq` go back to the topic they came from. Those of
//! `gen.notifications.dlq` are notifications, which are handed over to a delivery workflow again, or events that the
//! notifier could not read, which go back to their topic.
//!
//! A dead letter is never changed or removed: it stays until the topic's retention ends. A redrive keeps no record of
//! what it sent: a request that is sent again is a duplicate, a notification that was delivered is skipped, and of a
//! record that was dead-lettered again only the last dead letter is sent (`last_copy`), unless positions are given.

mod contents;
mod dead_letter;
mod deliver;
mod filter;
mod fresh_id;
mod last_copy;
mod policy;
pub(crate) mod redact;
mod redrive;

pub use self::contents::{Contents, Opened, Opener};
pub use self::dead_letter::{DeadLetter, DlqTopic, InvalidPosition, Position};
pub(crate) use self::deliver::{Deliveries, Redelivery};
pub use self::filter::Filter;
pub use self::policy::{RedrivePolicy, Skip};
pub use self::redrive::{
    Destination, OnRedriven, RedriveOrder, Redriven, Selection, Summary, redrive,
};
