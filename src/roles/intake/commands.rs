//! Handles commands. They have their own consumer, so that back-pressure on requests never delays a cancel.

use anyhow::anyhow;

use super::allowed::Allowed;
use super::failures::{of_avro, of_temporal, reject};
use super::refusals::check_key;
use super::shared::Shared;
use crate::contract::avro;
use crate::contract::run::Start;
use crate::domain::{Action, Command, ErrorCode, Spec};
use crate::engines::config::api_keys::{Denied, Pass};
use crate::engines::failpoint;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{Failure, Handler, Slots};
use crate::engines::telemetry::{events, spans};
use crate::engines::temporal::queues::{fetch_queue, submit_queues};
use crate::engines::temporal::request_runs::Cancelled;
use crate::engines::temporal::retries::{Retried, Retry, Unretryable};

/// Limit on the characters of a reason; the rest is cut off.
const LONGEST_REASON: usize = 1_000;

/// Handles the records of `gen.commands`.
pub struct Commands(pub Shared);

impl Commands {
    async fn cancel(&self, command: &Command, pass: &Pass) -> Result<&'static str, Failure> {
        let reason = command.reason.as_deref().unwrap_or("cancelled by command");
        let Self(Shared { temporal, .. }) = self;
        let cancelled = temporal.cancel(&command.request, reason, pass.only()).await;
        match cancelled.map_err(of_temporal)? {
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
    /// The command is dead-lettered if its request cannot run again: as `cancelled_before_start` if the id is claimed
    /// (as the request itself would be), and otherwise as `invalid`, because the command is at fault. `start_refused`
    /// would count as a fault of the system, and a series of them would blow the DLQ fuse of this consumer and hold
    /// every CANCEL.
    async fn retry(
        &self,
        command: &Command,
        pass: &Pass,
        traceparent: Option<&str>,
        slots: &Slots,
    ) -> Result<&'static str, Failure> {
        let Self(shared) = self;
        let config = &shared.config;
        // The retry refuses an unknown id anyway.
        if let Some(only) = pass.only()
            && let user = shared.temporal.user(&command.request.run(0)).await
            && user.map_err(of_temporal)?.is_some_and(|user| user != only)
        {
            return Err(Denied::OtherUser.into());
        }
        let retry = Retry {
            request: &command.request,
            command: &command.id,
            reason: command.reason.as_deref(),
            traceparent,
            steps: config.intake.steps,
            fetch_queue: &fetch_queue(&config.temporal.task_queue),
            providers: config.worker.default_providers(),
            submit_queues: &submit_queues(config),
            fallbacks: &config.worker.fallbacks(),
        };
        // A retry costs as much as a request, so the same limits apply.
        let admit = |start: Start| async move {
            let allowed = Allowed(config).check(&Spec::Single(start.spec), None);
            allowed.map_err(|error| reject(ErrorCode::Invalid, error))?;
            shared.admit(&start.user, 1, slots).await
        };
        let retried = Box::pin(shared.temporal.retry(&retry, admit)).await;
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
    async fn handle(&self, record: &Record, slots: &Slots) -> Result<(), Failure> {
        let (writer, datum) = self.0.open(record).await?;
        let mut command = avro::read_command(&writer, datum).map_err(of_avro)?;
        // A reason may be as long as a record, and workflows carry it.
        command.reason = command
            .reason
            .map(|it| it.chars().take(LONGEST_REASON).collect());
        spans::of_request(command.request.as_str());
        let pass = self.0.config.intake.api_keys.check(record.api_key())?;
        check_key(record, &command.request)?;
        let outcome = match command.action {
            Action::Cancel => self.cancel(&command, &pass).await?,
            Action::Retry => {
                // A retry without a trace of its own stays in that of the first run.
                let own = record.traceparent();
                let trace = own.and_then(|own| spans::traceparent(Some(own)));
                Box::pin(self.retry(&command, &pass, trace.as_deref(), slots)).await?
            }
        };
        failpoint::hit("commands.started").await;
        events::command_handled(&record.position, command.action, outcome);
        Ok(())
    }
}
