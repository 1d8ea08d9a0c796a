//! The intake role: starts a workflow for each request record, and cancels or retries a run for each command
//! record. An invalid record is dead-lettered, and answered with REJECTED if its request id can be read.
//!
//! `Ok` means that a durable run with this content exists. A redelivered record finds that run and is a duplicate.

mod allowed;
mod commands;
mod failures;
mod inputs;
mod rate_limit;
mod refusals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::watch;

use self::allowed::Allowed;
pub use self::commands::Commands;
use self::failures::{of_avro, of_registry, of_temporal};
use self::inputs::Input;
pub use self::rate_limit::RateLimits;
use self::rate_limit::Refused;
use self::refusals::{keyed, too_old};
use crate::contract::avro;
use crate::contract::avro::Named;
use crate::contract::run::DefaultProviders;
use crate::contract::run::SubmitQueues;
use crate::contract::seal::Sealer;
use crate::domain::{ErrorCode, Event, EventError, EventType, Request, Spec, UserId, fingerprint};
use crate::engines::clock::now;
use crate::engines::config;
use crate::engines::config::Config;
use crate::engines::failpoint;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{BoxError, Cause, Failure, Handler, Rejection, Slot};
use crate::engines::publisher::Publisher;
use crate::engines::registry::Registry;
use crate::engines::telemetry::events;
use crate::engines::temporal::client::{Started, Temporal};
use crate::engines::temporal::queues::{fetch_queue, submit_queues};

/// Starts a workflow for each request.
pub struct Intake {
    temporal: Temporal,
    registry: Arc<Registry>,
    publisher: Publisher,
    sealer: Sealer,
    settings: config::Intake,
    fetch_queue: String,
    providers: DefaultProviders,
    submit_queues: SubmitQueues,
    window: watch::Receiver<Duration>,
    allowed: Allowed,
    limits: Option<Arc<RateLimits>>,
}

impl Intake {
    /// Creates the handler of `gen.requests`. A record older than `window` is refused.
    pub fn new(
        config: &Config,
        temporal: Temporal,
        registry: Arc<Registry>,
        publisher: Publisher,
        sealer: Sealer,
        window: watch::Receiver<Duration>,
        limits: Option<Arc<RateLimits>>,
    ) -> Self {
        Self {
            allowed: Allowed::new(config),
            limits,
            temporal,
            registry,
            publisher,
            sealer,
            settings: config.intake.clone(),
            fetch_queue: fetch_queue(&config.temporal.task_queue),
            providers: config.worker.default_providers(),
            submit_queues: submit_queues(config),
            window,
        }
    }

    async fn decode(&self, record: &Record) -> Result<Request, Failure> {
        let (writer, datum) = open(&self.registry, record).await?;
        let began = Instant::now();
        let request = avro::read_request(&writer, datum).map_err(|error| {
            self.denied(record, &error)
                .unwrap_or_else(|| of_avro(error))
        })?;
        events::request_decoded(began.elapsed());
        Ok(request)
    }

    /// Returns the failure if the API key of a record with an invalid request is missing or wrong.
    ///
    /// It is checked before the request's faults are reported: otherwise a producer without a key
    /// could make genflow notify any targets in the name of any user.
    fn denied(&self, record: &Record, error: &avro::Error) -> Option<Failure> {
        let avro::Error::Invalid { named, .. } = error else {
            return None;
        };
        let pass = self.settings.api_keys.check(record.api_key());
        let admitted = pass.and_then(|pass| match named {
            Some(named) => pass.admit(&named.user),
            None => Ok(()),
        });
        Some(admitted.err()?.into())
    }

    /// Returns why a record is refused, unless its request already runs.
    fn refused(&self, record: &Record, request: &Request) -> Option<Failure> {
        let pass = self.settings.api_keys.check(record.api_key());
        if let Err(denied) = pass.and_then(|pass| pass.admit(request.user.as_str())) {
            return Some(denied.into());
        }
        if let Err(failure) = keyed(record, &request.id) {
            return Some(failure);
        }
        if let Err(error) = self.allowed.check(&request.spec, request.timeout) {
            return Some(reject(ErrorCode::Invalid, error));
        }
        too_old(record, request.requested_at, *self.window.borrow(), now())
    }

    /// Returns the result for a record whose request id already has a workflow.
    fn known(&self, record: &Record, request: &Request, by: Started) -> Result<(), Failure> {
        let id = &request.id;
        match by {
            Started::New | Started::Duplicate => {
                events::request_repeated(&record.position, id, request.spec.kind());
                Ok(())
            }
            Started::Conflict => Err(reject(
                ErrorCode::RequestIdConflict,
                anyhow!("request_id {id} is taken by a request with different content"),
            )),
            Started::Claimed => Err(reject(
                ErrorCode::CancelledBeforeStart,
                anyhow!("request_id {id} was cancelled before the request arrived"),
            )),
        }
    }

    /// Returns what is readable of a refused record's request: at least its id, or `None`.
    async fn named(&self, record: &Record) -> Result<Option<(Named, Option<Request>)>, BoxError> {
        let (writer, datum) = match open(&self.registry, record).await {
            Ok(opened) => opened,
            Err(Failure::Reject(_)) => return Ok(None),
            Err(Failure::Retry(_, error)) => return Err(error),
        };
        Ok(match avro::read_request(&writer, datum) {
            Ok(request) => {
                let named = Named {
                    request: request.id.clone(),
                    user: request.user.as_str().to_owned(),
                    kind: request.spec.kind(),
                    targets: request.targets.clone(),
                    notify_on: request.notify_on.clone(),
                };
                Some((named, Some(request)))
            }
            Err(avro::Error::Invalid { named, .. }) => named.map(|named| (*named, None)),
            Err(avro::Error::Unframed(_) | avro::Error::Datum(_)) => None,
        })
    }

    fn rejected(
        &self,
        record: &Record,
        rejection: &Rejection,
        named: Named,
        request: Option<Request>,
    ) -> Result<Event, BoxError> {
        let notify = self.notify(&named.targets, &named.notify_on, named.request.as_str());
        let notify = notify.map_err(|failure| match failure {
            Failure::Retry(_, error) => error,
            Failure::Reject(rejection) => rejection.error,
        })?;
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
            notify,
            metadata: request.map(|request| request.metadata).unwrap_or_default(),
        })
    }
}

impl Handler for Intake {
    async fn handle(&self, record: &Record, slot: Slot<'_>) -> Result<(), Failure> {
        let request = self.decode(record).await?;
        let fingerprint = fingerprint(&request).map_err(internal)?;
        let refused = self.refused(record, &request);
        // A duplicate stays a duplicate, even if the record would be refused now, and takes no token.
        if refused.is_some() || self.limits.is_some() {
            let workflow = request.id.run(0);
            let known = self.temporal.known(&workflow, &fingerprint).await;
            match (known.map_err(of_temporal)?, refused) {
                (Some(Started::Duplicate), _) => {
                    return self.known(record, &request, Started::Duplicate);
                }
                (_, Some(refused)) => return Err(refused),
                (Some(known), None) => return self.known(record, &request, known),
                (None, None) => {
                    let limits = self.limits.as_deref();
                    wait_for_token(limits, &request.user, tokens(&request.spec), slot).await?;
                }
            }
        }
        let input = self.input(&request, &fingerprint, record.traceparent())?;
        let began = Instant::now();
        let (temporal, priority) = (&self.temporal, request.priority);
        let started = match &input {
            Input::Run(start) => temporal.start(start, priority).await,
            Input::Batch(start, items) => {
                let starting = temporal.start_batch(start, items, priority, &fingerprint);
                starting.await
            }
        };
        match started.map_err(of_temporal)? {
            Started::New => events::request_started(
                &record.position,
                &request.id,
                request.spec.kind(),
                began.elapsed(),
            ),
            known @ (Started::Duplicate | Started::Conflict | Started::Claimed) => {
                self.known(record, &request, known)?
            }
        }
        failpoint::hit("intake.started").await;
        Ok(())
    }

    async fn parked(&self, record: &Record, rejection: &Rejection) -> Result<(), BoxError> {
        let Some((named, request)) = self.named(record).await? else {
            return Ok(());
        };
        let events = [self.rejected(record, rejection, named, request)?];
        let publishing = self.publisher.publish(&events, record.traceparent());
        publishing.await?;
        failpoint::hit("intake.rejected").await;
        Ok(())
    }
}

/// Returns how many generations a request starts; each takes one token.
fn tokens(spec: &Spec) -> u32 {
    match spec {
        Spec::Single(_) => 1,
        Spec::Batch(batch) => u32::try_from(batch.items.len()).unwrap_or(u32::MAX),
    }
}

/// Waits until the user's rate limit admits the request. The record releases its slot meanwhile, so others can run.
async fn wait_for_token(
    limits: Option<&RateLimits>,
    user: &UserId,
    count: u32,
    slot: Slot<'_>,
) -> Result<(), Failure> {
    let Some(limits) = limits else {
        return Ok(());
    };
    match slot.without(limits.admit(user.as_str(), count)).await {
        Ok(()) => Ok(()),
        Err(Refused::After(_)) => {
            let limited = anyhow!("{limits}").context("the user is above its rate limit");
            Err(reject(ErrorCode::RateLimited, limited))
        }
        Err(stopped @ Refused::Stopped) => Err(Failure::Retry(Cause::Interrupted, stopped.into())),
    }
}

/// Returns the writer's schema and the datum of a record's value.
async fn open<'r>(
    registry: &Registry,
    record: &'r Record,
) -> Result<(Arc<apache_avro::Schema>, &'r [u8]), Failure> {
    let Some(value) = record.value.as_deref() else {
        return Err(reject(
            ErrorCode::Undecodable,
            anyhow!("the record has no value"),
        ));
    };
    let (id, datum) = avro::unframe(value).map_err(of_avro)?;
    let schema = registry.schema(id).await;
    Ok((schema.map_err(of_registry)?, datum))
}

fn reject(reason: ErrorCode, error: anyhow::Error) -> Failure {
    Failure::Reject(Rejection::new(reason, error))
}

fn internal(error: impl Into<BoxError>) -> Failure {
    Failure::Retry(Cause::Internal, error.into())
}

/// Returns whether the same request may be accepted if it is sent again later.
fn is_retryable(reason: ErrorCode) -> bool {
    matches!(
        reason,
        ErrorCode::RateLimited | ErrorCode::StartRefused | ErrorCode::UnknownSchema
    )
}
