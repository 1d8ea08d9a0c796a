//! Submits a job: sends it at most once, and returns what is known about it then.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Map, Value};
use tracing::Instrument as _;

use super::answer::{HttpAnswer, Said, judge};
use super::submission::{Draft, NotCurrent, Submission};
use super::{Provider, described, fal, openai, replicate};
use crate::domain::{ErrorCode, EventError, Single};
use crate::engines::config::Protocol;
use crate::engines::telemetry::spans;

impl Provider {
    /// Sends a job with this input at most once, and counts it; `key` is our id of it, `left` the time until its
    /// deadline, `callback` the URL to call when it has ended. Awaits `go` when the body is due, and writes the body only
    /// if `go` is Ok.
    pub async fn submit(
        &self,
        key: &str,
        spec: &Single,
        input: Map<String, Value>,
        left: Duration,
        callback: Option<&str>,
        go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
    ) -> Submission {
        let began = Instant::now();
        let span = spans::provider_step(self.config.name, "submit");
        let submitting = async {
            let mut draft = match self.draft(key, spec, input, left) {
                Ok(draft) => draft,
                Err(undrafted) => return undrafted,
            };
            if let Some(url) = callback {
                self.ask_to_call(url, &mut draft);
            }
            let max_bytes = draft.max_answer;
            match self.send(key, draft, go).await {
                Ok(response) => {
                    let accepted = |answer: &HttpAnswer| self.accepted(spec, answer);
                    judge(response, max_bytes, accepted, |body| self.said(body)).await
                }
                Err(unanswered) => unanswered,
            }
        };
        let mut submission = submitting.instrument(span.clone()).await;
        if let Submission::Accepted(job) = &mut submission {
            job.called_back = callback.is_some();
        }
        let outcome = match &submission {
            Submission::Accepted(_) | Submission::Made(_) => "ok",
            Submission::Refused(_) | Submission::Declined(_) => "refused",
            Submission::NotAccepted { .. } => "not_accepted",
            Submission::Unknown(_) => "unknown",
            Submission::Withheld(_) => "withheld",
        };
        if outcome != "ok" {
            span.in_scope(|| spans::failed(outcome));
        }
        self.report("submit", outcome, began);
        submission
    }

    fn draft(
        &self,
        key: &str,
        spec: &Single,
        input: Map<String, Value>,
        left: Duration,
    ) -> Result<Draft, Submission> {
        self.may_submit().map_err(Submission::Declined)?;
        let draft = match &self.config.protocol {
            Protocol::Replicate => replicate::draft(self, key, spec, input, left),
            Protocol::OpenAi => openai::draft(self, key, spec, input),
            Protocol::Fal => fal::draft(self, spec, input),
            Protocol::Described(api) => described::draft(self, api, key, spec, &input),
            Protocol::Unknown => Err(self.not_configured().to_string()),
        };
        let invalid = |problem: String| EventError::new(ErrorCode::InvalidRequest, &problem, false);
        draft.map_err(|problem| Submission::Refused(invalid(problem)))
    }

    /// Adds the URL that the provider is to call when the job has ended.
    fn ask_to_call(&self, url: &str, draft: &mut Draft) {
        match self.config.protocol {
            Protocol::Replicate => replicate::ask_to_call(url, draft),
            Protocol::Fal => fal::ask_to_call(url, draft),
            // They send no callbacks.
            Protocol::OpenAi | Protocol::Described(_) | Protocol::Unknown => {}
        }
    }

    /// Sends a draft and waits for the head of the answer; otherwise returns what is known without one.
    ///
    /// `go` decides whether the body is written. Without its body the request is incomplete, so no server acts on it.
    async fn send(
        &self,
        key: &str,
        draft: Draft,
        go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
    ) -> Result<Response, Submission> {
        let body = draft.body.to_string().into_bytes();
        let length = body.len();
        // Set when hyper asks for the body. hyper does so before it writes the first byte of a request, so as long as
        // this is unset, no byte was written.
        let begun = Arc::new(AtomicBool::new(false));
        let asked = begun.clone();
        // A stream, because hyper polls it only when the connection is established and the head is about to be written.
        let body = futures::stream::once(async move {
            asked.store(true, Ordering::Release);
            go.await.map(|()| body)
        });
        let mut request = self
            .authorised(self.clients.submitting.post(draft.url))
            .header(CONTENT_TYPE, "application/json")
            // No provider promises to honour it; a proxy in between may.
            .header("idempotency-key", key)
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body));
        if let Some((name, value)) = draft.header {
            request = request.header(name, value);
        }
        let (client, request) = request.build_split();
        let sent = match request {
            Ok(request) => spans::http(&client, request).await,
            Err(unbuilt) => Err(unbuilt),
        };
        // Without the URL: its host may be internal, and this text reaches users.
        sent.map_err(|error| unanswered(&error.without_url(), begun.load(Ordering::Acquire)))
    }

    /// Reads a 2xx.
    fn accepted(
        &self,
        spec: &Single,
        answer: &HttpAnswer,
    ) -> Result<Submission, serde_json::Error> {
        match &self.config.protocol {
            // A draft of an unknown protocol is never sent.
            Protocol::Replicate | Protocol::Unknown => replicate::accepted(self, answer),
            Protocol::OpenAi => openai::accepted(self, spec, answer),
            Protocol::Fal => fal::accepted(self, spec, answer),
            Protocol::Described(api) => described::accepted(self, api, answer),
        }
    }

    /// Reads the body of any other answer.
    fn said(&self, body: &[u8]) -> Said {
        match &self.config.protocol {
            Protocol::Replicate | Protocol::Unknown => replicate::said(body),
            Protocol::OpenAi => openai::said(body),
            Protocol::Fal => fal::said(body),
            Protocol::Described(api) => described::said(api, body),
        }
    }
}

/// Classifies a submit without an answer. If `begun` is false, no byte of it was written.
fn unanswered(error: &reqwest::Error, begun: bool) -> Submission {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
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
