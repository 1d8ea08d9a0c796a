//! genflow: generation requests on Kafka become exactly one Temporal workflow each.

pub mod dev;
