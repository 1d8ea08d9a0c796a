//! What `genflow dev` is made of.

pub mod guard;
