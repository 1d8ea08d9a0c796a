//! Writes requests and commands as Avro, for `genflow submit` and `genflow cancel`.
//!
//! This is the reverse of `read.rs`, field for field; a round trip through both is tested for each branch.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::{COMMAND, Error, Ours, REQUEST};
use crate::domain::{
    Action, BatchItem, BatchSpec, Command, Common, EventType, Fallback, ImageSpec, Input,
    OnFailure, OnUnsupported, Priority, ProviderName, Request, Role, Single, Spec, Strategy,
    VideoSpec,
};

/// Writes a generation request as a datum of our schema.
///
/// # Errors
/// [`Error::Datum`] if the value does not fit, which a test of each shape rules out.
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
/// [`Error::Datum`] if the value does not fit, which a test rules out.
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
        Spec::Single(single) => of_single(single),
        Spec::Batch(batch) => union(2, batch_spec(batch)),
    }
}

fn of_single(single: &Single) -> Value {
    match single {
        Single::Video(video) => union(0, video_spec(video)),
        Single::Image(image) => union(1, image_spec(image)),
    }
}

fn video_spec(video: &VideoSpec) -> Value {
    let own = [
        ("duration", optional(video.duration.map(Value::Int))),
        ("resolution", optional_string(video.resolution.as_deref())),
        ("fps", optional(video.fps.map(Value::Int))),
        ("audio", optional(video.audio.map(Value::Boolean))),
    ];
    record(own.into_iter().chain(common(&video.common)))
}

fn image_spec(image: &ImageSpec) -> Value {
    let format = image.output_format.as_deref();
    let own = [
        ("width", optional(image.width.map(Value::Int))),
        ("height", optional(image.height.map(Value::Int))),
        ("num_images", optional(image.num_images.map(Value::Int))),
        ("output_format", optional_string(format)),
    ];
    record(own.into_iter().chain(common(&image.common)))
}

fn common(common: &Common) -> [(&'static str, Value); 11] {
    let provider = common.provider.map(ProviderName::as_str);
    let on_unsupported = match common.on_unsupported {
        OnUnsupported::Refuse => symbol(1, "REFUSE"),
        OnUnsupported::Drop => symbol(2, "DROP"),
    };
    let inputs = common.inputs.iter().map(input);
    let fallback = common.fallback.iter().map(fallback);
    [
        ("prompt", string(&common.prompt)),
        (
            "negative_prompt",
            optional_string(common.negative_prompt.as_deref()),
        ),
        (
            "aspect_ratio",
            optional_string(common.aspect_ratio.as_deref()),
        ),
        ("style", optional_string(common.style.as_deref())),
        ("seed", optional(common.seed.map(Value::Long))),
        ("inputs", Value::Array(inputs.collect())),
        ("provider", optional_string(provider)),
        ("model", optional_string(common.model.as_deref())),
        ("params", strings_by_name(&common.params)),
        ("on_unsupported", on_unsupported),
        ("fallback", Value::Array(fallback.collect())),
    ]
}

fn input(input: &Input) -> Value {
    let role = match input.role {
        Role::Unspecified => symbol(1, "UNSPECIFIED"),
        Role::FirstFrame => symbol(2, "FIRST_FRAME"),
        Role::LastFrame => symbol(3, "LAST_FRAME"),
        Role::Source => symbol(4, "SOURCE"),
        Role::Reference => symbol(5, "REFERENCE"),
        Role::Mask => symbol(6, "MASK"),
    };
    record([("url", string(input.url.as_str())), ("role", role)])
}

fn fallback(fallback: &Fallback) -> Value {
    record([
        ("provider", string(fallback.provider.as_str())),
        ("model", optional_string(fallback.model.as_deref())),
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
        // The schema has no branch for a batch in a batch, so the writer refuses one.
        ("spec", of_single(&item.spec)),
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

/// Returns a record. The order of `fields` does not matter: the writer finds each by its name.
fn record<'n>(fields: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
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

fn strings_by_name(texts: &std::collections::BTreeMap<String, String>) -> Value {
    let entries = texts
        .iter()
        .map(|(name, text)| (name.clone(), string(text)));
    Value::Map(entries.collect())
}
