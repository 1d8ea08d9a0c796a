//! Whole stories on the real engines: Kafka, the schema registry, Temporal, HTTP.
//!
//! One binary: the engines start once a run, on free ports, and end with it (`support::engines`). Each test has topics,
//! groups, queues and folders of its own (`support::Space`), and runs the real `genflow` binary.

mod support;

mod compose;
mod crashes;
mod endings;
mod path;
