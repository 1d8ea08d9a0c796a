//! The providers: submit a job, poll it, cancel it, find it by our id.
//!
//! The settings give each provider name a protocol; this module, `submit`, `models` and `memory` match on it. Each
//! protocol has a module: `draft` builds a submit, `accepted` and `said` read the answer to it, and `poll`, `cancel`
//! and `find` ask about a job.

mod access;
mod answer;
mod callback;
mod described;
mod fal;
mod memory;
mod misnamed;
mod model_name;
mod models;
mod openai;
mod published;
mod replicate;
mod submission;
mod submit;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use tracing::Instrument as _;
use url::Url;

use self::callback::Callbacks;
pub use self::callback::{Refused, SignedHead};
pub use self::memory::Held;
use self::memory::MemoryBudget;
use self::models::Models;
pub use self::submission::{Made, NotCurrent, Submission};
use crate::contract::run::Job;
use crate::domain::model::Charge;
use crate::domain::{Cost, ErrorCode, EventError, Media, ProviderName, Single};
use crate::engines::config::{self, Protocol};
use crate::engines::http;
use crate::engines::storage::Source;
use crate::engines::telemetry::{events, spans};

#[derive(Debug)]
pub struct Providers {
    config: config::Worker,
    clients: Clients,
}

/// One provider, as configured for one kind of output.
#[derive(Debug)]
pub struct Provider {
    config: config::Provider,
    kind: Media,
    clients: Clients,
}

#[derive(Clone, Debug)]
struct Clients {
    /// For submits. Opens a new connection for each: the server may close a pooled one at any time,
    /// which would make it unclear what was sent.
    submitting: Client,
    asking: Client,
    memory: MemoryBudget,
    models: Arc<Models>,
    callbacks: Arc<Callbacks>,
}

/// The state of a job.
#[derive(Debug)]
pub enum Poll {
    Running {
        /// The provider's name for the state.
        stage: String,
        /// 0 to 100, if the provider reports it.
        percent: Option<i32>,
        /// Whether this version knows the state. An unknown one is not final.
        known: bool,
        /// The pause that the provider asks for before the next poll.
        after: Option<Duration>,
    },
    Succeeded {
        outputs: Vec<Source>,
        /// What the answer says about the price.
        charge: Option<Charge>,
        /// The memory reserved for outputs that the answer contains.
        held: Held,
    },
    /// Ended without a result.
    Failed(EventError),
}

/// Why a call to a provider failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status, and the pause that `Retry-After` asks for.
    #[error("the provider answered with status {0}")]
    Status(u16, Option<Duration>),
    /// The answer does not follow the protocol, or does not answer the question.
    #[error("the provider's answer cannot be used: {0}")]
    Unreadable(String),
    #[error("the provider is unreachable")]
    Unreachable(#[source] reqwest::Error),
    /// This process has no key for the provider, so it made no call.
    #[error("there is no key for {}: {variable} is not set", .provider.as_str())]
    NoKey {
        provider: ProviderName,
        variable: String,
    },
    /// This process does not know the provider's API, so it made no call.
    #[error("the provider {} is not configured here: expected its description in PROVIDERS_FILE", .0.as_str())]
    NotConfigured(ProviderName),
}

/// Limit on the bytes of an answer about one job, which may contain small outputs.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Limit on the bytes of an answer with a model's schema.
const MAX_SCHEMA: usize = 2 * 1024 * 1024;
/// Limit on the length of a provider's URL.
const MAX_URL: usize = 2048;
/// Limit on the characters of a job's state.
const MAX_STAGE: usize = 100;
/// Limit on the characters of a job's id.
const MAX_ID: usize = 256;
/// Time-out of a call that is not a submit.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Providers {
    /// Creates the configured providers without calling them. They keep the schemas of models in the folder `schemas`,
    /// if there is one.
    pub fn new(config: &config::Worker, schemas: Option<PathBuf>) -> Result<Self, reqwest::Error> {
        let submitting = http::client()
            .pool_max_idle_per_host(0)
            .timeout(config.submit_timeout);
        let clients = Clients {
            submitting: submitting.build()?,
            asking: http::client().timeout(CALL_TIMEOUT).build()?,
            memory: MemoryBudget::new(),
            models: Arc::new(Models::new(schemas, config.spending.clone())),
            callbacks: Arc::new(Callbacks::new(config.callbacks.clone())),
        };
        let config = config.clone();
        Ok(Self { config, clients })
    }

    /// Returns the provider named `name`, as configured for `kind`.
    pub fn of(&self, kind: Media, name: ProviderName) -> Provider {
        Provider {
            config: self.config.provider(kind, name),
            kind,
            clients: self.clients.clone(),
        }
    }

    /// Returns the provider that runs `job`.
    pub fn that_has(&self, job: &Job) -> Provider {
        self.of(job.kind, job.provider)
    }
}

impl Provider {
    pub fn name(&self) -> ProviderName {
        self.config.name
    }

    /// Returns the kind of the outputs that this configuration is for.
    pub fn kind(&self) -> Media {
        self.kind
    }

    pub fn base_url(&self) -> &Url {
        &self.config.base_url
    }

    /// Returns whether the provider can look up a job by our id.
    pub fn can_find(&self) -> bool {
        match &self.config.protocol {
            // Not known here: a worker that knows the API has to look the job up.
            Protocol::Replicate | Protocol::Unknown => true,
            Protocol::OpenAi | Protocol::Fal => false,
            Protocol::Described(api) => api.find.is_some(),
        }
    }

    pub async fn poll(&self, job: &Job) -> Result<Poll, Error> {
        let polling = async {
            match &self.config.protocol {
                Protocol::Replicate => replicate::poll(self, job).await,
                Protocol::OpenAi => openai::poll(self, job).await,
                Protocol::Fal => fal::poll(self, job).await,
                Protocol::Described(api) => described::poll(self, api, job).await,
                Protocol::Unknown => Err(self.not_configured()),
            }
        };
        let mut polled = self.call("poll", polling).await?;
        if let Poll::Running { stage, .. } = &mut polled {
            *stage = stage.chars().take(MAX_STAGE).collect();
        }
        Ok(polled)
    }

    /// Asks the provider to cancel a job. A job that has already ended is no error.
    pub async fn cancel(&self, job: &Job) -> Result<(), Error> {
        match &self.config.protocol {
            Protocol::Replicate => self.call("cancel", replicate::cancel(self, job)).await,
            // Its API cannot cancel: the job continues, and no call is counted.
            Protocol::OpenAi => Ok(()),
            Protocol::Fal => self.call("cancel", fal::cancel(self, job)).await,
            Protocol::Described(api) if api.cancel.is_empty() => Ok(()),
            Protocol::Described(api) => {
                let cancelling = described::cancel(self, api, job);
                self.call("cancel", cancelling).await
            }
            Protocol::Unknown => Err(self.not_configured()),
        }
    }

    /// Looks up a job by our id, `key`, among those created since `since` (milliseconds since the epoch). Without
    /// [`Self::can_find`], `None` proves nothing.
    ///
    /// # Errors
    /// If the call fails or does not prove that there is no job.
    pub async fn find(&self, key: &str, since: i64) -> Result<Option<Job>, Error> {
        let finding = async {
            match &self.config.protocol {
                Protocol::Replicate => replicate::find(self, key, since).await,
                Protocol::OpenAi | Protocol::Fal => Ok(None),
                Protocol::Described(api) => match &api.find {
                    Some(find) => described::find(self, find, key).await,
                    None => Ok(None),
                },
                Protocol::Unknown => Err(self.not_configured()),
            }
        };
        self.call("find", finding).await
    }

    /// Counts what a generation by a model cost; `priority` is the request's.
    pub fn count_cost(&self, model: &str, priority: &'static str, cost: Cost) {
        let prices = &self.clients.models.spending.prices;
        let model = match model == self.config.model {
            true => &self.config.model,
            // Tenants choose model names, so metrics have only names that genflow or the operator knows.
            false => prices.known_as(self.config.name, model).unwrap_or("other"),
        };
        events::generation_priced(self.config.name, model, priority, cost);
    }

    /// Makes a call and counts it. If the provider requires a key and there is none, makes no call and counts that as
    /// the outcome `no_key`.
    async fn call<T>(
        &self,
        step: &'static str,
        calling: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.counted(step, self.has_key(), calling).await
    }

    /// Makes a call and counts it; if there is no key, only counts it.
    async fn counted<T>(
        &self,
        step: &'static str,
        key: Result<(), Error>,
        calling: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let span = spans::provider_step(self.config.name, step);
        let result = match key {
            Ok(()) => calling.instrument(span.clone()).await,
            Err(no_key) => Err(no_key),
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(Error::Status(..)) => "status",
            Err(Error::Unreadable(_)) => "unreadable",
            Err(Error::Unreachable(_)) => "unreachable",
            Err(Error::NoKey { .. }) => "no_key",
            Err(Error::NotConfigured(_)) => "not_configured",
        };
        if result.is_err() {
            span.in_scope(|| spans::failed(outcome));
        }
        self.report(step, outcome, began);
        result
    }

    fn report(&self, step: &'static str, outcome: &'static str, began: Instant) {
        events::provider_called(self.config.name, step, outcome, began.elapsed());
    }

    /// Checks that there is a key, if the provider requires one.
    fn has_key(&self) -> Result<(), Error> {
        match (&self.config.wants_key, &self.config.api_key) {
            (Some(variable), None) => Err(Error::NoKey {
                provider: self.config.name,
                variable: variable.clone(),
            }),
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }

    /// Checks that this process knows the provider's API.
    ///
    /// # Errors
    /// [`Error::NotConfigured`]. Another process may know it.
    pub fn is_configured(&self) -> Result<(), Error> {
        match self.config.protocol {
            Protocol::Unknown => Err(self.not_configured()),
            Protocol::Replicate | Protocol::OpenAi | Protocol::Fal | Protocol::Described(_) => {
                Ok(())
            }
        }
    }

    /// Returns the shortest time between two polls of a job that the API allows.
    pub fn shortest_pause(&self) -> Duration {
        match &self.config.protocol {
            Protocol::Described(api) => api.poll.every_seconds,
            Protocol::Replicate | Protocol::OpenAi | Protocol::Fal | Protocol::Unknown => {
                Duration::ZERO
            }
        }
    }

    fn not_configured(&self) -> Error {
        Error::NotConfigured(self.config.name)
    }

    /// Checks that a submit needs no key that is missing.
    fn may_submit(&self) -> Result<(), EventError> {
        let no_key =
            |error: Error| EventError::new(ErrorCode::ProviderAuth, &error.to_string(), true);
        self.has_key().map_err(no_key)
    }

    fn get(&self, url: impl reqwest::IntoUrl) -> RequestBuilder {
        self.authorised(self.clients.asking.get(url))
    }

    /// Returns the name of the model that a spec asks for, or the default one.
    pub(crate) fn model<'s>(&'s self, spec: &'s Single) -> &'s str {
        let named = spec.common().model.as_deref();
        named.unwrap_or(&self.config.model)
    }

    /// Returns a job of this provider, without URLs.
    fn job(&self, id: &str) -> Job {
        Job {
            provider: self.config.name,
            kind: self.kind,
            id: id.chars().take(MAX_ID).collect(),
            status_url: String::new(),
            result_url: String::new(),
            cancel_url: String::new(),
            called_back: false,
            cost_microusd: None,
        }
    }
}
