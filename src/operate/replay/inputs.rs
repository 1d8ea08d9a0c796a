//! Compares the inputs that a replayed workflow gives to its activities with those in its history.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use temporalio_common::protos::temporal::api::common::v1::Payloads;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_sdk::WorkflowContextView;
use temporalio_sdk::workflow_interceptors::{
    CancellableWorkflowOutboundFuture, ScheduleActivityInput, ScheduleActivityResult,
    WorkflowInterceptor, WorkflowInterceptorConstructor, WorkflowInterceptorContext, WorkflowNext,
};

use crate::contract::delivery::{Conclude, Deliver};
use crate::contract::digest::SendDigest;
use crate::contract::run::{ClosedItem, ClosedRun, Fetch, Finish, PendingEvents, Submit};
use crate::engines::temporal::history::input;

/// The inputs of the last replay, in the order in which its activities were scheduled.
#[derive(Clone, Default)]
pub(super) struct Inputs(Arc<Mutex<Vec<Option<Value>>>>);

impl Inputs {
    fn all(&self) -> MutexGuard<'_, Vec<Option<Value>>> {
        self.0.lock()
    }

    /// Returns the interceptor that records the inputs.
    pub(super) fn interceptor(&self) -> WorkflowInterceptorConstructor {
        let inputs = self.clone();
        WorkflowInterceptorConstructor::new(move |_: &WorkflowContextView| {
            inputs.all().clear();
            inputs.clone()
        })
    }

    /// Returns the first event of a history whose activity now gets a different input, or one that cannot be compared,
    /// and what is wrong.
    pub(super) fn differ(&self, events: &[HistoryEvent]) -> Option<(i64, String)> {
        let given = self.all();
        events.iter().find_map(|event| {
            let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) =
                &event.attributes
            else {
                return None;
            };
            let name = &scheduled.activity_type.as_ref()?.name;
            // The SDK numbers the activities of a workflow from 1.
            let number = scheduled.activity_id.parse::<usize>().ok()?;
            let given = given.get(number.checked_sub(1)?)?;
            let said = |problem: &str| {
                let problem = format!("the input of {name}: {problem}");
                Some((event.event_id, problem))
            };
            let (Some(kind), Some(given)) = (InputKind::of(name), given) else {
                return said("this build cannot compare it");
            };
            match (kind.recorded)(scheduled.input.clone()) {
                Ok(recorded) => {
                    let place = match difference(&recorded, given)? {
                        whole if whole.is_empty() => "it".to_owned(),
                        place => place,
                    };
                    said(&format!("{place} differs from the history"))
                }
                Err(error) => said(&format!("{error:#}")),
            }
        })
    }
}

impl WorkflowInterceptor for Inputs {
    fn schedule_activity(
        &self,
        _: WorkflowInterceptorContext,
        input: ScheduleActivityInput,
        next: WorkflowNext<
            '_,
            ScheduleActivityInput,
            CancellableWorkflowOutboundFuture<ScheduleActivityResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        let kind = InputKind::of(input.activity_type());
        let given = kind.and_then(|kind| (kind.given)(&input));
        self.all().push(given);
        next.run(input)
    }
}

/// How to read the inputs of one activity.
struct InputKind {
    given: fn(&ScheduleActivityInput) -> Option<Value>,
    /// Decodes and encodes the input, so that a field added with a default since then counts as its default.
    recorded: fn(Option<Payloads>) -> Result<Value, anyhow::Error>,
}

impl InputKind {
    fn of(activity: &str) -> Option<Self> {
        Some(match activity {
            "submit.v1" => Self::reading::<Submit>(),
            "fetch.v1" => Self::reading::<Fetch>(),
            "publish.v1" => Self::reading::<PendingEvents>(),
            "finish.v1" => Self::reading::<Finish>(),
            "remains.v1" | "batch-remains.v1" => Self::reading::<ClosedRun>(),
            "item-ending.v1" => Self::reading::<ClosedItem>(),
            "look-back.v1" => Self {
                given: |_| Some(Value::Null),
                recorded: |_| Ok(Value::Null),
            },
            "deliver.v1" => Self::reading::<Deliver>(),
            "conclude.v1" => Self::reading::<Conclude>(),
            "send-digest.v1" => Self::reading::<SendDigest>(),
            _ => return None,
        })
    }

    fn reading<T: Serialize + DeserializeOwned + 'static>() -> Self {
        Self {
            given: |given| serde_json::to_value(given.input_ref::<T>()?).ok(),
            recorded: |payloads| Ok(serde_json::to_value(input::<T>(payloads)?)?),
        }
    }
}

/// Returns the place of the first difference, such as `handed.events.0.type`.
fn difference(recorded: &Value, given: &Value) -> Option<String> {
    let inner = |name: &dyn std::fmt::Display, inner: String| match inner.as_str() {
        "" => name.to_string(),
        inner => format!("{name}.{inner}"),
    };
    match (recorded, given) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old.keys().chain(new.keys());
            names.into_iter().find_map(|name| {
                let (old, new) = (old.get(name), new.get(name));
                let (old, new) = (old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null));
                Some(inner(name, difference(old, new)?))
            })
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            let mut places =
                pairs.filter_map(|(at, (old, new))| Some(inner(&at, difference(old, new)?)));
            places.next()
        }
        (old, new) => (old != new).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        let recorded = json!({"a": [{"b": 1}, {"b": 2, "c": "x"}], "d": null});
        for (given, place) in [
            (recorded.clone(), None),
            (json!({"a": [{"b": 1}, {"b": 2, "c": "x"}]}), None),
            (json!({"a": [{"b": 1}, {"b": 3, "c": "x"}]}), Some("a.1.b")),
            (json!({"a": [{"b": 1}]}), Some("a")),
            (
                json!({"a": [{"b": 1}, {"b": 2, "c": "x"}], "e": 0}),
                Some("e"),
            ),
            (json!(7), Some("")),
        ] {
            assert_eq!(difference(&recorded, &given).as_deref(), place, "{given}");
        }
    }
}
