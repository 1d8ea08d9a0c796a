//! Deliveries that wait for a very long time, and circuits that open in the middle of a schedule.

#![expect(
    dead_code,
    reason = "the macro creates a constant for each activity, for workflows that call it"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use genflow::contract::delivery::{Conclude, Deliver, Delivered, DeliveryInput, Parcel, Raw};
use genflow::contract::receipt::{NotificationOutcome, Receipt};
use genflow::engines::temporal::client::Temporal;
use genflow::engines::temporal::deliveries::Once;
use genflow::workflows::delivery;
use serde_json::{Value, json};
use temporalio_client::{UntypedWorkflow, WorkflowStartOptions};
use temporalio_common::data_converters::RawValue;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

use super::{caught_up, delivery_of, given_up, publish_to, receipts};
use crate::closed::OFTEN;
use crate::replay::{closes, history, keep, run_before};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, Watched, eventually, eventually_within};

/// How often there is no slot; more waits than one history may contain.
const WAITS: u32 = 60;
/// A limit for all waits: a timer of the server may take a second.
const LONG: Duration = Duration::from_secs(300);

/// An endpoint without a free slot for a long time, which then accepts the notification.
#[derive(Default)]
struct Crowded {
    asked: AtomicU32,
    waited: Mutex<Vec<(u32, u32)>>,
    concluded: Mutex<Option<Conclude>>,
}

struct Activities(Arc<Crowded>);

#[activities]
impl Activities {
    #[activity(name = "deliver.v1")]
    async fn deliver(
        self: Arc<Self>,
        _: ActivityContext,
        input: Deliver,
    ) -> Result<Delivered, ActivityError> {
        let waited = (input.waited, input.shut);
        self.0.waited.lock().unwrap().push(waited);
        assert_eq!(input.step, 3);
        let asked = self.0.asked.fetch_add(1, Ordering::Relaxed);
        if asked < WAITS {
            // Every second wait is for an open circuit.
            let shut = asked.is_multiple_of(2);
            return Ok(Delivered::Wait { pause_ms: 1, shut });
        }
        let end = json!({"ended": {"end": {"outcome": "DELIVERED", "status": 204}, "sent": true}});
        Ok(serde_json::from_value(end).unwrap())
    }

    #[activity(name = "conclude.v1")]
    async fn conclude(
        self: Arc<Self>,
        _: ActivityContext,
        input: Conclude,
    ) -> Result<(), ActivityError> {
        *self.0.concluded.lock().unwrap() = Some(input);
        Ok(())
    }
}

fn waiting() -> DeliveryInput {
    DeliveryInput {
        parcel: Parcel {
            event: Raw(vec![0; 200]),
            event_id: uuid::Uuid::new_v4().to_string(),
            request_id: "order-7".to_owned(),
            occurred_at: 1,
            traceparent: None,
            channel: genflow::contract::receipt::Channel::Webhook,
            target_hash: "19f1352238b91533".to_owned(),
        },
        tries: 3,
        first_try_at: Some(2),
        status: Some(500),
        step: 3,
        waited: 0,
        shut: 0,
        lost: None,
        asked_by: None,
        pause_ms: 1,
    }
}

#[tokio::test]
async fn a_delivery_that_waits_for_ever_goes_on_in_another_run_forgets_nothing_and_replays() {
    let space = Space::new().await;
    let place = space.config.temporal.for_deliveries();
    let temporal = Temporal::connect(&place).await.unwrap();
    let client = space.client().await;
    let crowded = Arc::new(Crowded::default());
    let runtime = Runtime::from_current_tokio(RuntimeOptions::default()).unwrap();
    let options = WorkerOptions::new(place.task_queue.clone())
        .register_activities(Activities(crowded.clone()))
        .register_workflow::<delivery::Delivery>()
        .unwrap()
        .build();
    let mut worker = Worker::new(&runtime, client.clone(), options).unwrap();
    let stop = worker.shutdown_handle();
    let delivery = waiting();
    let id = delivery.parcel.workflow();
    temporal
        .hand_over(delivery, "ann", Once::Ever)
        .await
        .unwrap();

    let ended = async {
        let concluded = eventually_within(LONG, "it ends", async || {
            crowded.concluded.lock().unwrap().clone()
        })
        .await;
        closes(&client, &id).await;
        stop();
        concluded
    };
    let (worked, concluded) = tokio::join!(worker.run(), ended);
    worked.unwrap();

    let counted: Vec<_> = (0..=WAITS).map(|n| (n, n.div_ceil(2))).collect();
    assert_eq!(*crowded.waited.lock().unwrap(), counted);
    assert_eq!(concluded.end.outcome, NotificationOutcome::Delivered);
    assert_eq!((concluded.tries, concluded.first_try_at), (4, Some(2)));
    let last = history(&client, &id, None).await;
    let first = run_before(&last).expect("the delivery continued as new");
    keep("delivery-first", &history(&client, &id, Some(first)).await).await;
    keep("delivery-continued", &last).await;
    let last: Value = serde_json::from_slice(&last).unwrap();
    assert!(last["events"].as_array().unwrap().len() < 1000);
    let started = &last["events"][0]["attributes"]["WorkflowExecutionStartedEventAttributes"];
    // The new run has the fairness key of the same user.
    assert_eq!(started["priority"]["fairnessKey"], "ann");
}

#[tokio::test]
async fn an_open_circuit_uses_up_no_step_of_the_schedule() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "1h,1h")]).await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::answering(&[Answer::Status(500)]).await;
    for tries in 1..=5 {
        publish_to(&space, &receiver.url).await;
        receiver.wait(tries).await;
    }
    receiver.answer(Answer::Status(204));

    let event = publish_to(&space, &receiver.url).await;

    // Half a minute later the circuit lets one attempt through.
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(receipt.event_id, event.event_id);
    assert_eq!(
        (receipt.outcome, receipt.tries),
        (NotificationOutcome::Delivered, 1)
    );
}

#[tokio::test]
async fn a_delivery_that_is_terminated_is_given_up_once_and_replays() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "1h"), OFTEN]).await;
    let receiver = Receiver::answering(&[Answer::Status(500)]).await;
    let client = space.client().await;

    // The second notifier also sweeps over the delivery that the first one has ended.
    for count in 1..=2 {
        let _notifier = space.start(&["notifier"]);
        let event = publish_to(&space, &receiver.url).await;
        caught_up(&space).await;
        let id = delivery_of(&space, &event).await;
        let handle = client.get_workflow_handle::<UntypedWorkflow>(id.clone());
        handle.terminate(Default::default()).await.unwrap();

        let of_event = |one: &Receipt| one.event_id == event.event_id;
        let receipt = eventually("the receipt arrives", async || {
            receipts(&space, count).await.into_iter().find(of_event)
        })
        .await;
        assert_eq!(receipt.outcome, NotificationOutcome::GivenUp);
        assert_eq!((receipt.tries, receipt.status), (1, Some(500)));
        let letters = given_up(&space, count).await;
        assert_eq!(letters.len(), count);
        let letter = letters.iter().find(|one| {
            let key = one.key.as_deref();
            key == Some(event.request_id.as_bytes())
        });
        assert_eq!(letter.unwrap().header("dlq.reason"), Some("terminated"));
        assert_eq!(receipts(&space, count).await.len(), count);
        let closed = handle.describe(Default::default()).await.unwrap();
        let end = format!("end/{id}/{}", closed.run_id());
        closes(&client, &end).await;
        keep("delivery-ended", &history(&client, &end, None).await).await;
    }
}

#[tokio::test]
async fn a_closed_delivery_that_cannot_be_read_is_counted_as_lost() {
    let space = Space::with(&[OFTEN]).await;
    let client = space.client().await;
    let place = space.config.temporal.for_deliveries();
    let id = waiting().parcel.workflow();
    let options = WorkflowStartOptions::new(place.task_queue, id.clone()).build();
    let kind = UntypedWorkflow::new(delivery::NAME);
    let nothing = RawValue::new(Vec::new());
    let handle = client.start_workflow(kind, nothing, options).await.unwrap();
    handle.terminate(Default::default()).await.unwrap();

    let notifier = Watched::start(&space, "notifier", &[]);

    notifier
        .says("metrics", "genflow_notifications_lost_total 1")
        .await;
    assert!(notifier.process.output().contains(&id));
}
