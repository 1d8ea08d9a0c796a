//! The models that a run falls back to, which intake fixes (contract, 6.12 and promise 3 (f)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::SubmitQueues;
use crate::domain::{Fallback, Media, ProviderName, Single};

/// A model that a run submits to if none before has accepted the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub provider: ProviderName,
    pub model: String,
    /// Task queue of its `submit`; `None` is the main queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submit_queue: Option<String>,
}

/// What the settings say about fallbacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallbacks {
    pub video: KindFallbacks,
    pub image: KindFallbacks,
}

/// The fallbacks for one kind of media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindFallbacks {
    /// Entries for requests that have none.
    pub entries: Vec<Fallback>,
    /// The default model of each provider.
    pub models: BTreeMap<ProviderName, String>,
}

impl Fallbacks {
    /// Returns what `spec`, first served by `first`, falls back to: what the request names, else the operator's entries
    /// without the request's own model.
    pub fn of(&self, spec: &Single, first: ProviderName, queues: &SubmitQueues) -> Vec<Candidate> {
        let (kind, common) = (self.kind(spec.media()), spec.common());
        let candidate = |entry: &Fallback| Candidate {
            provider: entry.provider,
            model: kind.model(entry.provider, entry.model.as_deref()),
            submit_queue: queues.of(entry.provider),
        };
        if !common.fallback.is_empty() {
            return common.fallback.iter().map(candidate).collect();
        }
        let own = kind.model(first, common.model.as_deref());
        let others = kind.entries.iter().map(candidate);
        others
            .filter(|other| (other.provider, &other.model) != (first, &own))
            .collect()
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn kind(&self, media: Media) -> &KindFallbacks {
        match media {
            Media::Video => &self.video,
            Media::Image => &self.image,
        }
    }
}

impl KindFallbacks {
    /// Returns the model that an entry names, else the provider's default.
    fn model(&self, provider: ProviderName, named: Option<&str>) -> String {
        let default = || self.models.get(&provider).cloned();
        let named = named.map(str::to_owned);
        named.or_else(default).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Common, ImageSpec};

    fn entry(provider: ProviderName, model: Option<&str>) -> Fallback {
        Fallback {
            provider,
            model: model.map(str::to_owned),
        }
    }

    fn chosen(spec: Common) -> Vec<(String, String)> {
        let models = [
            (ProviderName::FAL, "fal/usual"),
            (ProviderName::REPLICATE, "r/usual"),
        ];
        let image = KindFallbacks {
            entries: vec![
                entry(ProviderName::FAL, None),
                entry(ProviderName::REPLICATE, Some("r/other")),
            ],
            models: models.map(|(name, model)| (name, model.to_owned())).into(),
        };
        let all = Fallbacks {
            image,
            ..Fallbacks::default()
        };
        let first = spec.provider.unwrap_or(ProviderName::REPLICATE);
        let spec = Single::Image(ImageSpec {
            common: spec,
            ..ImageSpec::default()
        });
        let candidates = all.of(&spec, first, &SubmitQueues::default());
        let named = candidates.into_iter();
        named
            .map(|it| (it.provider.as_str().to_owned(), it.model))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let expected = expected.iter();
        expected
            .map(|(name, model)| ((*name).to_owned(), (*model).to_owned()))
            .collect()
    }

    #[test]
    fn a_request_without_fallback_gets_the_operators_but_not_its_own_model_again() {
        let of = |provider, model: Option<&str>| {
            chosen(Common {
                provider,
                model: model.map(str::to_owned),
                ..Common::new("a fox")
            })
        };
        let both = pairs(&[("fal", "fal/usual"), ("replicate", "r/other")]);

        assert_eq!(of(None, None), both);
        assert_eq!(of(Some(ProviderName::FAL), Some("fal/mine")), both);
        let (fal, replicate) = (&both[..1], &both[1..]);
        assert_eq!(of(Some(ProviderName::FAL), None), replicate);
        assert_eq!(of(None, Some("r/other")), fal);
    }

    #[test]
    fn a_requests_own_fallback_replaces_the_operators() {
        let own = chosen(Common {
            fallback: vec![
                entry(ProviderName::REPLICATE, None),
                entry(ProviderName::OPENAI, Some("gpt-image-2")),
            ],
            ..Common::new("a fox")
        });

        assert_eq!(
            own,
            pairs(&[("replicate", "r/usual"), ("openai", "gpt-image-2")])
        );
    }
}
