//! Many failures: the history of a digest must not grow too large.

use futures::StreamExt as _;
use genflow::contract::digest::Addressee;
use genflow::contract::digest::Failed;
use genflow::contract::receipt::Channel;
use genflow::engines::temporal::client::Temporal;

use super::{failed, hash, history, messages, told, told_in_all, watched};
use crate::replay::{keep, run_before};
use crate::support::receiver::Receiver;
use crate::support::{Space, eventually};

/// Returns a client that signals failures, the operators' digest, and a failure.
async fn parts(space: &Space) -> (Temporal, Addressee, Failed) {
    let place = space.config.temporal.for_deliveries();
    let to = Addressee {
        channel: Channel::Slack,
        target_hash: hash(space),
    };
    let one = Failed::of(&failed(space)).unwrap();
    (Temporal::connect(&place).await.unwrap(), to, one)
}

#[tokio::test]
async fn more_signals_than_a_history_should_hold_lose_no_failure_count_none_twice_and_its_run_replays()
 {
    let receiver = Receiver::start(&[]).await;
    let space = watched(&receiver, "2s").await;
    let _notifier = space.start(&["notifier"]);
    let (temporal, to, one) = parts(&space).await;
    let numbered = |at: usize| Failed {
        event_id: format!("event-{at}"),
        ..one.clone()
    };
    // Each failure is sent twice, the second time with the next one, which may reach another run.
    let signals = futures::stream::iter(0..2100_usize).for_each_concurrent(20, async |at| {
        let failed = vec![numbered(at), numbered(at.saturating_sub(1))];
        temporal.gather(to.clone(), 2000, failed).await.unwrap();
    });
    signals.await;

    eventually("all failures are reported", async || {
        let sum = messages(&receiver).iter().map(told).sum::<usize>();
        (sum >= 2100).then_some(())
    })
    .await;
    assert_eq!(told_in_all(&space, &receiver).await, 2101);
    let history = history(&space).await;
    assert!(run_before(history.as_bytes()).is_some());
    keep("digest-continued", history.as_bytes()).await;
}

#[tokio::test]
async fn few_signals_of_many_failures_in_a_long_pause_make_no_history_too_large() {
    let receiver = Receiver::start(&[]).await;
    let space = watched(&receiver, "1h").await;
    let _notifier = space.start(&["notifier"]);
    let (temporal, to, one) = parts(&space).await;
    let gather = async |count: usize| {
        let failed = (0..count).map(|_| Failed {
            event_id: uuid::Uuid::new_v4().to_string(),
            ..one.clone()
        });
        let (to, failed) = (to.clone(), failed.collect());
        temporal.gather(to, 3_600_000, failed).await.unwrap();
    };
    gather(1).await;
    receiver.wait(1).await;

    for _ in 0..10 {
        gather(500).await;
    }

    eventually("the digest continues in another run", async || {
        run_before(history(&space).await.as_bytes()).map(drop)
    })
    .await;
    assert_eq!(receiver.got().len(), 1, "the pause is not over");
}
