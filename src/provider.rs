//! The outside APIs: submit a job, look at it, end it, find it by our id.
//!
//! A closed set, matched here and nowhere else. What matters most is what is *known* after a submit that went wrong:
//! [`Submission::NotAccepted`] and [`Submission::Refused`] promise that nobody will pay, anything less is
//! [`Submission::Unknown`] (contract, promise 3).

mod replicate;

use std::time::Duration;

use reqwest::Client;
use url::Url;

use crate::config;
use crate::domain::{EventError, Kind, ProviderName, Spec, WorkflowId};
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

    /// Sends one job, once.
    pub async fn submit(&self, workflow: &WorkflowId, spec: &Spec) -> Submission {
        match self.config.name {
            ProviderName::Replicate => replicate::submit(self, workflow, spec).await,
        }
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
