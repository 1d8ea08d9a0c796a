//! All that is Temporal: no other module names its crates.

pub mod admin;
