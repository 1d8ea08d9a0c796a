//! Builds the input of a request's workflow: notification targets sealed, deadlines filled in, and
//! small enough for the Temporal server.

use anyhow::anyhow;

use super::Intake;
use super::failures::{internal, reject};
use crate::contract::batch_items;
use crate::contract::batch_items::Items;
use crate::contract::run::{BatchStart, Start};
use crate::contract::seal;
use crate::domain::time::millis;
use crate::domain::{
    BatchSpec, ErrorCode, EventType, ItemCounts, Journal, Media, Notify, Request, RequestId, Spec,
    Targets,
};
use crate::engines::kafka::consumer::Failure;
use crate::engines::kafka::new_trace;
use crate::engines::temporal::queues::{fetch_queue, submit_queues};

pub(super) enum WorkflowInput {
    Run(Start),
    /// The input of a batch, and its encoded items.
    Batch(BatchStart, Vec<u8>),
}

/// Limit on a run's input in bytes. Activity inputs carry its parts together with the unconfirmed
/// events, and the server accepts 2 MB per payload.
const LARGEST_INPUT: usize = 1_000_000;
/// Limit on the input of a batch, start and items together; higher, because items and events are in separate payloads.
const LARGEST_BATCH: usize = 2_000_000;

impl Intake {
    pub(super) fn input(
        &self,
        request: &Request,
        fingerprint: &str,
        traceparent: Option<&str>,
    ) -> Result<WorkflowInput, Failure> {
        let spec = match &request.spec {
            Spec::Single(single) => single,
            Spec::Batch(batch) => return self.batch(request, batch, traceparent),
        };
        let config = &self.shared.config;
        let timeout = request.timeout.unwrap_or(match spec.media() {
            Media::Image => config.intake.image_timeout,
            Media::Video => config.intake.video_timeout,
        });
        let provider = config.worker.default_providers().of(spec);
        let start = Start {
            request: request.id.clone(),
            retry: 0,
            batch: None,
            user: request.user.clone(),
            spec: spec.clone(),
            provider,
            fallback: config
                .worker
                .fallbacks()
                .of(spec, provider, &submit_queues(config)),
            fingerprint: fingerprint.to_owned(),
            metadata: request.metadata.clone(),
            notify: self
                .notify(&request.targets, &request.notify_on, &request.id)
                .map_err(internal)?,
            timeout_ms: millis(timeout),
            steps: config.intake.steps,
            fetch_queue: fetch_queue(&config.temporal.task_queue),
            submit_queue: submit_queues(config).of(provider),
            traceparent: Some(traceparent.map_or_else(new_trace, str::to_owned)),
            journal: Journal::default(),
        };
        bounded("the request", start.weight(), LARGEST_INPUT)?;
        Ok(WorkflowInput::Run(start))
    }

    fn batch(
        &self,
        request: &Request,
        spec: &BatchSpec,
        traceparent: Option<&str>,
    ) -> Result<WorkflowInput, Failure> {
        let config = &self.shared.config;
        let start = BatchStart {
            request: request.id.clone(),
            user: request.user.clone(),
            metadata: request.metadata.clone(),
            notify: self
                .notify(&request.targets, &request.notify_on, &request.id)
                .map_err(internal)?,
            notify_on: request.notify_on.clone(),
            timeout_ms: millis(request.timeout.unwrap_or(config.intake.batch_timeout)),
            image_timeout_ms: millis(config.intake.image_timeout),
            video_timeout_ms: millis(config.intake.video_timeout),
            progress_every_ms: millis(config.intake.batch_progress_interval),
            segment: config.intake.batch_segment,
            steps: config.intake.steps,
            fetch_queue: fetch_queue(&config.temporal.task_queue),
            providers: config.worker.default_providers(),
            submit_queues: submit_queues(config),
            fallbacks: config.worker.fallbacks(),
            traceparent: Some(traceparent.map_or_else(new_trace, str::to_owned)),
            counts: ItemCounts {
                total: u32::try_from(spec.items.len()).unwrap_or(u32::MAX),
                ..ItemCounts::default()
            },
            started_at: None,
            journal: Journal::default(),
        };
        let items = batch_items::write(request, spec, &self.sealer).map_err(internal)?;
        let size = items.len() + serde_json::to_vec(&start).map_err(internal)?.len();
        bounded("the batch", size, LARGEST_BATCH)?;
        // Checks the input of each item as its run will receive it, before anything is paid.
        let read = Items::read(&items).map_err(internal)?;
        for (index, _) in (0..).zip(&spec.items) {
            let item = read.start(&start, index).ok_or_else(|| {
                internal(anyhow!("item {index} is missing from the encoded batch"))
            })?;
            bounded(
                &format!("item {}", item.request),
                item.weight(),
                LARGEST_INPUT,
            )?;
        }
        Ok(WorkflowInput::Batch(start, items))
    }

    /// Returns the sealed targets and their event types; `None` if the request sets neither.
    pub(super) fn notify(
        &self,
        targets: &Targets,
        on: &[EventType],
        id: &RequestId,
    ) -> Result<Option<Notify>, seal::Error> {
        // The operator's own targets follow `notify_on` too, so it is carried even without targets
        // if it is not the default.
        if targets.is_empty() && EventType::are_default(on) {
            return Ok(None);
        }
        let sealed = self.sealer.seal(targets, id.as_str())?;
        Ok(Some(Notify {
            on: on.to_vec(),
            sealed,
        }))
    }
}

fn bounded(what: &str, size: usize, maximum: usize) -> Result<(), Failure> {
    if size <= maximum {
        return Ok(());
    }
    let problem = anyhow!("the workflow's input would have {size} bytes").context(format!(
        "{what} is too large, expected at most {maximum} bytes with what genflow adds"
    ));
    Err(reject(ErrorCode::Invalid, problem))
}
