//! Handles commands. They have their own consumer, so that back-pressure on requests never delays a cancel.

use std::sync::Arc;

use anyhow::anyhow;

use super::allowed::Allowed;
use super::failures::{of_avro, of_temporal};
use super::rate_limit::RateLimits;
use super::{keyed, open, reject, wait_for_token};
use crate::contract::avro;
use crate::contract::run::Start;
use crate::contract::run::SubmitQueues;
use crate::contract::run::{DefaultProviders, Steps};
use crate::domain::{Action, Command, ErrorCode, Spec};
use crate::engines::config::Config;
use crate::engines::config::api_keys::{ApiKeys, Denied, Pass};
use crate::engines::failpoint;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{BoxError, Failure, Handler, Rejection, Slot};
use crate::engines::registry::Registry;
use crate::engines::telemetry::events;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::queues::{fetch_queue, submit_queues};
use crate::engines::temporal::request_runs::Cancelled;
use crate::engines::temporal::retries::{Retried, Retry, Unretryable};

/// Limit on the characters of a reason; the rest is cut off.
const LONGEST_REASON: usize = 1_000;

/// Handles the records of `gen.commands`.
pub struct Commands {
    temporal: Temporal,
    registry: Arc<Registry>,
    api_keys: ApiKeys,
    steps: Steps,
    fetch_queue: String,
    providers: DefaultProviders,
    submit_queues: SubmitQueues,
    allowed: Allowed,
    limits: Option<Arc<RateLimits>>,
}

impl Commands {
    /// Creates the handler of `gen.commands`.
    pub fn new(
        config: &Config,
        temporal: Temporal,
        registry: Arc<Registry>,
        limits: Option<Arc<RateLimits>>,
    ) -> Self {
        Self {
            allowed: Allowed::new(config),
            limits,
            temporal,
            registry,
            api_keys: config.intake.api_keys.clone(),
            steps: config.intake.steps,
            fetch_queue: fetch_queue(&config.temporal.task_queue),
            providers: config.worker.default_providers(),
            submit_queues: submit_queues(config),
        }
    }

    async fn cancel(&self, command: &Command, pass: &Pass) -> Result<&'static str, Failure> {
        let reason = command.reason.as_deref().unwrap_or("cancelled by command");
        let cancelled = self
            .temporal
            .cancel(&command.request, reason, pass.only())
            .await
            .map_err(of_temporal)?;
        match cancelled {
            Cancelled::Asked => Ok("asked"),
            Cancelled::Over => Ok("over"),
            Cancelled::Claimed => Ok("claimed"),
            Cancelled::OthersRun => Err(Denied::OtherUser.into()),
            Cancelled::Foreign(kind) => {
                let problem = anyhow!(
                    "request_id {} belongs to a workflow of type {kind}, which genflow does not own",
                    command.request
                );
                Err(reject(ErrorCode::Invalid, problem))
            }
        }
    }

    /// Runs a request again, unless there is nothing to do.
    ///
    /// A request that cannot run again is dead-lettered: as `cancelled_before_start` if its id is claimed, as its
    /// request would be, and otherwise as `invalid`, because the command is at fault. `start_refused` would count as
    /// a fault of the system, and a series of them would blow the DLQ fuse of this consumer and hold every CANCEL.
    async fn retry(
        &self,
        command: &Command,
        pass: &Pass,
        traceparent: Option<&str>,
        slot: Slot<'_>,
    ) -> Result<&'static str, Failure> {
        // The retry refuses an unknown id anyway.
        if let Some(only) = pass.only()
            && let user = self.temporal.user(&command.request.run(0)).await
            && user.map_err(of_temporal)?.is_some_and(|user| user != only)
        {
            return Err(Denied::OtherUser.into());
        }
        let retry = Retry {
            request: &command.request,
            command: &command.id,
            reason: command.reason.as_deref(),
            traceparent,
            steps: self.steps,
            fetch_queue: &self.fetch_queue,
            providers: self.providers,
            submit_queues: &self.submit_queues,
        };
        // A retry is paid for like a request, so the same limits apply.
        let admit = |start: Start| async move {
            let allowed = self.allowed.check(&Spec::Single(start.spec), None);
            allowed.map_err(|error| reject(ErrorCode::Invalid, error))?;
            wait_for_token(self.limits.as_deref(), &start.user, 1, slot).await
        };
        let retried = self.temporal.retry(&retry, admit).await;
        match retried.map_err(of_temporal)? {
            Retried::Started => Ok("started"),
            Retried::Repeated => Ok("duplicate"),
            Retried::Running => Ok("running"),
            Retried::Completed => Ok("completed"),
            Retried::NotAdmitted(failure) => Err(failure),
            Retried::Refused(refused) => {
                let reason = match &refused {
                    Unretryable::Claimed(_) => ErrorCode::CancelledBeforeStart,
                    Unretryable::Unknown(_)
                    | Unretryable::Other(..)
                    | Unretryable::Foreign(..)
                    | Unretryable::Unreadable(..) => ErrorCode::Invalid,
                };
                Err(reject(reason, refused.into()))
            }
        }
    }
}

impl Handler for Commands {
    async fn handle(&self, record: &Record, slot: Slot<'_>) -> Result<(), Failure> {
        let (writer, datum) = open(&self.registry, record).await?;
        let mut command = avro::read_command(&writer, datum).map_err(of_avro)?;
        // A reason may be as long as a record, and workflows carry it.
        command.reason = command
            .reason
            .map(|it| it.chars().take(LONGEST_REASON).collect());
        let pass = self.api_keys.check(record.api_key())?;
        keyed(record, &command.request)?;
        let outcome = match command.action {
            Action::Cancel => self.cancel(&command, &pass).await?,
            Action::Retry => {
                let traceparent = record.traceparent();
                self.retry(&command, &pass, traceparent, slot).await?
            }
        };
        failpoint::hit("commands.started").await;
        events::command_handled(&record.position, command.action, outcome);
        Ok(())
    }

    async fn parked(&self, _: &Record, _: &Rejection) -> Result<(), BoxError> {
        Ok(())
    }
}
