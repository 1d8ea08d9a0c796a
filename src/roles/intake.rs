//! The intake role: starts a workflow for each request record, and cancels or retries a run for each command
//! record. A refused record is dead-lettered; a refused request is also answered with REJECTED if its id can be read.
//!
//! For a request, `Ok` means that a durable run with this content exists. A redelivered record finds that run and is a
//! duplicate.

pub(crate) mod allowed;
mod commands;
mod decision;
pub mod dedup_window;
mod failures;
mod inputs;
mod rate_limit;
mod refusals;
mod shared;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::Instrument as _;

use self::allowed::Allowed;
pub use self::commands::Commands;
use self::decision::{Decision, decide};
use self::failures::{internal, of_avro, of_publisher, of_temporal, reject};
use self::inputs::WorkflowInput;
pub use self::rate_limit::RateLimits;
use self::refusals::{check_age, check_key};
pub use self::shared::Shared;
use crate::contract::avro;
use crate::contract::avro::PartialRequest;
use crate::contract::seal;
use crate::contract::seal::Sealer;
use crate::domain::time::span;
use crate::domain::{ErrorCode, Event, EventError, EventType, Request, Spec, fingerprint};
use crate::engines::clock::now;
use crate::engines::config::api_keys::Denied;
use crate::engines::failpoint;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{
    BoxError, Cause, Failed, Failure, Handler, Rejection, Slots,
};
use crate::engines::publisher::Publisher;
use crate::engines::telemetry::{events, spans};
use crate::workflows::{batch, generation};

type Metadata = BTreeMap<String, String>;

/// Handles the records of `gen.requests`: starts a workflow for each request.
pub struct Intake {
    pub shared: Shared,
    pub publisher: Publisher,
    pub sealer: Sealer,
    /// The dedup window: an older record is refused.
    pub window: watch::Receiver<Duration>,
}

impl Intake {
    async fn decode(&self, record: &Record) -> Result<Request, Failure> {
        let (writer, datum) = self.shared.open(record).await?;
        let began = Instant::now();
        let request = avro::read_request(&writer, datum).map_err(|error| {
            // The API key is checked before the request's faults are reported: otherwise a producer without a key could
            // make genflow notify any targets in the name of any user.
            if let avro::Error::Invalid { named, .. } = &error {
                let user = named.as_ref().map(|named| named.user.as_str());
                if let Err(denied) = self.authorize(record, user) {
                    return denied.into();
                }
            }
            of_avro(error)
        })?;
        events::request_decoded(began.elapsed());
        Ok(request)
    }

    /// Checks the record's API key, for `user` if it is known.
    fn authorize(&self, record: &Record, user: Option<&str>) -> Result<(), Denied> {
        let api_keys = &self.shared.config.intake.api_keys;
        let pass = api_keys.check(record.api_key())?;
        user.map_or(Ok(()), |user| pass.admit(user))
    }

    /// Checks a record with a valid value; the failure does not apply if the record is a duplicate.
    fn check(&self, record: &Record, request: &Request) -> Result<(), Failure> {
        self.authorize(record, Some(request.user.as_str()))?;
        check_key(record, &request.id)?;
        let allowed = Allowed(&self.shared.config).check(&request.spec, request.timeout);
        allowed.map_err(|error| reject(ErrorCode::Invalid, error))?;
        check_age(record, request.requested_at, *self.window.borrow(), now())
    }

    /// Returns what can be read of a refused record's request, with its metadata; `None` if not even its id can.
    async fn named(&self, record: &Record) -> Result<Option<(PartialRequest, Metadata)>, Failed> {
        let (writer, datum) = match self.shared.open(record).await {
            Ok(opened) => opened,
            Err(Failure::Reject(_)) => return Ok(None),
            Err(Failure::Retry(cause, error)) => return Err((cause, error)),
        };
        Ok(match avro::read_request(&writer, datum) {
            Ok(request) => {
                let named = PartialRequest {
                    kind: request.spec.kind(),
                    request: request.id,
                    user: request.user.as_str().to_owned(),
                    targets: request.targets,
                    notify_on: request.notify_on,
                };
                Some((named, request.metadata))
            }
            Err(avro::Error::Invalid { named, .. }) => {
                named.map(|named| (*named, Metadata::default()))
            }
            Err(avro::Error::Unframed(_) | avro::Error::LeftOver | avro::Error::Datum(_)) => None,
        })
    }

    /// Returns the `REJECTED` event that answers a record.
    fn rejected(
        &self,
        record: &Record,
        rejection: &Rejection,
        named: PartialRequest,
        metadata: Metadata,
    ) -> Result<Event, seal::Error> {
        Ok(Event {
            event_id: Event::rejection_id(&record.position, rejection.reason),
            request_id: named.request.to_string(),
            retry: 0,
            sequence: -1,
            batch_id: None,
            user_id: named.user,
            kind: named.kind,
            event_type: EventType::Rejected,
            // The record's time, not the clock's, so that a repeated event has the same content.
            occurred_at: record.timestamp.unwrap_or_default(),
            workflow_id: None,
            run_id: None,
            progress: None,
            result: None,
            batch: None,
            error: Some(EventError::new(
                rejection.reason,
                &rejection.error.to_string(),
                is_retryable(rejection.reason),
            )),
            record: Some(record.position.clone()),
            notify: self.notify(&named.targets, &named.notify_on, &named.request)?,
            metadata,
            tried: Vec::new(),
        })
    }
}

impl Handler for Intake {
    async fn handle(&self, record: &Record, slots: &Slots) -> Result<(), Failure> {
        let request = self.decode(record).await?;
        spans::of_request(request.id.as_str());
        let fingerprint = fingerprint(&request).map_err(internal)?;
        let refusal = self.check(record, &request).err();
        // A duplicate is not refused and takes no token, so it is looked up first.
        if refusal.is_some() || self.shared.limits.is_some() {
            let workflow = request.id.run(0);
            let known = self.shared.temporal.known(&workflow, &fingerprint).await;
            match decide(known.map_err(of_temporal)?, refusal, &request.id)? {
                Decision::Repeat => {
                    report_repeat(record, &request);
                    return Ok(());
                }
                Decision::Start => {
                    let count = tokens(&request.spec);
                    self.shared.admit(&request.user, count, slots).await?;
                }
            }
        }
        let starting_span =
            spans::start_workflow(workflow_type(&request.spec), request.id.as_str());
        let trace = starting_span.in_scope(|| spans::traceparent(record.traceparent()));
        let input = self.input(&request, &fingerprint, trace.as_deref())?;
        let began = Instant::now();
        let (temporal, priority) = (&self.shared.temporal, request.priority);
        let starting = async {
            let started = match &input {
                WorkflowInput::Run(start) => temporal.start(start, priority).await,
                WorkflowInput::Batch(start, items) => {
                    let starting = temporal.start_batch(start, items, priority, &fingerprint);
                    starting.await
                }
            };
            started.inspect_err(|_| spans::failed("not_started"))
        };
        let started = starting.instrument(starting_span).await;
        match decide(Some(started.map_err(of_temporal)?), None, &request.id)? {
            Decision::Repeat => report_repeat(record, &request),
            Decision::Start => events::request_started(
                &record.position,
                &request.id,
                request.spec.kind(),
                began.elapsed(),
                record.timestamp.map(|produced| span(produced, now())),
            ),
        }
        failpoint::hit("intake.started").await;
        Ok(())
    }

    async fn dead_lettered(&self, record: &Record, rejection: &Rejection) -> Result<(), Failed> {
        let Some((named, metadata)) = self.named(record).await? else {
            return Ok(());
        };
        let rejected = self.rejected(record, rejection, named, metadata);
        let events = [rejected.map_err(|error| (Cause::Internal, BoxError::from(error)))?];
        let publishing = self.publisher.publish(&events, record.traceparent());
        publishing.await.map_err(of_publisher)?;
        failpoint::hit("intake.rejected").await;
        Ok(())
    }
}

fn workflow_type(spec: &Spec) -> &'static str {
    match spec {
        Spec::Single(_) => generation::NAME,
        Spec::Batch(_) => batch::NAME,
    }
}

/// Returns how many generations a request starts; each takes one token.
fn tokens(spec: &Spec) -> u32 {
    match spec {
        Spec::Single(_) => 1,
        Spec::Batch(batch) => u32::try_from(batch.items.len()).unwrap_or(u32::MAX),
    }
}

fn report_repeat(record: &Record, request: &Request) {
    events::request_repeated(&record.position, &request.id, request.spec.kind());
}

/// Returns whether the same request may be accepted if it is sent again later.
fn is_retryable(reason: ErrorCode) -> bool {
    matches!(
        reason,
        ErrorCode::RateLimited | ErrorCode::StartRefused | ErrorCode::UnknownSchema
    )
}
