//! Puts notifications that were given up into the hands of a workflow again: for the target that did not take them alone.

use super::{Contents, Error, Letter, Opener, Skip};
use crate::contract::delivery::{Delivery, Parcel, Raw};
use crate::engines::config;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::deliveries::{Given, Once};

/// Starts deliveries; connects with the first.
pub(super) struct Deliveries {
    place: config::Temporal,
    temporal: Option<Temporal>,
}

impl Deliveries {
    pub(super) fn new(config: &config::Temporal) -> Self {
        Self {
            place: config.for_deliveries(),
            temporal: None,
        }
    }

    /// Starts the delivery of a parcel and returns the id of its workflow.
    pub(super) async fn start(
        &mut self,
        parcel: Parcel,
        user: &str,
    ) -> Result<Result<String, Skip>, Error> {
        let temporal = match &mut self.temporal {
            Some(temporal) => temporal,
            none => none.insert(Temporal::connect(&self.place).await?),
        };
        let id = parcel.workflow();
        let delivery = Delivery {
            parcel,
            tries: 0,
            first_try_at: None,
            status: None,
            step: 0,
            waited: 0,
            shut: 0,
            lost: None,
            pause_ms: 0,
        };
        // The one that gave it up has its id: this one comes behind it.
        let given = temporal.hand_over(delivery, user, Once::AtATime).await?;
        Ok(match given {
            Given::New => Ok(id),
            Given::Before => Err(Skip::UnderWay),
        })
    }
}

/// Returns the notification that a dead letter is, and whose it is.
pub(super) async fn parcel(
    opener: &Opener,
    letter: &Letter,
) -> Result<Result<(Parcel, String), Skip>, Error> {
    let contents = opener.open(letter).await?.contents;
    let (Contents::Event(event), Some((channel, target_hash)), Some(value)) =
        (contents, letter.notification(), &letter.record.value)
    else {
        return Ok(Err(Skip::NoEvent));
    };
    let parcel = Parcel {
        event: Raw(value.clone()),
        event_id: event.event_id.clone(),
        request_id: event.request_id.clone(),
        occurred_at: event.occurred_at,
        traceparent: letter.record.traceparent().map(str::to_owned),
        channel,
        target_hash: target_hash.to_owned(),
    };
    Ok(Ok((parcel, event.user_id.clone())))
}
