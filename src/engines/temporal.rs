//! All that is Temporal: no other module but `worker` names its crates.

pub mod admin;
pub(crate) mod batches;
pub mod client;
pub(crate) mod closed_run;
pub(crate) mod history;
pub mod list;
pub(crate) mod outcome;
pub mod queues;
pub mod request_runs;
pub mod retries;
pub mod status;
pub(crate) mod sweep;
