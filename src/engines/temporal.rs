//! Calls the Temporal server. `contract`, `workflows`, `worker`, `notifier` and `replay` use its crates as well.

pub mod activity;
pub mod admin;
pub mod availability;
pub mod budgets;
pub(crate) mod census;
pub mod client;
pub(crate) mod closed_history;
pub mod deliveries;
pub mod described;
pub mod digests;
pub mod error;
pub(crate) mod history;
pub(crate) mod job_use;
pub mod list;
pub(crate) mod memory;
pub(crate) mod meter;
pub(crate) mod outcome;
pub mod payloads;
pub mod queues;
pub mod request_runs;
pub mod retries;
pub(crate) mod sizing;
pub mod status;
pub(crate) mod sweep;
pub mod timeline;
