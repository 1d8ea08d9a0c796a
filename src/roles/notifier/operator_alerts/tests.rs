//! Messages whose target is unknown, and signals of which one fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;
use crate::domain::EventType;
use crate::engines::config::Config;
use crate::roles::notifier::testing;

fn slack() -> Notification {
    Notification::new(Target::Slack("https://hooks.slack.com/x".parse().unwrap()))
}

#[test]
fn a_message_whose_target_no_notifier_knows_is_lost_in_the_end() {
    let early = without_target(ATTEMPTS_WITHOUT_TARGET - 1);
    let last = without_target(ATTEMPTS_WITHOUT_TARGET);

    assert!(matches!(early, Tried::Later { .. }), "{early:?}");
    assert!(matches!(last, Tried::Refused { .. }), "{last:?}");
}

#[test]
fn only_attempts_in_a_row_without_the_target_count() {
    assert_eq!(unknown_in_a_row(None, None), 1, "others failed before it");
    assert_eq!(unknown_in_a_row(None, Some(7)), 8);
    assert_eq!(unknown_in_a_row(Some(&slack()), Some(7)), 0);
}

#[tokio::test]
async fn a_failed_signal_for_one_target_does_not_stop_those_for_others() {
    let temporal = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = temporal.local_addr().unwrap().to_string();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        while temporal.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let config = Config::of(&[("TEMPORAL_HOST", &host)]).unwrap();
    let handover = Arc::new(Handover::new(&config));
    let failed = Event {
        event_type: EventType::Failed,
        ..testing::event()
    };
    let calls_for = async |targets| {
        let handover = handover.clone();
        let before = calls.load(Ordering::Relaxed);
        let alerts = OperatorAlerts { targets, handover };
        let failure = alerts.report(&failed, &Recent::new(9)).await.unwrap_err();
        assert!(matches!(
            failure,
            Failure::Retry(Cause::HandoverUnavailable, _)
        ));
        calls.load(Ordering::Relaxed) - before
    };
    let email = || Notification::new(Target::Email("ops@example.org".to_owned()));

    let of_one = calls_for(vec![slack()]).await;
    let of_two = calls_for(vec![slack(), email()]).await;

    assert_eq!(of_two, 2 * of_one);
}
