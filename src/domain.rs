//! The domain model: requests, runs, events, outcomes. Pure: no I/O, no clock, no randomness.
//!
//! The contract fixes names and rules. A type is either parsed, so that each of its values is valid, or plain
//! data that workflow inputs and events carry unchanged.

pub mod budget;
mod cost;
pub(crate) mod email_address;
pub(crate) mod error_chain;
mod error_code;
mod event;
mod fingerprint;
mod fold;
pub(crate) mod glob;
mod http_url;
mod ids;
mod invalid;
mod item_counts;
mod journal;
pub mod model;
mod provider_name;
pub(crate) mod public_address;
mod request;
mod sealed;
mod secret;
mod size;
mod spec;
pub mod standard_webhooks;
pub(crate) mod time;
pub(crate) mod token_buckets;

pub use cost::{Cost, CostSource};
pub use error_code::ErrorCode;
pub use event::{
    BatchSummary, Event, EventError, EventType, Generated, Kind, Note, Notify, Output, Problem,
    Progress, RecordPosition, Tried,
};
pub use fingerprint::fingerprint;
pub(crate) use fingerprint::{content_hash, hex, spelled, unhex};
pub use fold::Latest;
pub(crate) use http_url::{input_url, parse_http_url};
pub use ids::{CommandId, InvalidId, RequestId, UserId, WorkflowId};
pub use invalid::{Invalid, InvalidFields};
pub use item_counts::{ItemCounts, ItemOutcome};
pub use journal::{Identity, Journal, Outcome};
pub use provider_name::ProviderName;
pub use request::{Action, Command, Priority, Request, Targets};
pub use sealed::Sealed;
pub(crate) use secret::shown;
pub use secret::{Credential, Secret};
#[cfg(test)]
pub(crate) use size::LARGEST_EVENT;
pub use spec::{
    BatchItem, BatchSpec, Common, Fallback, ImageSpec, Input, Media, OnFailure, OnUnsupported,
    Role, Single, Spec, Strategy, VideoSpec,
};
pub(crate) use spec::{MOST_FALLBACKS, urls};
