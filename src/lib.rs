//! genflow: generation requests on Kafka become exactly one Temporal workflow each.

pub mod avro;
pub mod cli;
pub mod config;
pub mod domain;
pub mod kafka;
pub mod provider_sim;
pub mod registry;
pub mod setup;
pub mod temporal;
