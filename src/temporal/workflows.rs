//! The workflows: deterministic code only, and the only place where events are made.

pub mod batch;
pub mod claimed;
pub mod delivery;
pub mod digest;
pub mod end;
pub(crate) mod ending;
pub mod generation;
