//! Commands about requests: their own consumer, so that what holds requests back never holds a cancel.

use std::sync::Arc;

use anyhow::anyhow;

use super::{open, reject};
use crate::avro;
use crate::domain::{Action, ErrorCode};
use crate::kafka::Record;
use crate::kafka::consumer::{BoxError, Failure, Handler, Rejection};
use crate::registry::Registry;
use crate::telemetry::events::CommandHandled;
use crate::temporal::client::{Cancelled, Temporal};

/// Carries out commands.
pub struct Commands {
    temporal: Temporal,
    registry: Arc<Registry>,
}

impl Commands {
    /// Makes the handler of `gen.commands`.
    pub fn new(temporal: Temporal, registry: Arc<Registry>) -> Self {
        Self { temporal, registry }
    }
}

impl Handler for Commands {
    async fn handle(&self, record: &Record) -> Result<(), Failure> {
        let (writer, datum) = open(&self.registry, record).await?;
        let command = avro::read_command(&writer, datum)?;
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
