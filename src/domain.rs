//! What genflow speaks of: requests, runs, events, outcomes. Pure: no I/O, no clock, no randomness.
//!
//! Names and rules are those of the contract. Everything here is either proof that it is good
//! (a parsed type) or plain data that goes along in workflow inputs and events as it stands.

mod error_code;
mod event;
mod fingerprint;
mod fold;
mod ids;
mod journal;
mod request;
mod size;
mod spec;
mod tally;

pub use error_code::ErrorCode;
pub use event::{
    BatchSummary, Event, EventError, EventType, Generated, Kind, Notify, Output, Progress,
    RecordPosition, Sealed,
};
pub use fingerprint::fingerprint;
pub(crate) use fingerprint::{content_hash, hex, spelled};
pub use fold::Place;
pub use ids::{CommandId, InvalidId, RequestId, UserId, WorkflowId};
pub use journal::{Identity, Journal, Outcome};
pub use request::{Action, Command, Invalid, Priority, Request, Targets};
#[cfg(test)]
pub(crate) use size::LARGEST_EVENT;
pub use spec::{
    BatchItem, BatchSpec, ImageSpec, OnFailure, ProviderName, Spec, Strategy, VideoSpec,
};
pub use tally::{ItemEnding, Tally};
