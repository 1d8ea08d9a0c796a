//! The dead letters of `gen.requests.dlq`: found, opened, and sent again to where they came from. Those of
//! `gen.notifications.dlq` too; there a letter is a notification, and is put into a workflow's hands again.
//!
//! A dead letter is never changed or removed: it stays until the topic's retention. What was sent again is remembered
//! as committed offsets of the group `{KAFKA_GROUP}-redrive` ([`Done`]), so that a second redrive passes it over, and
//! what a filter left out stays redrivable. The memory errs on one side only: a record may be sent twice, which
//! intake finds to be a duplicate by its request id, but none is ever taken for sent that was not.

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
    /// The topic cannot be read.
    #[error(transparent)]
    Read(#[from] tail::Error),
    /// What was sent before cannot be looked up, or what was sent now cannot be noted.
    #[error(transparent)]
    Progress(#[from] offsets::Error),
    /// The registry did not help, and what was asked for needs it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A record was not taken by its topic.
    #[error(transparent)]
    Send(#[from] producer::Error),
    /// A notification was not taken by Temporal.
    #[error(transparent)]
    Temporal(#[from] client::Error),
    /// A request of ours does not fit our schema.
    #[error(transparent)]
    Encode(#[from] crate::contract::avro::Error),
    /// What was done cannot be told.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}
