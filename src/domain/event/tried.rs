//! A model that a run has tried before another one, as its last event reports it.
//!
//! Histories contain this type: a new field is an `Option` or has a default; never remove or retype one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::EventError;
use crate::domain::ErrorCode;

/// A model that a run tried without success, and its error (contract, 6.12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub provider: String,
    pub model: String,
    pub code: ErrorCode,
    /// At most 300 characters.
    pub message: String,
}

impl Tried {
    pub fn of(provider: &str, model: &str, error: &EventError) -> Self {
        let cut = |text: &str, longest: usize| text.chars().take(longest).collect();
        Self {
            provider: provider.to_owned(),
            model: cut(model, 256),
            code: error.code,
            message: cut(&error.message, 300),
        }
    }
}

/// The model and its error.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            provider,
            model,
            code,
            message,
        } = self;
        write!(f, "{provider} {model}: {}: {message}", code.as_str())
    }
}
