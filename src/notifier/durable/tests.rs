//! A workflow's tries by a notifier whose settings differ from those of the one that handed over.

use super::*;
use crate::domain::Targets;
use crate::notifier::Outcome;
use crate::notifier::plan::Target;
use crate::notifier::testing::{deliverer, parcel, registry, told};

const HOUR: u64 = 3_600_000;
const MAILBOX: &str = "a@example.org";

/// Neither the default Slack target nor a mail server stands in its settings.
async fn other() -> Deliverer {
    deliverer(&registry().await, &[("NOTIFY_SCHEDULE", "1h")])
}

fn parcels() -> [(Parcel, &'static str); 2] {
    let event = told(&Targets::parse(None, Some(MAILBOX), None).unwrap());
    let slack = Target::Slack("https://hooks.slack.com/services/T/B/x".parse().unwrap());
    let email = Target::Email(MAILBOX.to_owned());
    [
        (parcel(&event, slack), "target_gone"),
        (parcel(&event, email), "channel_not_served"),
    ]
}

fn deliver(parcel: &Parcel, step: u32) -> Deliver {
    Deliver {
        parcel: parcel.clone(),
        step,
        waited: 0,
    }
}

#[tokio::test]
async fn what_this_notifier_does_not_know_or_serve_is_left_to_later_tries() {
    let other = other().await;
    for (parcel, code) in parcels() {
        let delivered = other.deliver(deliver(&parcel, 0)).await.unwrap();

        let Delivered::Later {
            error,
            sent: false,
            pause_ms: Some(pause),
            ..
        } = delivered
        else {
            panic!("{delivered:?}");
        };
        assert_eq!(error.code, code);
        assert!((HOUR * 8 / 10..=HOUR * 12 / 10).contains(&pause));
    }
}

#[tokio::test]
async fn behind_the_last_step_it_is_skipped_for_nobody_refused_it() {
    let other = other().await;
    for (parcel, code) in parcels() {
        let delivered = other.deliver(deliver(&parcel, 1)).await.unwrap();

        let Delivered::Ended { end, sent: false } = delivered else {
            panic!("{delivered:?}");
        };
        assert_eq!(end.outcome, Outcome::Skipped);
        assert_eq!(end.error.unwrap().code, code);
    }
}
