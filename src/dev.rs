//! What `genflow dev` is made of.

pub mod engines;
pub mod guard;
