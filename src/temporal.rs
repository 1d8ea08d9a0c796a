//! Everything that uses Temporal. Apart from `worker`, no other module names its crates.

pub mod activities;
pub mod admin;
mod batches;
pub mod client;
pub mod compact;
pub mod deliveries;
pub mod digests;
mod exported;
mod history;
pub mod labels;
pub mod list;
mod outcome;
pub mod queues;
mod remains;
pub mod replay;
pub mod retries;
pub mod slots;
pub mod status;
pub mod steps;
mod submit;
pub(crate) mod sweep;
pub mod workflows;
