//! One module for each system that genflow talks to, and what they share.

pub mod clock;
pub mod config;
pub mod egress;
pub(crate) mod failpoint;
pub mod health;
pub(crate) mod http;
pub mod kafka;
pub(crate) mod open_files;
pub mod provider;
pub mod publisher;
pub mod registry;
pub mod storage;
pub mod telemetry;
pub mod temporal;
