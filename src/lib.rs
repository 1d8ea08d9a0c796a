//! genflow: generation requests on Kafka become exactly one Temporal workflow each.

pub mod avro;
pub mod domain;
pub mod provider_sim;
pub mod registry;
