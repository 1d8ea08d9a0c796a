//! Commands about requests: their own consumer, so that what holds requests back never holds a cancel.

use std::sync::Arc;

use anyhow::anyhow;

use super::{open, reject};
use crate::access::{ApiKeys, Denied};
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
}

impl Handler for Commands {
    async fn handle(&self, record: &Record) -> Result<(), Failure> {
        let (writer, datum) = open(&self.registry, record).await?;
        let command = avro::read_command(&writer, datum)?;
        let pass = self.api_keys.check(record).map_err(denied)?;
        let outcome = match command.action {
            Action::Cancel => {
                let reason = command.reason.as_deref().unwrap_or("cancelled by command");
                let cancelled = self
                    .temporal
                    .cancel(&command.request, reason, pass.only())
                    .await?;
                match cancelled {
                    Cancelled::Asked => "asked",
                    Cancelled::Over => "over",
                    Cancelled::Claimed => "claimed",
                    Cancelled::OthersRun => return Err(denied(Denied::OtherUser)),
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

fn denied(denied: Denied) -> Failure {
    reject(ErrorCode::Unauthorized, denied.into())
}
