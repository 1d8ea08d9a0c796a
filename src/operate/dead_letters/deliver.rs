//! Starts a delivery workflow again for a notification that was given up, and for its one failed target only.

use tokio::sync::OnceCell;

use super::{Contents, DeadLetter, Opener, Skip};
use crate::contract::delivery::{DeliveryInput, Parcel, Raw};
use crate::contract::receipt::NotificationOutcome;
use crate::engines::config;
use crate::engines::temporal::client;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::deliveries::{HandedOver, Once};

/// A notification to deliver again.
#[derive(Clone, Debug)]
pub(crate) struct Redelivery {
    pub parcel: Parcel,
    /// The user of its request.
    pub user: String,
    /// The person who asked for it, if that is known.
    pub asked_by: Option<String>,
}

/// Starts deliveries; it connects when it is first needed.
pub(crate) struct Deliveries {
    server: config::Temporal,
    temporal: OnceCell<Temporal>,
}

impl Deliveries {
    pub(crate) fn new(config: &config::Temporal) -> Self {
        Self {
            server: config.for_deliveries(),
            temporal: OnceCell::new(),
        }
    }

    async fn temporal(&self) -> Result<&Temporal, client::Error> {
        let connect = || Temporal::connect(&self.server);
        self.temporal.get_or_try_init(connect).await
    }

    /// Returns whether an earlier redrive has delivered a notification.
    pub(super) async fn has_delivered(
        &self,
        notification: &Redelivery,
    ) -> Result<bool, client::Error> {
        let workflow = notification.parcel.workflow();
        let outcome = self.temporal().await?.delivery_outcome(&workflow).await?;
        Ok(outcome == Some(NotificationOutcome::Delivered))
    }

    /// Starts the delivery of a notification, and returns the workflow id.
    pub(crate) async fn start(&self, notification: Redelivery) -> anyhow::Result<String> {
        let temporal = self.temporal().await?;
        let Redelivery {
            parcel,
            user,
            asked_by,
        } = notification;
        let id = parcel.workflow();
        let delivery = DeliveryInput {
            parcel,
            tries: 0,
            first_try_at: None,
            status: None,
            step: 0,
            waited: 0,
            shut: 0,
            lost: None,
            asked_by,
            pause_ms: 0,
        };
        // The delivery that gave up has the same workflow id, so this one can start only after that has closed.
        match temporal.hand_over(delivery, &user, Once::AtATime).await? {
            HandedOver::New => Ok(id),
            HandedOver::Before => Err(Skip::UnderWay.into()),
        }
    }
}

/// Returns the notification that a dead letter holds.
pub(super) async fn notification(
    opener: &Opener,
    letter: &DeadLetter,
) -> anyhow::Result<Redelivery> {
    let contents = opener.open(letter).await?.contents;
    let (Contents::Event(event), Some((channel, target_hash)), Some(value)) =
        (contents, letter.notification(), &letter.0.value)
    else {
        return Err(Skip::NoEvent.into());
    };
    Ok(Redelivery {
        parcel: Parcel {
            event: Raw(value.clone()),
            event_id: event.event_id.clone(),
            request_id: event.request_id.clone(),
            occurred_at: event.occurred_at,
            traceparent: letter.0.traceparent().map(str::to_owned),
            channel,
            target_hash: target_hash.to_owned(),
        },
        user: event.user_id.clone(),
        asked_by: None,
    })
}
