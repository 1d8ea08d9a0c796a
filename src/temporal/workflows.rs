//! The workflows: deterministic code only, and the only place where events are made.

pub mod claimed;
pub mod end;
pub mod generation;
