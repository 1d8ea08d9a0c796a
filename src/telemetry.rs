//! stub
pub mod events;
