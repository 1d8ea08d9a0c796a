//! What genflow would send for requests, and what it would refuse. Nothing is sent, so nothing is paid.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Error;
use crate::contract::run::SubmitQueues;
use crate::domain::model::{Origin, Prices, Profile};
use crate::domain::{Media, Note, Problem, ProviderName, Request, Single, Spec};
use crate::engines::config::Config;
use crate::engines::provider::Providers;
use crate::operate::text::plain;
use crate::roles::intake::allowed::Allowed;

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
            for checked in sources.check(&id, single, request.timeout).await {
                if checked.refuses() {
                    code = 1;
                }
                match as_json {
                    true => writeln!(out, "{}", serde_json::to_string(&checked)?)?,
                    false => writeln!(out, "{}", checked.lines().join("\n"))?,
                }
            }
        }
    }
    out.flush()?;
    Ok(code)
}

/// What genflow would send for a request to one model, or why it would not.
#[derive(Serialize)]
struct Checked {
    request_id: String,
    /// The index of a fallback; `None` for the request's own model.
    fallback: Option<usize>,
    /// Whether the operator named the model, so that it is skipped if it cannot make the request.
    by_operator: bool,
    provider: String,
    model: String,
    schema: Origin,
    problems: Vec<Problem>,
    notes: Vec<Note>,
    /// `None` if the model cannot make the request.
    input: Option<Map<String, Value>>,
    estimate_usd: Option<f64>,
}

impl Checked {
    /// Returns whether genflow refuses the request.
    fn refuses(&self) -> bool {
        self.input.is_none() && !self.by_operator
    }

    /// Returns the lines for people.
    fn lines(&self) -> Vec<String> {
        let Self {
            request_id,
            provider,
            model,
            schema,
            ..
        } = self;
        let place = match (self.fallback, self.by_operator) {
            (None, _) => String::new(),
            (Some(index), false) => format!(" fallback[{index}]"),
            (Some(_), true) => " the operator's fallback".to_owned(),
        };
        let mut lines = vec![format!(
            "{request_id}:{place} {provider} {model} ({schema})"
        )];
        let word = if self.by_operator {
            "skipped"
        } else {
            "refused"
        };
        lines.extend(
            self.problems
                .iter()
                .map(|problem| format!("  {word}   {problem}")),
        );
        let sends = self.input.iter().flatten();
        lines.extend(sends.map(|(name, value)| format!("  sends     {name} {value}")));
        let notes = self.notes.iter();
        lines.extend(notes.map(
            |Note {
                 field,
                 kind,
                 details,
             }| format!("  {kind:<9} {field}: {details}"),
        ));
        if self.input.is_some() {
            let cost = self
                .estimate_usd
                .map(|cost| format!("about {cost:.4} US dollars"));
            lines.push(format!(
                "  costs     {}",
                cost.as_deref().unwrap_or("not known")
            ));
        }
        lines.iter().map(|line| plain(line)).collect()
    }
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

    pub(super) fn prices(&self) -> &Prices {
        &self.config.worker.spending.prices
    }

    pub(super) async fn profile(
        &self,
        media: Media,
        provider: ProviderName,
        model: &str,
    ) -> Arc<Profile> {
        match &self.providers {
            Some(providers) => providers.of(media, provider).profile(model, WITHIN).await,
            None => {
                let protocol = self.config.worker.provider(media, provider).protocol;
                protocol.known_profile(provider, model)
            }
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

    /// Checks a request with its own model, and with each that it may fall back to.
    async fn check(
        &self,
        request_id: &str,
        single: &Single,
        timeout: Option<Duration>,
    ) -> Vec<Checked> {
        let worker = &self.config.worker;
        let provider = worker.default_providers().of(single);
        let default = worker.provider(single.media(), provider).model;
        let model = single.common().model.clone().unwrap_or(default);
        let mut own = self.check_at(request_id, single, provider, model).await;
        let refused = self.not_allowed(single, timeout);
        if !refused.is_empty() {
            own.problems = refused;
            own.input = None;
        }
        let mut all = vec![own];
        let by_operator = single.common().fallback.is_empty();
        let queues = SubmitQueues::default();
        let others = worker.fallbacks().of(single, provider, &queues);
        for (index, other) in others.into_iter().enumerate() {
            let spec = single.at(other.provider, &other.model);
            let checking = self.check_at(request_id, &spec, other.provider, other.model);
            all.push(Checked {
                fallback: Some(index),
                by_operator,
                ..checking.await
            });
        }
        all
    }

    /// Returns why intake would refuse the request.
    fn not_allowed(&self, single: &Single, timeout: Option<Duration>) -> Vec<Problem> {
        let spec = Spec::Single(single.clone());
        let faults = Allowed(self.config).faults(&spec, timeout).listed;
        let problems = faults.into_iter().map(|fault| Problem {
            field: fault.field,
            asked: None,
            allowed: None,
            hint: Some(fault.problem),
        });
        problems.collect()
    }

    async fn check_at(
        &self,
        request_id: &str,
        single: &Single,
        provider: ProviderName,
        model: String,
    ) -> Checked {
        let worker = &self.config.worker;
        let profile = self.profile(single.media(), provider, &model).await;
        let mut checked = Checked {
            request_id: request_id.to_owned(),
            fallback: None,
            by_operator: false,
            provider: provider.as_str().to_owned(),
            model,
            schema: profile.origin,
            problems: Vec::new(),
            notes: Vec::new(),
            input: None,
            estimate_usd: None,
        };
        let protocol = worker.provider(single.media(), provider).protocol;
        match worker.spending.bind(&protocol, &profile, single) {
            Ok(bound) => {
                checked.estimate_usd = bound.quote.estimate_usd;
                checked.notes = bound.notes;
                checked.input = Some(bound.input);
            }
            Err(problems) => checked.problems = problems,
        }
        checked
    }
}

#[cfg(test)]
mod tests;
