//! Writes requests and commands as Avro, for the command line and for the items of a batch (`batch_items`).
//!
//! This is the reverse of `read.rs`, field for field; a round trip through both is tested for each branch. An `Option`
//! becomes a union whose first branch is null, as all our optional fields are; the writer turns text into enum symbols.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use url::Url;

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
    let seconds = seconds.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX));
    let targets = &request.targets;
    let spec = match &request.spec {
        Spec::Single(single) => of_single(single),
        Spec::Batch(batch) => union(2, batch_spec(batch)),
    };
    let priority = match request.priority {
        Priority::Low => "LOW",
        Priority::Normal => "NORMAL",
        Priority::High => "HIGH",
    };
    let value = record([
        ("request_id", request.id.as_str().into()),
        ("user_id", request.user.as_str().into()),
        ("spec", spec),
        ("priority", priority.into()),
        ("timeout_seconds", seconds.into()),
        ("webhook_url", url(targets.webhook.as_ref())),
        ("notify_email", targets.email.as_deref().into()),
        ("notify_slack", url(targets.slack.as_ref())),
        ("notify_on", event_types(&request.notify_on)),
        ("metadata", strings_by_name(&request.metadata)),
        ("requested_at", millis(request.requested_at)),
    ]);
    written(&REQUEST, value)
}

/// Writes a command as a datum of our schema; `issued_at` is in milliseconds since the epoch.
///
/// # Errors
/// [`Error::Datum`] if the value does not fit, which a test rules out.
pub fn write_command(command: &Command, issued_at: Option<i64>) -> Result<Vec<u8>, Error> {
    let action = match command.action {
        Action::Cancel => "CANCEL",
        Action::Retry => "RETRY",
    };
    let value = record([
        ("command_id", command.id.as_str().into()),
        ("request_id", command.request.as_str().into()),
        ("action", action.into()),
        ("reason", command.reason.as_deref().into()),
        ("issued_by", command.issued_by.as_deref().into()),
        ("issued_at", millis(issued_at)),
    ]);
    written(&COMMAND, value)
}

fn written(ours: &'static Ours, value: Value) -> Result<Vec<u8>, Error> {
    Ok(ours.codec().writer.write_value_to_vec(value)?)
}

fn of_single(single: &Single) -> Value {
    match single {
        Single::Video(video) => union(0, video_spec(video)),
        Single::Image(image) => union(1, image_spec(image)),
    }
}

fn video_spec(video: &VideoSpec) -> Value {
    let own = [
        ("duration", video.duration.into()),
        ("resolution", video.resolution.as_deref().into()),
        ("fps", video.fps.into()),
        ("audio", video.audio.into()),
    ];
    record(own.into_iter().chain(common(&video.common)))
}

fn image_spec(image: &ImageSpec) -> Value {
    let own = [
        ("width", image.width.into()),
        ("height", image.height.into()),
        ("num_images", image.num_images.into()),
        ("output_format", image.output_format.as_deref().into()),
    ];
    record(own.into_iter().chain(common(&image.common)))
}

fn common(common: &Common) -> [(&'static str, Value); 11] {
    let on_unsupported = match common.on_unsupported {
        OnUnsupported::Refuse => "REFUSE",
        OnUnsupported::Drop => "DROP",
    };
    let inputs = common.inputs.iter().map(input);
    let fallback = common.fallback.iter().map(fallback);
    [
        ("prompt", common.prompt.as_str().into()),
        ("negative_prompt", common.negative_prompt.as_deref().into()),
        ("aspect_ratio", common.aspect_ratio.as_deref().into()),
        ("style", common.style.as_deref().into()),
        ("seed", common.seed.into()),
        ("inputs", Value::Array(inputs.collect())),
        (
            "provider",
            common.provider.as_ref().map(ProviderName::as_str).into(),
        ),
        ("model", common.model.as_deref().into()),
        ("params", strings_by_name(&common.params)),
        ("on_unsupported", on_unsupported.into()),
        ("fallback", Value::Array(fallback.collect())),
    ]
}

fn input(input: &Input) -> Value {
    let role = match input.role {
        Role::Unspecified => "UNSPECIFIED",
        Role::FirstFrame => "FIRST_FRAME",
        Role::LastFrame => "LAST_FRAME",
        Role::Source => "SOURCE",
        Role::Reference => "REFERENCE",
        Role::Mask => "MASK",
    };
    record([("url", input.url.as_str().into()), ("role", role.into())])
}

fn fallback(fallback: &Fallback) -> Value {
    record([
        ("provider", fallback.provider.as_str().into()),
        ("model", fallback.model.as_deref().into()),
    ])
}

fn batch_spec(batch: &BatchSpec) -> Value {
    let strategy = match batch.strategy {
        Strategy::Parallel => "PARALLEL",
        Strategy::Sequential => "SEQUENTIAL",
    };
    let on_failure = match batch.on_failure {
        OnFailure::Continue => "CONTINUE",
        OnFailure::Stop => "STOP",
    };
    let items = batch.items.iter().map(batch_item);
    record([
        ("strategy", strategy.into()),
        ("max_concurrent", batch.max_concurrent.into()),
        ("on_failure", on_failure.into()),
        ("items", Value::Array(items.collect())),
    ])
}

fn batch_item(item: &BatchItem) -> Value {
    record([
        ("request_id", item.request_id.as_str().into()),
        ("spec", of_single(&item.spec)),
        ("webhook_url", url(item.webhook_url.as_ref())),
        ("notify_on", event_types(&item.notify_on)),
        ("metadata", strings_by_name(&item.metadata)),
    ])
}

fn event_types(types: &[EventType]) -> Value {
    Value::Array(types.iter().map(|kind| kind.as_str().into()).collect())
}

/// Returns a record. The order of `fields` does not matter: the writer finds each by its name.
fn record<'n>(fields: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    let fields = fields.into_iter();
    Value::Record(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn union(branch: u32, value: Value) -> Value {
    Value::Union(branch, Box::new(value))
}

fn url(url: Option<&Url>) -> Value {
    url.map(Url::as_str).into()
}

fn millis(time: Option<i64>) -> Value {
    time.map(Value::TimestampMillis).into()
}

fn strings_by_name(texts: &BTreeMap<String, String>) -> Value {
    let entries = texts.iter();
    Value::Map(
        entries
            .map(|(name, text)| (name.clone(), text.as_str().into()))
            .collect(),
    )
}
