//! Checks a model's name by the protocol of its provider.

use super::{fal, replicate};
use crate::domain::{Media, Problem};
use crate::engines::config::Protocol;

const NO_MODEL: &str = "OpenAI has ended its API for videos; set spec.provider to another provider, or spec.model to a \
                            model of a server with /v1/videos";

/// Returns what is wrong with a model's name, which a tenant chooses and which becomes part of URLs.
pub(super) fn misnamed(protocol: &Protocol, model: &str, kind: Media) -> Option<Problem> {
    let (allowed, hint) = match protocol {
        Protocol::Replicate => (Some(replicate::check(model).err()?), None),
        Protocol::Fal => (Some(fal::check(model).err()?), None),
        Protocol::OpenAi if model.is_empty() => (None, Some(NO_MODEL)),
        Protocol::Described(api) => return api.misnamed(model, kind),
        Protocol::OpenAi | Protocol::Unknown => return None,
    };
    Some(Problem {
        field: "model".to_owned(),
        asked: allowed.map(|_| format!("{:?}", short(model))),
        allowed: allowed.map(str::to_owned),
        hint: hint.map(str::to_owned),
    })
}

/// Returns the part of a model's name that an error shows.
pub(super) fn short(model: &str) -> String {
    model.chars().take(100).collect()
}
