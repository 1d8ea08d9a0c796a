//! Everything that crosses a durable boundary: inputs and outputs of workflows and activities, receipts, headers, Avro,
//! sealed targets.
//!
//! These types are stored: add fields only with a default (an `Option` has one), and never remove or retype one.

pub mod activities;
pub mod avro;
pub mod batch_items;
pub mod budget;
pub mod delivery;
pub mod digest;
pub mod headers;
pub mod receipt;
pub mod run;
pub mod seal;
pub mod search_attributes;
