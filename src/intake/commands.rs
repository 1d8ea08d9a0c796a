//! Commands about requests: their own consumer, so that what holds requests back never holds a cancel.

use std::sync::Arc;

use anyhow::anyhow;

use super::{open, reject};
use crate::access::{ApiKeys, Denied, Pass};
use crate::avro;
use crate::domain::{Action, Command, ErrorCode};
use crate::kafka::Record;
use crate::kafka::consumer::{BoxError, Failure, Handler, Rejection};
use crate::registry::Registry;
use crate::telemetry::events::CommandHandled;
use crate::temporal::client::{Cancelled, Temporal};

/// Carries out commands.
pub struct Commands {
    temporal: Temporal,
    registry: Arc<Registry>,
    api_keys: ApiKeys,
}

impl Commands {
    /// Makes the handler of `gen.commands`.
    pub fn new(temporal: Temporal, registry: Arc<Registry>, api_keys: ApiKeys) -> Self {
        Self {
            temporal,
            registry,
            api_keys,
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
}

impl Handler for Commands {
    async fn handle(&self, record: &Record) -> Result<(), Failure> {
        let (writer, datum) = open(&self.registry, record).await?;
        let command = avro::read_command(&writer, datum)?;
        self.authorise(record, &command).await?;
        let outcome = match command.action {
            Action::Cancel => {
                let reason = command.reason.as_deref().unwrap_or("cancelled by command");
                match self.temporal.cancel(&command.request, reason).await? {
                    Cancelled::Asked => "asked",
                    Cancelled::Over => "over",
                    Cancelled::Claimed => "claimed",
                }
            }
            Action::Retry => {
                return Err(reject(
                    ErrorCode::StartRefused,
                    anyhow!("RETRY is not served yet, want CANCEL"),
                ));
            }
        };
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
