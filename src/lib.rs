//! genflow: generation requests on Kafka become exactly one Temporal workflow each.

pub mod admin;
pub mod app;
pub mod avro;
pub mod cli;
pub mod config;
pub mod dev;
pub mod domain;
pub mod events;
mod failpoint;
mod http;
pub mod intake;
pub mod kafka;
pub mod notifier;
pub mod provider;
pub mod provider_sim;
pub mod registry;
pub mod seal;
pub mod setup;
pub mod storage;
pub mod telemetry;
pub mod temporal;
pub mod work;
pub mod worker;
