//! What genflow would send for requests, and what it would refuse. Nothing is sent, so nothing is paid.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Error;
use super::text::plain;
use crate::domain::model::{Origin, Profile, bind, bundle};
use crate::domain::{Media, ProviderName, Request, Single, Spec};
use crate::engines::config::Config;
use crate::engines::provider::{Providers, check_name};

/// Where schemas come from.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Source {
    /// Ask no provider: use genflow's own copy of the schemas
    #[arg(long)]
    pub offline: bool,
}

/// How long a provider may take to answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Prints what requests would send; returns 1 if any is refused.
pub(super) async fn check(
    sources: &Sources<'_>,
    requests: &[Request],
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut code = 0;
    for request in requests {
        let singles: Vec<_> = match &request.spec {
            Spec::Single(single) => vec![(request.id.to_string(), single)],
            Spec::Batch(batch) => {
                let items = batch.items.iter();
                items
                    .map(|item| (item.request_id.to_string(), &item.spec))
                    .collect()
            }
        };
        for (id, single) in singles {
            let checked = sources.check(single).await;
            if checked["problems"] != json!([]) {
                code = 1;
            }
            match as_json {
                true => {
                    let mut line = checked;
                    line["request_id"] = json!(id);
                    writeln!(out, "{line}")?;
                }
                false => write!(out, "{}", text(&id, &checked))?,
            }
        }
    }
    out.flush()?;
    Ok(code)
}

/// Returns the result of a check for people.
fn text(id: &str, checked: &Json) -> String {
    let word = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let head = format!(
        "{id}: {} {}, {}",
        word(&checked["provider"]),
        word(&checked["model"]),
        word(&checked["source"])
    );
    let mut lines = vec![head];
    let problems = checked["problems"].as_array().into_iter().flatten();
    lines.extend(problems.map(|problem| {
        let part = |name: &str, before: &str| {
            let text = problem[name].as_str();
            text.map_or_else(String::new, |text| format!("{before}{text}"))
        };
        format!(
            "  refused   {}{}{}{}",
            word(&problem["field"]),
            part("asked", " is "),
            part("allowed", ", expected "),
            part("hint", ": "),
        )
    }));
    if let Some(input) = checked["input"].as_object() {
        lines.extend(
            input
                .iter()
                .map(|(name, value)| format!("  sends     {name} {value}")),
        );
    }
    let notes = checked["notes"].as_array().into_iter().flatten();
    lines.extend(notes.map(|note| {
        format!(
            "  {:<9} {}: {}",
            word(&note["type"]),
            word(&note["field"]),
            word(&note["details"])
        )
    }));
    if checked["input"].is_object() {
        let cost = checked["estimate_usd"].as_f64();
        let cost = cost.map_or_else(
            || "not known".to_owned(),
            |cost| format!("about {cost:.4} US dollars"),
        );
        lines.push(format!("  costs     {cost}"));
    }
    let lines = lines.into_iter().map(|line| plain(&line) + "\n");
    lines.collect()
}

/// Where the schemas of models come from.
pub(super) struct Sources<'c> {
    config: &'c Config,
    /// `None`: genflow's own copy.
    providers: Option<Providers>,
}

impl<'c> Sources<'c> {
    pub(super) fn new(config: &'c Config, source: Source) -> Result<Self, Error> {
        let providers = match source.offline {
            true => None,
            false => {
                let providers = Providers::new(&config.worker, None);
                Some(providers.map_err(|error| {
                    Error::Usage(format!("cannot create the HTTP client: {error}"))
                })?)
            }
        };
        Ok(Self { config, providers })
    }

    pub(super) async fn profile(
        &self,
        media: Media,
        provider: ProviderName,
        model: &str,
    ) -> Arc<Profile> {
        match &self.providers {
            Some(providers) => providers.of(media, provider).profile(model, WITHIN).await,
            None => Arc::new(bundle::profile(provider, model, None)),
        }
    }

    /// Returns the kind of media for which the provider has a key: the two may have settings of their own.
    pub(super) fn media_with_key(&self, provider: ProviderName) -> Media {
        let worker = &self.config.worker;
        match worker.provider(Media::Image, provider).api_key {
            Some(_) => Media::Image,
            None => Media::Video,
        }
    }

    /// Returns what a request would send, or its problems.
    async fn check(&self, single: &Single) -> Json {
        let worker = &self.config.worker;
        let provider = worker.default_providers().of(single);
        let default = worker.provider(single.media(), provider).model;
        let model = single.common().model.clone().unwrap_or(default);
        let profile = self.profile(single.media(), provider, &model).await;
        let mut answer = json!({
            "provider": provider.as_str(),
            "model": model,
            "schema": origin(&profile),
            "source": source(&profile),
            "problems": [],
            "notes": [],
        });
        if let Err(hint) = check_name(provider, &model) {
            answer["problems"] = json!([{"field": "model", "hint": hint}]);
            return answer;
        }
        match bind(&profile, single) {
            Ok(bound) => {
                answer["estimate_usd"] =
                    json!(worker.spending.prices.estimate(&profile, &bound.input));
                match worker.spending.problem(&profile, &bound) {
                    Some(problem) => answer["problems"] = json!([problem]),
                    None => answer["input"] = json!(bound.input),
                }
                answer["notes"] = json!(bound.notes);
            }
            Err(problems) => answer["problems"] = json!(problems),
        }
        answer
    }
}

pub(super) fn origin(profile: &Profile) -> &'static str {
    match profile.origin {
        Origin::Provider => "provider",
        Origin::Bundled => "bundled",
        Origin::Unknown => "unknown",
        Origin::Unreadable => "unreadable",
    }
}

pub(super) fn source(profile: &Profile) -> &'static str {
    match profile.origin {
        Origin::Provider => "by the provider's schema",
        Origin::Bundled => "by genflow's copy of the schema",
        Origin::Unknown => "whose schema is not known",
        Origin::Unreadable => "whose schema cannot be read now",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Common, ImageSpec, VideoSpec};

    async fn checked(single: Single) -> Json {
        let config = Config::of(&[]).unwrap();
        let sources = Sources::new(&config, Source { offline: true }).unwrap();
        sources.check(&single).await
    }

    #[tokio::test]
    async fn a_check_shows_what_is_sent_and_what_was_adapted() {
        let image = ImageSpec {
            width: Some(1280),
            height: Some(720),
            common: Common::new("a fox"),
            ..ImageSpec::default()
        };

        let checked = checked(Single::Image(image)).await;

        let shown = text("order-7", &checked);
        assert!(
            shown.starts_with(
                "order-7: replicate black-forest-labs/flux-schnell, by genflow's copy"
            ),
            "{shown}"
        );
        assert!(
            shown.contains("  sends     aspect_ratio \"16:9\"\n"),
            "{shown}"
        );
        assert!(
            shown.contains("  adapted   width: 1280x720 was asked"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn a_check_lists_every_problem() {
        let video = VideoSpec {
            duration: Some(60),
            fps: Some(60),
            common: Common::new("a fox"),
            ..VideoSpec::default()
        };

        let checked = checked(Single::Video(video)).await;

        let shown = text("order-7", &checked);
        assert!(
            shown.contains("  refused   fps is 60, expected 24\n"),
            "{shown}"
        );
        assert!(
            shown.contains("  refused   duration is 60, expected 2 to 12"),
            "{shown}"
        );
        assert!(!shown.contains("  sends"), "{shown}");
    }
}
