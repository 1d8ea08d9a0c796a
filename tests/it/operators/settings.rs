//! Notifiers of which some do not know the operators' target, as during a rolling restart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::contract::digest::Addressee;
use genflow::contract::digest::Failed;
use genflow::contract::receipt::Channel;
use genflow::engines::temporal::client::Temporal;
use serde_json::Value;

use super::{failed, hash_of, history_of, messages, told};
use crate::support::receiver::Receiver;
use crate::support::{Space, eventually};

#[tokio::test]
async fn operators_are_told_by_a_notifier_that_knows_them_after_one_that_does_not() {
    let receiver = Receiver::start(&[]).await;
    let space = Space::with(&[("SLACK_ALLOWED_HOSTS", "127.0.0.1")]).await;
    let place = space.config.temporal.for_deliveries();
    let temporal = Temporal::connect(&place).await.unwrap();
    let to = Addressee {
        channel: Channel::Slack,
        target_hash: hash_of(&receiver.url),
    };
    let workflow = to.workflow();
    let mut other = space.start(&["notifier"]);
    let one = Failed::of(&failed(&space)).unwrap();
    temporal.gather(to, 1000, vec![one]).await.unwrap();
    eventually("the other notifier has tried", async || {
        other.output().contains("target_gone").then_some(())
    })
    .await;
    assert!(other.terminate().await.success());

    let knows = ("OPS_SLACK_WEBHOOK_URL", receiver.url.as_str());
    let _knows = space.start_with(&["notifier"], &[knows]);

    receiver.wait(1).await;
    assert_eq!(told(&messages(&receiver)[0]), 1);
    // The workflow counts how many notifiers in a row did not know the target.
    assert_eq!(unknown(&history_of(&space, &workflow).await), [0, 1]);
}

/// Returns the input `unknown` of each attempt: how many notifiers before it did not know the message's target.
fn unknown(history: &str) -> Vec<u64> {
    let history: Value = serde_json::from_str(history).unwrap();
    let events = history["events"].as_array().unwrap().iter();
    let inputs = events.filter_map(|event| {
        let scheduled = &event["attributes"]["ActivityTaskScheduledEventAttributes"];
        scheduled["input"]["payloads"][0]["data"].as_str()
    });
    let tell = inputs.map(|data| {
        let input: Value = serde_json::from_slice(&BASE64.decode(data).unwrap()).unwrap();
        input["unknown"].as_u64().unwrap()
    });
    tell.collect()
}
