//! End-to-end tests on the real engines: Kafka, the schema registry, Temporal, HTTP.
//!
//! All are in one test binary: the engines start once per run, on free ports, and stop with it (`support::engines`).
//! Each test has its own topics, groups, queues and folders (`support::Space`), and runs the real `genflow` binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and tells a story from its beginning to its end"
)]

mod support;

mod access;
mod asyncapi;
mod batch;
mod budgets;
mod builds;
mod callbacks;
mod closed;
mod command_line;
mod compose;
mod connecting;
mod console;
mod costs;
mod counts;
mod crashes;
mod dashboards;
mod dev;
mod dev_faults;
mod dlq;
mod docs;
mod doctor;
mod egress;
mod email;
mod endings;
mod examples;
mod fallback;
mod flow;
mod image;
mod kafka;
mod kubernetes;
mod layers;
mod limits;
mod list;
mod models;
mod money;
mod notify;
mod operators;
mod path;
mod payloads;
mod poison;
mod policies;
mod presets;
mod providers;
mod questions;
mod quick;
mod quickstart;
mod records;
mod references;
mod registries;
mod replay;
mod retry;
mod reuse;
mod rolling;
mod secrets;
mod setup;
mod signatures;
mod sizing;
mod status;
mod storage;
mod temporal_tls;
mod traces;
