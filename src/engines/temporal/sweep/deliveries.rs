//! Deliveries that were closed from outside: each is given up by another workflow, which does nothing else.

use super::{ClosedWorkflow, begin, first_end};
use crate::contract::delivery::DeliveryInput;
use crate::contract::receipt::DeliveryError;
use crate::engines::telemetry::events;
use crate::engines::temporal::client::{Error, Temporal};
use crate::engines::temporal::history;
use crate::workflows::delivery;

/// Starts the workflow that gives a delivery up, unless its id has a newer run, which then delivers.
pub(super) async fn end(temporal: &Temporal, found: &ClosedWorkflow) -> Result<(), Error> {
    let (id, run_id) = (found.id.as_str(), found.run_id.as_str());
    let newest = temporal.describe(id).await?;
    if newest.is_none_or(|newest| newest.run_id() != run_id) {
        return Ok(());
    }
    let Some(start) = start(temporal, id, run_id).await? else {
        return Ok(());
    };
    let why = DeliveryError::new("terminated", "the delivery was closed from outside");
    let given_up = DeliveryInput {
        lost: Some(why),
        ..start
    };
    let end = first_end(found);
    begin(temporal, delivery::Delivery::run, given_up, end, found).await
}

/// Returns the input of a run; `None` if the server no longer has it, or this version cannot read it.
async fn start(
    temporal: &Temporal,
    id: &str,
    run_id: &str,
) -> Result<Option<DeliveryInput>, Error> {
    let Some(started) = history::started(&temporal.client(), id, run_id).await? else {
        return Ok(None);
    };
    match history::input(started.input) {
        Ok(start) => Ok(Some(start)),
        Err(error) => {
            events::notification_lost(id, error.as_ref());
            Ok(None)
        }
    }
}
