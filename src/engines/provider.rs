//! The providers: submit a job, poll it, cancel it, find it by our id.
//!
//! A closed set, matched only here. When a submit fails, the result says what is known:
//! [`Submission::NotAccepted`] and [`Submission::Refused`] guarantee that the provider charges
//! nothing; anything less certain is [`Submission::Unknown`] (contract, promise 3).

mod answer;
mod fal;
mod input;
mod memory;
mod openai;
mod replicate;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use url::Url;

pub use self::memory::Held;
use self::memory::MemoryBudget;
use crate::contract::run::Job;
use crate::domain::{ErrorCode, EventError, Media, ProviderName, Single, WorkflowId};
use crate::engines::config;
use crate::engines::http;
use crate::engines::storage::Source;

/// All providers.
#[derive(Debug)]
pub struct Providers {
    video: Served,
    image: Served,
}

/// The providers for one kind of output.
#[derive(Debug)]
struct Served {
    replicate: Provider,
    openai: Provider,
    fal: Provider,
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
}

/// What is known about a submit.
#[derive(Debug)]
pub enum Submission {
    /// The provider accepted the job.
    Accepted(Job),
    /// The provider answered with the outputs themselves.
    Made(Made),
    /// The provider refused in a complete answer, and would refuse again.
    Refused(EventError),
    /// The provider did not accept the job, but may accept it later.
    NotAccepted {
        /// The provider's reason, or why nothing was sent.
        error: EventError,
        /// The pause that the provider asks for.
        after: Option<Duration>,
    },
    /// The provider may have accepted the job.
    Unknown(String),
    /// The body was not written, because the attempt may no longer be the current one.
    Withheld(NotCurrent),
}

/// Outputs that came with the answer to a submit.
#[derive(Debug)]
pub struct Made {
    /// The provider's id of the request.
    pub id: String,
    /// Addresses of the files, or the files themselves.
    pub outputs: Vec<Source>,
    /// Cost in US dollars, if the answer contains it.
    pub cost_usd: Option<f64>,
}

/// The state of a job.
#[derive(Debug)]
pub enum Poll {
    /// Not done yet.
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
    /// Done.
    Succeeded {
        /// Addresses of the files.
        outputs: Vec<Source>,
        /// Cost in US dollars, if the answer contains it.
        cost_usd: Option<f64>,
        /// The memory reserved for outputs that the answer contains.
        held: Held,
    },
    /// Ended without a result.
    Failed(EventError),
}

/// Why a call to a provider failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The provider answered with this status, and perhaps a `Retry-After`.
    #[error("the provider answered with status {0}")]
    Status(u16, Option<Duration>),
    /// The answer does not follow the protocol.
    #[error("the provider's answer is not what its protocol says: {0}")]
    Unreadable(String),
    /// The provider did not answer.
    #[error("the provider is unreachable")]
    Unreachable(#[source] reqwest::Error),
    /// This process has no key for the provider, so it made no call.
    #[error("there is no key for {}: {variable} is not set", .provider.as_str())]
    NoKey {
        /// The provider.
        provider: ProviderName,
        /// The variable that sets its key.
        variable: &'static str,
    },
}

/// Why a body was not written: the attempt may not send any more, or the server did not confirm that it may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the attempt is not known to be the current one")]
pub struct NotCurrent;

/// A submit that is ready to be sent once.
struct Sending {
    request: reqwest::RequestBuilder,
    /// Set when hyper asks for the body. hyper does so before it writes the first byte of a
    /// request, so as long as this is unset, no byte was written.
    begun: Arc<AtomicBool>,
}

impl Sending {
    /// Sends the request and waits for the head of the answer; otherwise returns what is known without one.
    async fn send(self) -> Result<reqwest::Response, Submission> {
        let Self { request, begun } = self;
        let sent = request.send().await;
        // Without the URL: its host may be internal, and this text reaches users.
        sent.map_err(|error| unanswered(&error.without_url(), begun.load(Ordering::Acquire)))
    }
}

/// Classifies a submit without an answer. If `begun` is false, no byte of it was written.
fn unanswered(error: &reqwest::Error, begun: bool) -> Submission {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(stale) = inner.downcast_ref::<NotCurrent>() {
            return Submission::Withheld(*stale);
        }
        cause = inner.source();
    }
    if !begun {
        let message = format!("nothing was sent: {error}");
        let error = EventError::new(ErrorCode::ProviderFailed, &message, true);
        return Submission::NotAccepted { error, after: None };
    }
    Submission::Unknown(format!("the submit was not answered: {error}"))
}

/// Limit on the length of a provider's URL.
const LONGEST_URL: usize = 2048;
/// Limit on the characters of a job's state.
const LONGEST_STAGE: usize = 100;
/// Time-out of a call that is not a submit.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Providers {
    /// Creates the configured providers without calling them.
    ///
    /// # Errors
    /// If an HTTP client cannot be built.
    pub fn new(config: &config::Worker) -> Result<Self, reqwest::Error> {
        let clients = Clients {
            submitting: http::client()
                .pool_max_idle_per_host(0)
                .timeout(config.submit_timeout)
                .build()?,
            asking: http::client().timeout(CALL_TIMEOUT).build()?,
            memory: MemoryBudget::new(),
        };
        let served = |kind| {
            let provider = |name| Provider {
                config: config.provider(kind, name),
                kind,
                clients: clients.clone(),
            };
            Served {
                replicate: provider(ProviderName::Replicate),
                openai: provider(ProviderName::OpenAi),
                fal: provider(ProviderName::Fal),
            }
        };
        Ok(Self {
            video: served(Media::Video),
            image: served(Media::Image),
        })
    }

    /// Returns the provider named `name`, as configured for `kind`.
    pub fn of(&self, kind: Media, name: ProviderName) -> &Provider {
        let served = match kind {
            Media::Video => &self.video,
            Media::Image => &self.image,
        };
        match name {
            ProviderName::Replicate => &served.replicate,
            ProviderName::OpenAi => &served.openai,
            ProviderName::Fal => &served.fal,
        }
    }

    /// Returns the provider that runs `job`.
    pub fn that_has(&self, job: &Job) -> &Provider {
        self.of(job.kind, job.provider)
    }
}

impl Provider {
    /// Returns the provider's name.
    pub fn name(&self) -> ProviderName {
        self.config.name
    }

    /// Returns the configured base URL.
    pub fn base_url(&self) -> &Url {
        &self.config.base_url
    }

    /// Returns whether the provider can look up a job by our id.
    pub fn can_find(&self) -> bool {
        match self.config.name {
            ProviderName::Replicate => true,
            ProviderName::OpenAi | ProviderName::Fal => false,
        }
    }

    /// Sends one job once. Awaits `go` when the body is due, and writes the body only if `go` is Ok.
    pub async fn submit(
        &self,
        workflow: &WorkflowId,
        spec: &Single,
        go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
    ) -> Submission {
        if let Err(error) = self.has_key() {
            let message = error.to_string();
            return Submission::Refused(EventError::new(ErrorCode::ProviderAuth, &message, true));
        }
        match self.config.name {
            ProviderName::Replicate => replicate::submit(self, workflow, spec, go).await,
            ProviderName::OpenAi => openai::submit(self, workflow, spec, go).await,
            ProviderName::Fal => fal::submit(self, workflow, spec, go).await,
        }
    }

    /// Checks that there is a key, if the provider requires one.
    fn has_key(&self) -> Result<(), Error> {
        match (self.config.wants_key, &self.config.api_key) {
            (Some(variable), None) => Err(Error::NoKey {
                provider: self.config.name,
                variable,
            }),
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }

    /// Builds a submit of `body`. `go` decides whether the body is written when it is due. Without
    /// its body the request is incomplete, so no server acts on it.
    fn submitting(
        &self,
        workflow: &WorkflowId,
        url: String,
        body: Vec<u8>,
        go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
    ) -> Sending {
        let length = body.len();
        let begun = Arc::new(AtomicBool::new(false));
        let asked = begun.clone();
        // A stream, because hyper polls it only when the connection is established and the head is
        // about to be written.
        let body = futures::stream::once(async move {
            asked.store(true, Ordering::Release);
            go.await.map(|()| body)
        });
        let request = self
            .authorised(self.clients.submitting.post(url))
            .header(CONTENT_TYPE, "application/json")
            // No provider promises to honour it; a proxy in between may.
            .header("idempotency-key", workflow.as_str())
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body));
        Sending { request, begun }
    }

    /// Polls a job.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn poll(&self, job: &Job) -> Result<Poll, Error> {
        self.has_key()?;
        let mut polled = match job.provider {
            ProviderName::Replicate => replicate::poll(self, job).await?,
            ProviderName::OpenAi => openai::poll(self, job).await?,
            ProviderName::Fal => fal::poll(self, job).await?,
        };
        if let Poll::Running { stage, .. } = &mut polled {
            *stage = stage.chars().take(LONGEST_STAGE).collect();
        }
        Ok(polled)
    }

    /// Asks the provider to cancel a job. A job that has already ended is no error.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn cancel(&self, job: &Job) -> Result<(), Error> {
        self.has_key()?;
        match job.provider {
            ProviderName::Replicate => replicate::cancel(self, job).await,
            // Its API cannot cancel: the job continues.
            ProviderName::OpenAi => Ok(()),
            ProviderName::Fal => fal::cancel(self, job).await,
        }
    }

    /// Looks up a job by our id among those created since `since` (milliseconds since the epoch).
    ///
    /// # Errors
    /// If the call fails or does not prove that there is no job.
    pub async fn find(&self, workflow: &WorkflowId, since: i64) -> Result<Option<Job>, Error> {
        self.has_key()?;
        match self.config.name {
            ProviderName::Replicate => replicate::find(self, workflow, since).await,
            ProviderName::OpenAi | ProviderName::Fal => Ok(None),
        }
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let key = self.config.api_key.as_ref()?.expose();
        let scheme = match self.config.name {
            ProviderName::Replicate | ProviderName::OpenAi => "Bearer",
            ProviderName::Fal => "Key",
        };
        // Always Ok: the settings accept only keys that are valid in a header.
        let mut value = HeaderValue::from_str(&format!("{scheme} {key}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn get(&self, url: impl reqwest::IntoUrl) -> reqwest::RequestBuilder {
        self.authorised(self.clients.asking.get(url))
    }

    /// Returns the URL of `path` below the base URL.
    fn at(&self, path: &str) -> String {
        format!(
            "{}/{path}",
            self.config.base_url.as_str().trim_end_matches('/')
        )
    }

    /// Returns `url` if it has the provider's origin: the key must not go to another server.
    fn own(&self, url: &str) -> Option<String> {
        if url.len() > LONGEST_URL {
            return None;
        }
        let parsed = Url::parse(url).ok()?;
        (parsed.origin() == self.config.base_url.origin()).then(|| url.to_owned())
    }
}
