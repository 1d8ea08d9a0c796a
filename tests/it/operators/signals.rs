//! Many failures: the history of a digest must not grow too large.

use futures::StreamExt as _;
use genflow::contract::digest::{FailedRequest, OperatorTarget};
use genflow::contract::receipt::Channel;
use genflow::engines::temporal::client::Temporal;

use super::{failed, hash, history, messages, reported, watched};
use crate::replay::{keep, run_before};
use crate::support::eventually;
use crate::support::receiver::{Answer, Receiver};

#[tokio::test]
async fn more_signals_than_a_history_should_hold_lose_no_failure_while_slack_is_away_and_its_run_replays()
 {
    let receiver = Receiver::answering(&[Answer::Status(503)]).await;
    let space = watched(&receiver).await;
    let _notifier = space.start(&["notifier"]);
    let place = space.config.temporal.for_deliveries();
    let temporal = Temporal::connect(&place).await.unwrap();
    let to = OperatorTarget {
        channel: Channel::Slack,
        target_hash: hash(&space),
    };
    let one = FailedRequest::of(&failed(&space)).unwrap();

    let signals = futures::stream::iter(0..1100_usize).for_each_concurrent(20, async |at| {
        let failed = FailedRequest {
            event_id: format!("event-{at}"),
            ..one.clone()
        };
        temporal.report_failure(to.clone(), failed).await.unwrap();
    });
    signals.await;

    eventually("the digest continues in another run", async || {
        run_before(history(&space).await.as_bytes()).map(drop)
    })
    .await;
    let refused = receiver.got().len();
    receiver.answer(Answer::Status(200));
    eventually("all failures are reported", async || {
        let accepted = messages(&receiver).into_iter().skip(refused);
        let sum = accepted.map(|message| reported(&message)).sum::<usize>();
        (sum >= 1100).then_some(())
    })
    .await;
    keep("digest-continued", history(&space).await.as_bytes()).await;
}
