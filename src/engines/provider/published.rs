//! The schema of a model's input, as its provider publishes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A schema, and the document that the references in it point into.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) document: Value,
    pub(super) input: Value,
}
