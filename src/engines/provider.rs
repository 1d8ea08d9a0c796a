//! The outside APIs: submit a job, look at it, end it, find it by our id.
//!
//! A closed set, matched here and nowhere else. What matters most is what is *known* after a submit that went wrong:
//! [`Submission::NotAccepted`] and [`Submission::Refused`] promise that nobody will pay, anything less is
//! [`Submission::Unknown`] (contract, promise 3).

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
use self::memory::Memory;
use crate::contract::run::Job;
use crate::domain::{ErrorCode, EventError, Kind, ProviderName, Spec, WorkflowId};
use crate::engines::config;
use crate::engines::http;
use crate::engines::storage::Source;

/// All providers.
#[derive(Debug)]
pub struct Providers {
    video: Served,
    image: Served,
}

/// The providers of one kind of output.
#[derive(Debug)]
struct Served {
    replicate: Provider,
    openai: Provider,
    fal: Provider,
}

/// One outside API, as configured.
#[derive(Debug)]
pub struct Provider {
    config: config::Provider,
    kind: Kind,
    clients: Clients,
}

#[derive(Clone, Debug)]
struct Clients {
    /// Opens a new connection each time: a connection that was closed meanwhile cannot blur what was sent.
    submitting: Client,
    asking: Client,
    memory: Memory,
}

/// What is known after a submit was sent, or was to be sent.
#[derive(Debug)]
pub enum Submission {
    /// The provider took the job.
    Accepted(Job),
    /// It made the outputs at once, and gave them with its answer.
    Made(Made),
    /// It refused, in a complete answer, and would again.
    Refused(EventError),
    /// It did not take the job, and may later.
    NotAccepted {
        /// What it said, or why nothing was sent.
        error: EventError,
        /// How long it asks us to wait.
        after: Option<Duration>,
    },
    /// It may have taken the job.
    Unknown(String),
    /// The body was not written, because the attempt is not known to be the current one.
    Withheld(NotCurrent),
}

/// Outputs that came with the answer to a submit.
#[derive(Debug)]
pub struct Made {
    /// The provider's name for what it did.
    pub id: String,
    /// Where the files are, or the files themselves.
    pub outputs: Vec<Source>,
    /// What it says it costs.
    pub cost_usd: Option<f64>,
}

/// What a job does.
#[derive(Debug)]
pub enum Poll {
    /// Not done yet.
    Running {
        /// The provider's word for it.
        stage: String,
        /// 0 to 100, if it tells.
        percent: Option<i32>,
        /// Whether this version knows the word; one that it does not know is no end.
        known: bool,
        /// How long it asks us to wait before the next look.
        after: Option<Duration>,
    },
    /// Done.
    Succeeded {
        /// Where its files are.
        outputs: Vec<Source>,
        /// What it says it costs.
        cost_usd: Option<f64>,
        /// The memory of outputs that came with the answer.
        held: Held,
    },
    /// Ended without a result.
    Failed(EventError),
}

/// Why a provider could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It answered with that status.
    #[error("the provider answered with status {0}")]
    Status(u16, Option<Duration>),
    /// Its answer could not be read.
    #[error("the provider's answer is not what its protocol says: {0}")]
    Unreadable(String),
    /// It could not be reached.
    #[error("the provider is unreachable")]
    Unreachable(#[source] reqwest::Error),
    /// This process has no key for it, so nothing was asked.
    #[error("there is no key for {}: {variable} is not set", .provider.as_str())]
    NoKey {
        /// The provider.
        provider: ProviderName,
        /// The variable that holds its key.
        variable: &'static str,
    },
}

/// Why a body was not written: this attempt may not send any more, or the server did not say that it may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the attempt is not known to be the current one")]
pub struct NotCurrent;

/// A submit that is ready to be sent, once.
struct Sending {
    request: reqwest::RequestBuilder,
    /// Whether its body was asked for. hyper does so before it writes the first byte of a request, so until then none
    /// was written.
    begun: Arc<AtomicBool>,
}

impl Sending {
    /// Sends it and waits for the head of the answer, or says what is known without one.
    async fn send(self) -> Result<reqwest::Response, Submission> {
        let Self { request, begun } = self;
        let sent = request.send().await;
        // Without the address: it may be known within one's own network only, and what is said here goes to users.
        sent.map_err(|error| unanswered(&error.without_url(), begun.load(Ordering::Acquire)))
    }
}

/// Says what is known of a submit that was not answered; `begun` unless no byte of it was written.
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

/// A longer address is not a provider's.
const LONGEST_URL: usize = 2048;
/// No word for what a job does is longer.
const LONGEST_STAGE: usize = 100;
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Providers {
    /// Makes the configured providers; calls none.
    ///
    /// # Errors
    /// When an HTTP client cannot be built.
    pub fn new(config: &config::Worker) -> Result<Self, reqwest::Error> {
        let clients = Clients {
            submitting: http::client()
                .pool_max_idle_per_host(0)
                .timeout(config.submit_timeout)
                .build()?,
            asking: http::client().timeout(CALL_TIMEOUT).build()?,
            memory: Memory::new(),
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
            video: served(Kind::Video),
            image: served(Kind::Image),
        })
    }

    /// Returns the provider of that name, as it is set up for `kind`.
    pub fn of(&self, kind: Kind, name: ProviderName) -> &Provider {
        let served = match kind {
            Kind::Video => &self.video,
            Kind::Image | Kind::Batch | Kind::Unknown => &self.image,
        };
        match name {
            ProviderName::Replicate => &served.replicate,
            ProviderName::OpenAi => &served.openai,
            ProviderName::Fal => &served.fal,
        }
    }

    /// Returns the provider that has `job`.
    pub fn that_has(&self, job: &Job) -> &Provider {
        self.of(job.kind, job.provider)
    }
}

impl Provider {
    /// Returns which API it is.
    pub fn name(&self) -> ProviderName {
        self.config.name
    }

    /// Returns where it is, by the settings.
    pub fn base_url(&self) -> &Url {
        &self.config.base_url
    }

    /// Returns whether it can be asked for a job by our id.
    pub fn can_find(&self) -> bool {
        match self.config.name {
            ProviderName::Replicate => true,
            ProviderName::OpenAi | ProviderName::Fal => false,
        }
    }

    /// Sends one job, once. `go` is awaited when the body is due, and unless it is Ok the body is not written.
    pub async fn submit(
        &self,
        workflow: &WorkflowId,
        spec: &Spec,
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

    /// Holds that there is a key, where the provider is not asked without one.
    fn has_key(&self) -> Result<(), Error> {
        match (self.config.wants_key, &self.config.api_key) {
            (Some(variable), None) => Err(Error::NoKey {
                provider: self.config.name,
                variable,
            }),
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }

    /// Makes a submit of this body: `go` decides when it is due, and a request without its body is none.
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
        // A stream, because that is asked for when the connection stands and the head is about to be written.
        let body = futures::stream::once(async move {
            asked.store(true, Ordering::Release);
            go.await.map(|()| body)
        });
        let request = self
            .authorised(self.clients.submitting.post(url))
            .header(CONTENT_TYPE, "application/json")
            // No API promises to honour it; a proxy in between may.
            .header("idempotency-key", workflow.as_str())
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body));
        Sending { request, begun }
    }

    /// Looks at a job.
    ///
    /// # Errors
    /// When the provider could not be asked.
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

    /// Asks the provider to end a job; one that has ended already is fine.
    ///
    /// # Errors
    /// When the provider could not be asked.
    pub async fn cancel(&self, job: &Job) -> Result<(), Error> {
        self.has_key()?;
        match job.provider {
            ProviderName::Replicate => replicate::cancel(self, job).await,
            // Its API has no such call: the job runs on.
            ProviderName::OpenAi => Ok(()),
            ProviderName::Fal => fal::cancel(self, job).await,
        }
    }

    /// Looks for a job by our id among those made since `since` (milliseconds since the epoch).
    ///
    /// # Errors
    /// When the provider could not be asked.
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
        // Never empty-handed: the settings take no key that a header may not have.
        let mut value = HeaderValue::from_str(&format!("{scheme} {key}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn get(&self, url: impl reqwest::IntoUrl) -> reqwest::RequestBuilder {
        self.authorised(self.clients.asking.get(url))
    }

    /// Returns `path` below the base URL.
    fn at(&self, path: &str) -> String {
        format!(
            "{}/{path}",
            self.config.base_url.as_str().trim_end_matches('/')
        )
    }

    /// Returns `url` if it is the provider's own: the key goes nowhere else.
    fn own(&self, url: &str) -> Option<String> {
        if url.len() > LONGEST_URL {
            return None;
        }
        let parsed = Url::parse(url).ok()?;
        (parsed.origin() == self.config.base_url.origin()).then(|| url.to_owned())
    }
}
