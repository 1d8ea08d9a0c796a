pub mod avro;
pub mod batch_items;
pub mod delivery;
pub mod digest;
pub(crate) mod receipt;
pub mod run;
pub mod seal;
pub mod search_attributes;
