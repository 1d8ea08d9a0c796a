//! The outside APIs: submit a job, look at it, end it, find it by our id.
//!
//! A closed set, matched here and nowhere else. What matters most is what is *known* after a submit that went wrong:
//! [`Submission::NotAccepted`] and [`Submission::Refused`] promise that nobody will pay, anything less is
//! [`Submission::Unknown`] (contract, promise 3).

mod replicate;

use std::time::Duration;

use reqwest::Client;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use url::Url;

use crate::config;
use crate::domain::{ErrorCode, EventError, Kind, ProviderName, Spec, WorkflowId};
use crate::http;
use crate::temporal::steps::Job;

/// The configured providers.
#[derive(Debug)]
pub struct Providers {
    video: Provider,
    image: Provider,
}

/// One outside API, as configured.
#[derive(Debug)]
pub struct Provider {
    config: config::Provider,
    kind: Kind,
    /// Opens a new connection each time: a connection that was closed meanwhile cannot blur what was sent.
    submitting: Client,
    asking: Client,
}

/// What is known after a submit was sent, or was to be sent.
#[derive(Debug)]
pub enum Submission {
    /// The provider took the job.
    Accepted(Job),
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

/// What a job does.
#[derive(Debug)]
pub enum Poll {
    /// Not done yet.
    Running {
        /// The provider's word for it.
        stage: String,
        /// 0 to 100, if it tells.
        percent: Option<i32>,
    },
    /// Done.
    Succeeded {
        /// Where its files are.
        outputs: Vec<Url>,
        /// What it says it costs.
        cost_usd: Option<f64>,
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
}

/// Why a body was not written: this attempt may not send any more, or the server did not say that it may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the attempt is not known to be the current one")]
pub struct NotCurrent;

/// Says what is known of a submit that was not answered.
fn unanswered(error: &reqwest::Error) -> Submission {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(stale) = inner.downcast_ref::<NotCurrent>() {
            return Submission::Withheld(*stale);
        }
        cause = inner.source();
    }
    if error.is_connect() || error.is_builder() {
        // No byte of the request was written.
        let error = EventError::new(
            ErrorCode::ProviderFailed,
            &format!("not connected: {error}"),
            true,
        );
        return Submission::NotAccepted { error, after: None };
    }
    Submission::Unknown(format!("the submit was not answered: {error}"))
}

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a submit may take: some providers answer only when the job has begun.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(120);

impl Providers {
    /// Makes the configured providers; calls none.
    ///
    /// # Errors
    /// When an HTTP client cannot be built.
    pub fn new(config: &config::Worker) -> Result<Self, reqwest::Error> {
        Ok(Self {
            video: Provider::new(&config.video, Kind::Video)?,
            image: Provider::new(&config.image, Kind::Image)?,
        })
    }

    /// Returns the provider that serves `kind`.
    pub fn of(&self, kind: Kind) -> &Provider {
        match kind {
            Kind::Video => &self.video,
            Kind::Image | Kind::Batch | Kind::Unknown => &self.image,
        }
    }
}

impl Provider {
    fn new(config: &config::Provider, kind: Kind) -> Result<Self, reqwest::Error> {
        Ok(Self {
            config: config.clone(),
            kind,
            submitting: http::client()
                .pool_max_idle_per_host(0)
                .timeout(SUBMIT_TIMEOUT)
                .build()?,
            asking: http::client().timeout(CALL_TIMEOUT).build()?,
        })
    }

    /// Returns which API it is.
    pub fn name(&self) -> ProviderName {
        self.config.name
    }

    /// Returns where it is; its host may serve results.
    pub fn base_url(&self) -> &Url {
        &self.config.base_url
    }

    /// Sends one job, once. `go` is awaited when the body is due, and unless it is Ok the body is not written.
    pub async fn submit(
        &self,
        workflow: &WorkflowId,
        spec: &Spec,
        go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
    ) -> Submission {
        match self.config.name {
            ProviderName::Replicate => replicate::submit(self, workflow, spec, go).await,
        }
    }

    /// Makes a submit of this body: `go` decides when it is due, and a request without its body is none.
    fn submitting(
        &self,
        url: String,
        body: Vec<u8>,
        go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
    ) -> reqwest::RequestBuilder {
        let length = body.len();
        // A stream, because that is asked for when the connection stands and the head is on its way.
        let body = futures::stream::once(async move { go.await.map(|()| body) });
        self.authorised(self.submitting.post(url))
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body))
    }

    /// Looks at a job.
    ///
    /// # Errors
    /// When the provider could not be asked.
    pub async fn poll(&self, job: &Job) -> Result<Poll, Error> {
        match job.provider {
            ProviderName::Replicate => replicate::poll(self, job).await,
        }
    }

    /// Asks the provider to end a job; one that has ended already is fine.
    ///
    /// # Errors
    /// When the provider could not be asked.
    pub async fn cancel(&self, job: &Job) -> Result<(), Error> {
        match job.provider {
            ProviderName::Replicate => replicate::cancel(self, job).await,
        }
    }

    /// Looks for a job by our id among those made since `since` (milliseconds since the epoch).
    ///
    /// # Errors
    /// When the provider could not be asked.
    pub async fn find(&self, workflow: &WorkflowId, since: i64) -> Result<Option<Job>, Error> {
        match self.config.name {
            ProviderName::Replicate => replicate::find(self, workflow, since).await,
        }
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.config.api_key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        }
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
        let parsed = Url::parse(url).ok()?;
        (parsed.origin() == self.config.base_url.origin()).then(|| url.to_owned())
    }
}
