//! How to call a provider's API, as `PROVIDERS_FILE` or a preset describes it: plain data, checked when it is read.
//!
//! [`crate::engines::provider`] makes the calls. What a status means for a submit cannot be described: it is the same
//! for all providers (contract, promise 3).

mod pointer;
mod presets;
mod read;
mod template;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use url::Url;

pub use self::pointer::Pointer;
pub use self::presets::PRESETS;
pub(super) use self::read::{read, variable_of};
pub use self::template::{Body, PathTemplate};
use crate::domain::glob::is_like;
use crate::domain::model::Profile;
use crate::domain::{Media, Problem};

/// The description of an API.
#[derive(Debug)]
pub struct Description {
    /// The preset that it began with; empty if none.
    pub preset: String,
    pub base_url: Url,
    /// How the key is sent; `None`: the API needs none.
    pub key: Option<Key>,
    /// Headers of every call.
    pub headers: HeaderMap,
    /// Patterns of other hosts that belong to the API. Only these and the base URL's origin get the key.
    pub hosts: Vec<String>,
    pub submit: Submit,
    /// How a job is looked up by our id; `None`: the API cannot.
    pub find: Option<Find>,
    pub poll: Polling,
    pub state: State,
    pub progress: Option<Progress>,
    pub outputs: Vec<Output>,
    pub error: ErrorTexts,
    pub cost: Option<Cost>,
    /// The calls that cancel a job, in order; none: the API cannot cancel.
    pub cancel: Vec<Cancel>,
    /// The models of requests that name none.
    pub default: Defaults,
    pub models: BTreeMap<String, Model>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The variable of the key; by default `{NAME}_API_KEY`.
    #[serde(default)]
    pub variable: String,
    #[serde(with = "values::header_name")]
    pub header: HeaderName,
    /// What comes before the key in the header, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Where a job is posted; may contain `{model}`.
    pub path: PathTemplate,
    #[serde(default)]
    pub body: Body,
    /// Where in the body the inputs go that the body does not name; `None`: it must name all.
    #[serde(default)]
    pub inputs: Option<Pointer>,
    /// Where in the answer the job's id is.
    pub id: Pointer,
    /// A further header for our id, beside `Idempotency-Key`.
    #[serde(default, with = "values::optional_header")]
    pub idempotency: Option<HeaderName>,
}

/// A look-up of a job whose submit was not answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// Contains `{workflow}`, our id; may have a query.
    pub path: PathTemplate,
    /// Where in the answer the job's id is; if nothing is there, the API has no such job.
    pub id: Pointer,
    /// Statuses that mean that the API has no such job.
    #[serde(default)]
    pub absent: Vec<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polling {
    /// Where in the answer to a submit the URL of the job is.
    #[serde(default)]
    pub url: Option<Pointer>,
    /// Where a job is, if the answer has no URL of the API; contains `{id}`.
    #[serde(default)]
    pub path: Option<PathTemplate>,
    /// The shortest time between two polls of a job.
    #[serde(default, with = "values::seconds")]
    pub every_seconds: Duration,
}

/// The texts of a job's state. A boolean is `true` or `false`, an absent state the empty text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub at: Pointer,
    #[serde(default)]
    pub running: Vec<String>,
    pub succeeded: Vec<String>,
    #[serde(default)]
    pub failed: Vec<String>,
    /// The provider refuses the content.
    #[serde(default)]
    pub moderated: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub at: Pointer,
    /// The number that means done.
    pub of: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub at: Pointer,
    #[serde(default)]
    pub kind: OutputKind,
    /// Where the output is, with placeholders from the object that `at` finds; without it, `at` finds a URL.
    #[serde(default)]
    pub path: Option<PathTemplate>,
    /// Whether the download needs the key.
    #[serde(default)]
    pub key: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    #[default]
    Url,
    Base64,
}

/// Where the texts of errors are, in a refusal and in a failed job, and what they mean.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorTexts {
    #[serde(default)]
    pub at: Vec<Pointer>,
    /// Texts that are there only if the provider refuses the content.
    #[serde(default)]
    pub moderated_at: Vec<Pointer>,
    /// Parts of texts about an account without money; case does not matter.
    #[serde(default)]
    pub quota: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// In the answer to a submit, or to a poll.
    pub at: Pointer,
    /// US dollars of one unit.
    pub usd: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[serde(with = "values::method")]
    pub method: Method,
    /// May contain `{id}`, as may the body.
    pub path: PathTemplate,
    #[serde(default)]
    pub body: Option<Body>,
    /// Statuses that mean that the job has ended already.
    #[serde(default)]
    pub ended: Vec<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Empty: no default model.
    #[serde(default)]
    pub video: String,
    #[serde(default)]
    pub image: String,
}

/// A model of the API.
#[derive(Debug)]
pub struct Model {
    pub kind: Media,
    /// Its name at the API.
    pub name: String,
    /// In place of the submit's.
    pub path: Option<PathTemplate>,
    /// In place of the submit's.
    pub body: Option<Body>,
    pub profile: Arc<Profile>,
}

impl Description {
    /// Returns what is wrong with the name of a model, or with the use of this model for outputs of `kind`.
    pub fn misnamed(&self, model: &str, kind: Media) -> Option<Problem> {
        if self.models.get(model).is_some_and(|it| it.kind == kind) {
            return None;
        }
        let names = self.models.iter().filter(|(_, it)| it.kind == kind);
        let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
        let allowed = match names.is_empty() {
            true => "no model: the provider makes no such outputs".to_owned(),
            false => names.join(", "),
        };
        let asked: String = model.chars().take(100).collect();
        Some(Problem {
            field: "model".to_owned(),
            asked: Some(format!("{asked:?}")),
            allowed: Some(allowed),
            hint: None,
        })
    }

    /// Returns whether `host` is one of the API's other hosts.
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|glob| is_like(glob, host))
    }
}
