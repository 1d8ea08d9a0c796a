//! Finds, opens and redrives dead letters. Those of `gen.requests.dlq` go back to the topic they came from. Those of
//! `gen.notifications.dlq` are notifications, and are handed to a delivery workflow again.
//!
//! A dead letter is never changed or removed: it stays until the topic's retention ends. Which ones were sent again is
//! remembered as committed offsets of the group `{KAFKA_GROUP}-redrive` ([`Done`]): a second redrive skips these, and
//! still sends what a filter excluded from the first. The memory may lose an entry but never has a wrong one: a record
//! may be sent twice, which intake recognises as a duplicate by its request id, but none is skipped that was not sent.

mod contents;
mod deliver;
mod filter;
mod fresh_id;
mod letter;
mod progress;
mod redact;
mod redrive;
mod rules;
mod sent_offsets;
mod topic;

pub use self::contents::{Contents, Opened, Opener};
pub use self::filter::{Filter, Moment, NoMoment, REASONS};
pub use self::letter::{Letter, NoPosition, Position};
pub use self::progress::{Progress, group};
pub use self::redact::{masked, redacted, redacted_json};
pub use self::redrive::{Destination, Order, Redriven, Selection, Summary, Tell, redrive};
pub use self::rules::{Rules, Skip};
pub use crate::operate::dead_letters::fresh_id::renewed;
pub use crate::operate::dead_letters::sent_offsets::Done;
pub use crate::operate::dead_letters::topic::Shelf;

use crate::engines::kafka::{offsets, producer, tail};
use crate::engines::registry;
use crate::engines::temporal::client;

/// Why dead letters cannot be shown or sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dead-letter topic cannot be read.
    #[error(transparent)]
    Read(#[from] tail::Error),
    /// The memory of what was sent cannot be read or written.
    #[error(transparent)]
    Progress(#[from] offsets::Error),
    /// A schema that is needed cannot be had from the registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Kafka did not acknowledge a record.
    #[error(transparent)]
    Send(#[from] producer::Error),
    /// Temporal did not start the delivery of a notification.
    #[error(transparent)]
    Temporal(#[from] client::Error),
    /// A request of ours does not fit our schema.
    #[error(transparent)]
    Encode(#[from] crate::contract::avro::Error),
    /// A line about what was sent cannot be written to the output.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}
