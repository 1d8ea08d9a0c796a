//! The three roles. They share nothing but the ranks below.

pub mod intake;
pub mod notifier;
pub mod worker;
