//! Starts a delivery workflow again for a notification that was given up, and for its one failed target only.

use super::{Contents, Error, Letter, Opener, Skip};
use crate::contract::delivery::{Delivery, Parcel, Raw};
use crate::engines::config;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::deliveries::{Given, Once};

/// Starts deliveries; it connects on the first one.
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

    /// Starts the delivery of a parcel, and returns the workflow id.
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
        // The delivery that gave up has the same workflow id, so this one may only start after it has closed.
        let given = temporal.hand_over(delivery, user, Once::AtATime).await?;
        Ok(match given {
            Given::New => Ok(id),
            Given::Before => Err(Skip::UnderWay),
        })
    }
}

/// Returns the notification that a dead letter holds, and its user.
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
