//! Reads a history from JSON: as Temporal's UI and CLI export it, and as this SDK records it.
//!
//! The SDK's own reader requires every field, by its Rust name, and numbers for enums. Protobuf's JSON leaves out empty
//! fields, and has camel-case names and the names of enum values. So this deserializer follows the Rust types: it finds
//! each field of a message by either name, and reads a missing one as empty.

use serde::Deserialize as _;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, VariantAccess, Visitor,
};
use serde_json::{Error, Map, Value};
use temporalio_common::protos::temporal::api::enums::v1::{
    CancelExternalWorkflowExecutionFailedCause, ContinueAsNewInitiator, EventType,
    ParentClosePolicy, RetryState, SignalExternalWorkflowExecutionFailedCause,
    StartChildWorkflowExecutionFailedCause, TaskQueueKind, TimeoutType, WorkflowIdReusePolicy,
    WorkflowTaskFailedCause,
};
use temporalio_common::protos::temporal::api::history::v1::History;

/// The oneof field: protobuf's JSON inlines it, under the name of its variant.
const ONE_OF: &str = "attributes";

/// Reads a history.
///
/// # Errors
/// It is not JSON, or not a history.
pub(super) fn read(json: &[u8]) -> Result<History, Error> {
    History::deserialize(Field::of(serde_json::from_slice(json)?))
}

/// The value of a field; `None` if it is left out.
struct Field(Option<Value>);

impl Field {
    fn of(value: Value) -> Self {
        Self(Some(value).filter(|value| !value.is_null()))
    }

    fn number(self) -> Result<i64, Error> {
        match self.0 {
            None => Ok(0),
            // 64-bit numbers are strings, since JavaScript cannot represent them.
            Some(Value::String(text)) => Ok(text.parse().unwrap_or_else(|_| word(&text))),
            Some(value) => value
                .as_i64()
                .ok_or_else(|| Error::custom(format!("{value} is not a whole number"))),
        }
    }

    fn object(self) -> Result<Map<String, Value>, Error> {
        match self.0 {
            None => Ok(Map::new()),
            Some(Value::Object(fields)) => Ok(fields),
            Some(value) => Err(Error::custom(format!("{value} is not an object"))),
        }
    }
}

/// Returns the number of an enum value's name; 0 for other enums, which do not matter in a replay.
fn word(text: &str) -> i64 {
    let known = EventType::from_str_name(text)
        .map(i32::from)
        .or_else(|| TaskQueueKind::from_str_name(text).map(i32::from))
        .or_else(|| TimeoutType::from_str_name(text).map(i32::from))
        .or_else(|| RetryState::from_str_name(text).map(i32::from))
        .or_else(|| WorkflowTaskFailedCause::from_str_name(text).map(i32::from))
        .or_else(|| ContinueAsNewInitiator::from_str_name(text).map(i32::from))
        .or_else(|| ParentClosePolicy::from_str_name(text).map(i32::from))
        .or_else(|| WorkflowIdReusePolicy::from_str_name(text).map(i32::from))
        .or_else(|| StartChildWorkflowExecutionFailedCause::from_str_name(text).map(i32::from))
        .or_else(|| CancelExternalWorkflowExecutionFailedCause::from_str_name(text).map(i32::from))
        .or_else(|| SignalExternalWorkflowExecutionFailedCause::from_str_name(text).map(i32::from));
    known.unwrap_or_default().into()
}

/// Returns the name that a field, or a variant of the oneof, has in protobuf's JSON.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default();
    let mut camel = with_first(first, |c| c.to_ascii_lowercase());
    for part in parts {
        camel.push_str(&with_first(part, |c| c.to_ascii_uppercase()));
    }
    camel
}

fn with_first(word: &str, change: impl Fn(char) -> char) -> String {
    let mut rest = word.chars();
    let first = rest.next().map(change);
    first.into_iter().chain(rest).collect()
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_i64(self.number()?)
        })*
    };
}

impl<'de> Deserializer<'de> for Field {
    type Error = Error;

    numbers!(deserialize_i32 deserialize_i64 deserialize_u32 deserialize_u64);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.unwrap_or_default().deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.0.unwrap_or(Value::Bool(false));
        value.deserialize_bool(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.0.unwrap_or_else(|| Value::String(String::new()));
        value.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            None => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items = match self.0 {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(value) => return Err(Error::custom(format!("{value} is not an array"))),
        };
        visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Self::of)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let fields = self.object()?.into_iter();
        let fields = fields.map(|(name, value)| (name, Self::of(value)));
        visitor.visit_map(MapDeserializer::new(fields))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut object = self.object()?;
        // Messages of some packages read protobuf's JSON themselves; their type names are fully qualified.
        if name.contains('.') {
            return Value::Object(object).deserialize_struct(name, fields, visitor);
        }
        let mut found = Vec::with_capacity(fields.len());
        for field in fields {
            let value = object
                .remove(*field)
                .or_else(|| object.remove(&camel(field)));
            found.push((*field, value));
        }
        let found = found.into_iter().map(|(field, value)| match value {
            None if field == ONE_OF => {
                (field, Self::of(Value::Object(std::mem::take(&mut object))))
            }
            value => (field, Self(value.filter(|value| !value.is_null()))),
        });
        visitor.visit_map(MapDeserializer::new(found))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut object = self.object()?;
        for variant in variants {
            let value = object
                .remove(*variant)
                .or_else(|| object.remove(&camel(variant)));
            if let Some(value) = value {
                return visitor.visit_enum(OneOf {
                    variant,
                    value: Self::of(value),
                });
            }
        }
        Err(Error::custom(format!("no known variant of {name}")))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Field {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The variant that the oneof field holds.
struct OneOf {
    variant: &'static str,
    value: Field,
}

impl<'de> EnumAccess<'de> for OneOf {
    type Error = Error;
    type Variant = Field;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Field), Error> {
        let variant =
            seed.deserialize(IntoDeserializer::<Error>::into_deserializer(self.variant))?;
        Ok((variant, self.value))
    }
}

impl<'de> VariantAccess<'de> for Field {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        // Attributes are present even if all their fields are left out.
        seed.deserialize(Self(self.0.or_else(|| Some(Value::Object(Map::new())))))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

    use super::*;

    #[test]
    fn what_temporal_exports_is_read_with_what_it_leaves_out() {
        // As `temporal workflow show --output json` writes it.
        let exported = r#"{"events": [
            {"eventId": "1", "eventTime": "2026-11-27T04:07:00.799760389Z",
             "eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED", "taskId": "1048587",
             "workflowExecutionStartedEventAttributes": {"workflowType": {"name": "generation.v1"},
                "taskQueue": {"name": "q", "kind": "TASK_QUEUE_KIND_NORMAL"},
                "input": {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "eyJhIjoxfQ=="}]},
                "workflowTaskTimeout": "10s", "originalExecutionRunId": "r", "attempt": 1, "header": {},
                "memo": {"fields": {"a_key": {"data": "InYi"}}}, "workflowId": "w1"}},
            {"eventId": "2", "eventType": "EVENT_TYPE_WORKFLOW_TASK_SCHEDULED",
             "workflowTaskScheduledEventAttributes": {}}]}"#;

        let events = read(exported.as_bytes()).unwrap().events;

        assert_eq!(
            (events[0].event_id, events[0].event_type()),
            (1, EventType::WorkflowExecutionStarted)
        );
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) =
            &events[0].attributes
        else {
            panic!("{:?}", events[0]);
        };
        assert_eq!(started.workflow_id, "w1");
        let input = &started.input.as_ref().unwrap().payloads[0];
        assert_eq!(input.data, br#"{"a":1}"#);
        let queue = started.task_queue.as_ref().unwrap();
        assert_eq!(queue.kind, i32::from(TaskQueueKind::Normal));
        assert_eq!(started.workflow_task_timeout.unwrap().seconds, 10);
        assert!(started.memo.as_ref().unwrap().fields.contains_key("a_key"));
        assert!(matches!(
            events[1].attributes,
            Some(Attributes::WorkflowTaskScheduledEventAttributes(_))
        ));
    }

    #[test]
    fn what_is_no_history_is_an_error() {
        for bad in [
            "",
            "[]",
            "{\"events\": 7}",
            "{\"events\": [{\"eventId\": \"1\"}]}",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
