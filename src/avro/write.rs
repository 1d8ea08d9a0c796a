//! Requests and commands as Avro: what `genflow submit` and `genflow cancel` send.
//!
//! The reverse of the reading in `avro.rs`, field for field; a round trip through both is tested for each branch.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::{COMMAND, Error, Ours, REQUEST};
use crate::domain::{
    Action, BatchItem, BatchSpec, Command, EventType, ImageSpec, OnFailure, Priority, ProviderName,
    Request, Spec, Strategy, VideoSpec,
};

/// Writes a generation request as a datum of our schema.
///
/// # Errors
/// [`Error::Datum`] when the value does not fit, which a test of each shape rules out.
pub fn write_request(request: &Request) -> Result<Vec<u8>, Error> {
    let seconds = request.timeout.map(|timeout| timeout.as_secs());
    let targets = &request.targets;
    let value = record([
        ("request_id", string(request.id.as_str())),
        ("user_id", string(request.user.as_str())),
        ("spec", spec(&request.spec)),
        ("priority", priority(request.priority)),
        (
            "timeout_seconds",
            optional(seconds.map(|seconds| Value::Int(i32::try_from(seconds).unwrap_or(i32::MAX)))),
        ),
        (
            "webhook_url",
            optional_string(targets.webhook.as_ref().map(url::Url::as_str)),
        ),
        ("notify_email", optional_string(targets.email.as_deref())),
        (
            "notify_slack",
            optional_string(targets.slack.as_ref().map(url::Url::as_str)),
        ),
        ("notify_on", event_types(&request.notify_on)),
        ("metadata", strings_by_name(&request.metadata)),
        (
            "requested_at",
            optional(request.requested_at.map(Value::TimestampMillis)),
        ),
    ]);
    written(&REQUEST, value)
}

/// Writes a command as a datum of our schema; `issued_at` is in milliseconds since the epoch.
///
/// # Errors
/// [`Error::Datum`] when the value does not fit, which a test rules out.
pub fn write_command(command: &Command, issued_at: Option<i64>) -> Result<Vec<u8>, Error> {
    let action = match command.action {
        Action::Cancel => symbol(1, "CANCEL"),
        Action::Retry => symbol(2, "RETRY"),
    };
    let value = record([
        ("command_id", string(command.id.as_str())),
        ("request_id", string(command.request.as_str())),
        ("action", action),
        ("reason", optional_string(command.reason.as_deref())),
        ("issued_by", optional_string(command.issued_by.as_deref())),
        ("issued_at", optional(issued_at.map(Value::TimestampMillis))),
    ]);
    written(&COMMAND, value)
}

fn written(ours: &Ours, value: Value) -> Result<Vec<u8>, Error> {
    GenericDatumWriter::builder(&ours.schema)
        .build()
        .and_then(|writer| writer.write_value_to_vec(value))
        .map_err(|error| Error::Datum(Box::new(error)))
}

fn spec(spec: &Spec) -> Value {
    match spec {
        Spec::Video(video) => union(0, video_spec(video)),
        Spec::Image(image) => union(1, image_spec(image)),
        Spec::Batch(batch) => union(2, batch_spec(batch)),
    }
}

fn video_spec(video: &VideoSpec) -> Value {
    record([
        ("prompt", string(&video.prompt)),
        ("duration", Value::Int(video.duration)),
        ("resolution", string(&video.resolution)),
        ("fps", Value::Int(video.fps)),
        ("style", string(&video.style)),
        (
            "provider",
            optional_string(video.provider.map(ProviderName::as_str)),
        ),
        ("model", optional_string(video.model.as_deref())),
        ("params", strings_by_name(&video.params)),
        ("input_urls", strings(&video.input_urls)),
    ])
}

fn image_spec(image: &ImageSpec) -> Value {
    record([
        ("prompt", string(&image.prompt)),
        ("width", Value::Int(image.width)),
        ("height", Value::Int(image.height)),
        ("style", string(&image.style)),
        ("num_images", Value::Int(image.num_images)),
        (
            "provider",
            optional_string(image.provider.map(ProviderName::as_str)),
        ),
        ("model", optional_string(image.model.as_deref())),
        ("params", strings_by_name(&image.params)),
        ("input_urls", strings(&image.input_urls)),
    ])
}

fn batch_spec(batch: &BatchSpec) -> Value {
    let strategy = match batch.strategy {
        Strategy::Parallel => symbol(1, "PARALLEL"),
        Strategy::Sequential => symbol(2, "SEQUENTIAL"),
    };
    let on_failure = match batch.on_failure {
        OnFailure::Continue => symbol(1, "CONTINUE"),
        OnFailure::Stop => symbol(2, "STOP"),
    };
    record([
        ("strategy", strategy),
        ("max_concurrent", Value::Int(batch.max_concurrent)),
        ("on_failure", on_failure),
        (
            "items",
            Value::Array(batch.items.iter().map(batch_item).collect()),
        ),
    ])
}

fn batch_item(item: &BatchItem) -> Value {
    record([
        ("request_id", string(item.request_id.as_str())),
        // A batch within a batch has no branch there: the writer refuses it.
        ("spec", spec(&item.spec)),
        (
            "webhook_url",
            optional_string(item.webhook_url.as_ref().map(url::Url::as_str)),
        ),
        ("notify_on", event_types(&item.notify_on)),
        ("metadata", strings_by_name(&item.metadata)),
    ])
}

fn priority(priority: Priority) -> Value {
    match priority {
        Priority::Low => symbol(1, "LOW"),
        Priority::Normal => symbol(2, "NORMAL"),
        Priority::High => symbol(3, "HIGH"),
    }
}

fn event_types(types: &[EventType]) -> Value {
    let index = |kind: EventType| match kind {
        EventType::Unknown => 0,
        EventType::Started => 1,
        EventType::Progress => 2,
        EventType::Completed => 3,
        EventType::Failed => 4,
        EventType::Cancelled => 5,
        EventType::Rejected => 6,
    };
    Value::Array(
        types
            .iter()
            .map(|kind| symbol(index(*kind), kind.as_str()))
            .collect(),
    )
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn symbol(index: u32, symbol: &str) -> Value {
    Value::Enum(index, symbol.to_owned())
}

fn union(branch: u32, value: Value) -> Value {
    Value::Union(branch, Box::new(value))
}

fn optional(value: Option<Value>) -> Value {
    match value {
        None => union(0, Value::Null),
        Some(value) => union(1, value),
    }
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn optional_string(text: Option<&str>) -> Value {
    optional(text.map(string))
}

fn strings(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| string(text)).collect())
}

fn strings_by_name(texts: &std::collections::BTreeMap<String, String>) -> Value {
    let entries = texts
        .iter()
        .map(|(name, text)| (name.clone(), string(text)));
    Value::Map(entries.collect())
}
