//! Commands about requests: their own consumer, so that what holds requests back never holds a cancel.

use std::sync::Arc;

use super::{open, reject};
use crate::access::{ApiKeys, Denied, Pass};
use crate::avro;
use crate::config::{Config, Steps};
use crate::domain::{Action, Command, ErrorCode};
use crate::failpoint;
use crate::kafka::Record;
use crate::kafka::consumer::{BoxError, Failure, Handler, Rejection};
use crate::registry::Registry;
use crate::telemetry::events::CommandHandled;
use crate::temporal::client::Temporal;
use crate::temporal::retries::{Retried, Retry, Unretryable};
use crate::temporal::slots::Cancelled;
use crate::worker::fetch_queue;

/// Carries out commands.
pub struct Commands {
    temporal: Temporal,
    registry: Arc<Registry>,
    api_keys: ApiKeys,
    steps: Steps,
    fetch_queue: String,
}

impl Commands {
    /// Makes the handler of `gen.commands`.
    pub fn new(config: &Config, temporal: Temporal, registry: Arc<Registry>) -> Self {
        Self {
            temporal,
            registry,
            api_keys: config.intake.api_keys.clone(),
            steps: config.intake.steps,
            fetch_queue: fetch_queue(&config.temporal.task_queue),
        }
    }

    /// Whether the key of a command may speak for the user of its request.
    ///
    /// The user of a request that nobody knows yet is not known either: any good key may claim its id, which costs its
    /// owner a refusal at worst, while a claim that is lost costs money.
    async fn authorise(&self, record: &Record, command: &Command) -> Result<(), Failure> {
        let denied = |denied: Denied| reject(ErrorCode::Unauthorized, denied.into());
        let pass = self.api_keys.check(record).map_err(denied)?;
        if pass == Pass::Anyone {
            return Ok(());
        }
        match self.temporal.user(&command.request.run(0)).await? {
            Some(user) => pass.admit(&user).map_err(denied),
            None => Ok(()),
        }
    }

    async fn cancel(&self, command: &Command) -> Result<&'static str, Failure> {
        let reason = command.reason.as_deref().unwrap_or("cancelled by command");
        Ok(
            match self.temporal.cancel(&command.request, reason).await? {
                Cancelled::Asked => "asked",
                Cancelled::Over => "over",
                Cancelled::Claimed => "claimed",
            },
        )
    }

    /// Runs a request again, or finds that there is nothing to do.
    ///
    /// What cannot be run again is parked. A claimed id as `cancelled_before_start`, for that is what its request
    /// would get. All else as `invalid`: the fault is the command's own, while `start_refused` is held to be a fault
    /// of the system, and many of them in a row would stop this consumer, and every CANCEL with it.
    async fn retry(
        &self,
        command: &Command,
        traceparent: Option<&str>,
    ) -> Result<&'static str, Failure> {
        let retry = Retry {
            request: &command.request,
            command: &command.id,
            reason: command.reason.as_deref(),
            traceparent,
            steps: self.steps,
            fetch_queue: &self.fetch_queue,
        };
        match self.temporal.retry(&retry).await? {
            Retried::Started => Ok("started"),
            Retried::Repeated => Ok("duplicate"),
            Retried::Running => Ok("running"),
            Retried::Completed => Ok("completed"),
            Retried::Refused(refused) => {
                let reason = match &refused {
                    Unretryable::Claimed(_) => ErrorCode::CancelledBeforeStart,
                    Unretryable::Unknown(_)
                    | Unretryable::Other(..)
                    | Unretryable::Unreadable(..) => ErrorCode::Invalid,
                };
                Err(reject(reason, refused.into()))
            }
        }
    }
}

impl Handler for Commands {
    async fn handle(&self, record: &Record) -> Result<(), Failure> {
        let (writer, datum) = open(&self.registry, record).await?;
        let command = avro::read_command(&writer, datum)?;
        self.authorise(record, &command).await?;
        let outcome = match command.action {
            Action::Cancel => self.cancel(&command).await?,
            Action::Retry => self.retry(&command, record.header("traceparent")).await?,
        };
        failpoint::hit("commands.started").await;
        CommandHandled {
            position: &record.position,
            action: command.action,
            outcome,
        }
        .emit();
        Ok(())
    }

    async fn parked(&self, _: &Record, _: &Rejection) -> Result<(), BoxError> {
        Ok(())
    }
}
