//! The end of a month: an account on which nothing is spent or reserved ends, and another one goes on.
//!
//! No test can wait for it, so a recorded history of the 30th of November goes on by hand, as the server would write it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::replay::replayed;

/// Some events of an account's history in December.
struct December {
    history: Value,
}

impl December {
    fn new() -> Self {
        let text = include_str!("../../histories/0.1/budget.json");
        let history = serde_json::from_str(text).unwrap();
        Self { history }
    }

    fn events(&mut self) -> &mut Vec<Value> {
        self.history["events"].as_array_mut().unwrap()
    }

    /// Adds an event at `time` of the 1st; returns its id.
    fn add(&mut self, time: &str, name: &str, kind: u32, attributes: &Value) -> usize {
        let id = self.events().len() + 1;
        let mut event = self.events()[0].clone();
        event["event_id"] = json!(id);
        event["event_type"] = json!(kind);
        event["event_time"] = json!(format!("2026-12-01T{time}Z"));
        event["attributes"] = json!({format!("{name}EventAttributes"): attributes});
        self.events().push(event);
        id
    }

    /// Adds an event with the attributes of the last one of its type, changed by `edit`.
    fn again(&mut self, time: &str, name: &str, edit: impl FnOnce(&mut Value)) -> usize {
        let key = format!("{name}EventAttributes");
        let mut last = self.events().iter().rev();
        let last = last.find(|event| event["attributes"].get(&key).is_some());
        let mut last = last.unwrap().clone();
        let kind = last["event_type"].as_u64().unwrap().try_into().unwrap();
        let mut attributes = last["attributes"][&key].take();
        edit(&mut attributes);
        self.add(time, name, kind, &attributes)
    }

    /// Adds a workflow task; returns the id of its completion.
    fn task(&mut self, time: &str) -> usize {
        let scheduled = self.again(time, "WorkflowTaskScheduled", |_| {});
        let started = self.again(time, "WorkflowTaskStarted", |task| {
            task["scheduled_event_id"] = json!(scheduled);
        });
        self.again(time, "WorkflowTaskCompleted", |task| {
            task["scheduled_event_id"] = json!(scheduled);
            task["started_event_id"] = json!(started);
        })
    }

    /// Adds a reservation.
    fn reserve(&mut self, time: &str) {
        let task = self.task(time);
        let asked = json!({"run": "december", "amount": 1, "limits": {"day": null, "month": null}});
        let accepted = self.again(time, "WorkflowExecutionUpdateAccepted", |update| {
            update["accepted_request"]["meta"]["update_id"] = json!("december");
            update["accepted_request"]["input"]["args"]["payloads"][0]["data"] =
                json!(BASE64.encode(asked.to_string()));
            update["accepted_request_message_id"] = json!("december/request");
            update["accepted_request_sequencing_event_id"] = json!(task - 2);
            update["protocol_instance_id"] = json!("december");
        });
        self.again(time, "WorkflowExecutionUpdateCompleted", |update| {
            update["accepted_event_id"] = json!(accepted);
            update["meta"]["update_id"] = json!("december");
            update["outcome"]["value"]["Success"]["payloads"][0]["data"] =
                json!(BASE64.encode(r#""granted""#));
        });
    }

    /// Adds the firing of the account's timer, and the task that follows; returns the id of its completion.
    fn timer(&mut self, time: &str) -> usize {
        let fired = json!({"timer_id": "1", "started_event_id": 5});
        self.add(time, "TimerFired", 18, &fired);
        self.task(time)
    }

    /// Returns whether an account with this history ends now, and whether it continues as new.
    async fn ends_or_goes_on(&self, time: &str, task: usize) -> (bool, bool) {
        let completed = json!({"result": null, "workflow_task_completed_event_id": task, "new_execution_run_id": ""});
        let text = include_str!("../../histories/0.1/budget-continued.json");
        let before: Value = serde_json::from_str(text).unwrap();
        let last = before["events"].as_array().unwrap().last().unwrap();
        let name = "WorkflowExecutionContinuedAsNew";
        let mut continued = last["attributes"][format!("{name}EventAttributes")].clone();
        continued["workflow_task_completed_event_id"] = json!(task);
        let with = async |name, kind, attributes| {
            let mut history = Self {
                history: self.history.clone(),
            };
            history.add(time, name, kind, &attributes);
            replayed(&history.history).await.is_none()
        };
        (
            with("WorkflowExecutionCompleted", 2, completed).await,
            with(name, 28, continued).await,
        )
    }
}

#[tokio::test]
async fn an_account_on_which_nothing_is_spent_or_reserved_ends_after_its_month() {
    let mut account = December::new();

    let task = account.timer("00:41:47.1");

    let (ends, goes_on) = account.ends_or_goes_on("00:41:47.2", task).await;
    assert_eq!((ends, goes_on), (true, false));
}

#[tokio::test]
async fn an_account_that_is_used_in_the_new_month_goes_on() {
    let mut account = December::new();
    account.reserve("00:10:00.1");

    let task = account.timer("00:41:47.1");

    let (ends, goes_on) = account.ends_or_goes_on("00:41:47.2", task).await;
    assert_eq!((ends, goes_on), (false, true));
}
