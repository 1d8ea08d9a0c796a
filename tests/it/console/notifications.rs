//! Notifications that a person sends from the console: one again, and a test of its endpoint.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use genflow::domain::{Request, Targets};
use serde_json::{Value, json};
use temporalio_client::UntypedWorkflow;

use super::{Console, keys};
use crate::support::process::Process;
use crate::support::receiver::Receiver;
use crate::support::requests::image;
use crate::support::{Space, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A request whose webhook was delivered, and a console that knows it.
struct Story {
    space: Space,
    _roles: Process,
    console: Console,
    receiver: Receiver,
    request: Request,
    /// Of the webhook.
    receipt: Value,
}

impl Story {
    async fn new() -> Self {
        let space = Space::new().await;
        let roles = space.start(&["all"]);
        let traces = ("CONSOLE_TRACE_URL", "https://traces.example/{trace_id}");
        let console = Console::start(&space, &[keys()[0], traces]).await;
        let receiver = Receiver::start(&[]).await;
        let mut request = image("notified");
        request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let headers = vec![("traceparent".to_owned(), Some(traceparent.into_bytes()))];
        space.send_with(&request, headers).await;
        let receipt = eventually("the notification has ended", async || {
            let endpoints = console.get("/endpoints").await;
            endpoints["items"].as_array()?.first()?;
            let found = console.get(&format!("/requests/{}", request.id)).await;
            found["receipts"]["value"].as_array()?.first().cloned()
        })
        .await;
        receiver.wait(1).await;
        Self {
            space,
            _roles: roles,
            console,
            receiver,
            request,
            receipt,
        }
    }

    /// Returns an action on the webhook.
    fn action(&self, verb: &str) -> Value {
        json!({"verb": verb, "channel": "WEBHOOK", "target_hash": self.receipt["target_hash"]})
    }

    async fn shown(&self) -> Value {
        self.console
            .get(&format!("/requests/{}", self.request.id))
            .await
    }

    /// Returns who asked for the newest delivery, as its history says.
    async fn asked_by(&self) -> String {
        let text = |name: &str| self.receipt[name].as_str().unwrap();
        let workflow = format!(
            "deliver/{}/WEBHOOK/{}",
            text("event_id"),
            text("target_hash")
        );
        let client = self.space.client().await;
        let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow);
        let history = handle.fetch_history(Default::default()).to_json().await;
        let history: Value = serde_json::from_slice(&history.unwrap()).unwrap();
        let started =
            &history["events"][0]["attributes"]["WorkflowExecutionStartedEventAttributes"];
        let input = started["input"]["payloads"][0]["data"].as_str().unwrap();
        let input = BASE64.decode(input).unwrap();
        let input: Value = serde_json::from_slice(&input).unwrap();
        input["asked_by"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_person_sends_a_notification_again_under_the_same_id() {
    let story = Story::new().await;
    let (console, receiver, receipt) = (&story.console, &story.receiver, &story.receipt);
    let trace_url = story.shown().await["trace_url"].clone();
    assert_eq!(trace_url, format!("https://traces.example/{TRACE}"));

    let mut again = story.action("resend");
    again["ids"] = json!([story.request.id.to_string()]);
    again["event"] = receipt["event_id"].clone();
    again["dry_run"] = json!(true);
    let (status, plan) = console.post("/actions", &again).await;
    assert_eq!((status, &plan["would"]), (200, &json!(1)));
    again["dry_run"] = json!(false);
    let unseen = console.post("/actions", &again).await.0;
    assert_eq!(unseen, 409, "the person has not seen how many");
    assert_eq!(receiver.got().len(), 1, "nothing was sent yet");
    again["expect"] = json!(1);
    let sent = console.post("/actions", &again).await;
    assert_eq!(sent, (200, json!({"sent": 1, "left": {}})));

    let got = receiver.wait(2).await;
    assert_eq!(got[1].header("webhook-id"), receipt["event_id"]);
    assert_eq!(got[1].header("webhook-id"), got[0].header("webhook-id"));
    assert_eq!(got[1].body, got[0].body);
    assert_eq!(got[1].header("traceparent")[3..35], *TRACE);
    eventually("the newest receipt is shown", async || {
        let receipts = story.shown().await["receipts"]["value"].clone();
        assert_eq!(receipts.as_array()?.len(), 1, "one notification");
        (receipts[0]["ended_at"].as_i64() > receipt["ended_at"].as_i64()).then_some(())
    })
    .await;
    assert_eq!(story.asked_by().await, "console:ann");
}

#[tokio::test]
async fn a_person_tests_an_endpoint_with_a_webhook_that_says_that_it_is_a_test() {
    let story = Story::new().await;
    let mut test = story.action("test");
    test["expect"] = json!(1);

    let (status, answer) = story.console.post("/actions", &test).await;

    let found = (status, &answer["test"]["status"]);
    assert_eq!(found, (200, &json!(204)), "{answer}");
    let tested = story.receiver.wait(2).await.remove(1);
    let body: Value = serde_json::from_slice(&tested.body).unwrap();
    let says = (&body["type"], &body["data"]["test"]);
    assert_eq!(says, (&json!("genflow.test"), &json!(true)));
    assert!(tested.header("webhook-id").starts_with("test-"));
    assert!(tested.header("webhook-signature").starts_with("v1,"));
    test["target_hash"] = json!("0123456789abcdef");
    assert_eq!(story.console.post("/actions", &test).await.0, 404);
    assert_eq!(story.receiver.got().len(), 2);
}
