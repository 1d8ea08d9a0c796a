//! Bytes to domain and back: the schemas of `schemas/`, embedded, and what stands in each field.
//!
//! Reading resolves the writer's schema to ours, so a producer on an older or newer compatible schema is
//! understood. Requests and commands are read field by field, so an error names the field and what is wanted;
//! events and receipts are written and read through serde, whose shape is the schema's.
//! Knows nothing of the registry: it is given the writer's schema.

mod datum;
mod fields;
mod resolve;
mod write;

use std::sync::LazyLock;
use std::time::Duration;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use serde::Serialize;

pub use self::datum::{SchemaError, parse_writer};
use self::fields::Fields;
pub use self::write::{write_command, write_request};
use crate::domain::{
    Action, BatchItem, BatchSpec, Command, Event, EventType, ImageSpec, Invalid, Kind, OnFailure,
    Priority, ProviderName, Request, Spec, Strategy, Targets, UserId, VideoSpec,
};

/// One of our schemas: its text as registered, and parsed.
#[derive(Debug)]
pub struct Ours {
    /// Record name, which is also the file's name.
    pub name: &'static str,
    /// The text of the `.avsc` file.
    pub text: &'static str,
    /// The same, parsed once.
    pub schema: Schema,
}

/// Why bytes are not the message they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the Confluent wire format.
    #[error("is not Confluent-framed Avro: {0}")]
    Unframed(&'static str),
    /// Not a datum of the writer's schema, or that schema does not resolve to ours.
    #[error("is not readable with the schema it names")]
    Datum(#[source] Box<apache_avro::Error>),
    /// Readable, but a field breaks the contract.
    #[error("{error}")]
    Invalid {
        /// What is wrong.
        error: Invalid,
        /// What can be said of the request all the same.
        named: Option<Box<Named>>,
    },
}

/// What can be read of a request that is not valid: enough to answer it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The id, itself valid.
    pub request: crate::domain::RequestId,
    /// The tenant; empty if what came is no user id.
    pub user: String,
    /// What was asked for.
    pub kind: Kind,
    /// Whom to tell, where the targets themselves are good.
    pub targets: Targets,
    /// Of which events.
    pub notify_on: Vec<EventType>,
}

macro_rules! ours {
    ($name:literal) => {
        LazyLock::new(|| Ours::parse($name, include_str!(concat!("../schemas/", $name, ".avsc"))))
    };
}

/// The value of `gen.requests`.
pub static REQUEST: LazyLock<Ours> = ours!("GenerationRequest");
/// The value of `gen.commands`.
pub static COMMAND: LazyLock<Ours> = ours!("GenerationCommand");
/// The value of `gen.events` and `gen.results`.
pub static EVENT: LazyLock<Ours> = ours!("GenerationEvent");
/// The value of `gen.notifications`.
pub static RECEIPT: LazyLock<Ours> = ours!("NotificationReceipt");

/// The schema of requests in the inputs of workflows: that of `compact`'s format 1, whatever is registered today.
static STORED: LazyLock<Schema> = LazyLock::new(|| {
    let text = include_str!("../schemas/history/1/GenerationRequest.avsc");
    Ours::parse("GenerationRequest", text).schema
});

impl Ours {
    #[expect(
        clippy::expect_used,
        reason = "the text is part of the program; a test parses each"
    )]
    fn parse(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            schema: Schema::parse_str(text).expect("a schema of ours parses"),
        }
    }
}

/// Splits Confluent-framed bytes into schema id and datum.
///
/// # Errors
/// [`Error::Unframed`] when the magic byte or the id is missing.
pub fn unframe(bytes: &[u8]) -> Result<(u32, &[u8]), Error> {
    match bytes {
        [] => Err(Error::Unframed("it is empty")),
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [0, ..] => Err(Error::Unframed("it ends within the schema id")),
        [_, ..] => Err(Error::Unframed("its first byte is not 0")),
    }
}

/// Puts the Confluent header before a datum.
pub fn frame(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(datum.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&schema_id.to_be_bytes());
    framed.extend_from_slice(datum);
    framed
}

/// Reads a generation request, written with `writer`.
///
/// # Errors
/// [`Error::Datum`] or [`Error::Invalid`].
pub fn read_request(writer: &Schema, datum: &[u8]) -> Result<Request, Error> {
    let value = read(writer, datum, &REQUEST)?;
    let fields = Fields::of(&value).map_err(|error| Error::Invalid { error, named: None })?;
    request(&fields)
        .and_then(Request::check)
        .map_err(|error| Error::Invalid {
            error,
            named: named(&fields).ok().map(Box::new),
        })
}

/// Reads a request that a workflow's input holds, written with schema version 1: its bounds were checked when it came.
pub(crate) fn read_stored(datum: &[u8]) -> Result<Request, Error> {
    let value = read(&STORED, datum, &REQUEST)?;
    let read = Fields::of(&value).and_then(|fields| request(&fields));
    read.map_err(|error| Error::Invalid { error, named: None })
}

/// Reads a command, written with `writer`.
///
/// # Errors
/// [`Error::Datum`] or [`Error::Invalid`].
pub fn read_command(writer: &Schema, datum: &[u8]) -> Result<Command, Error> {
    let value = read(writer, datum, &COMMAND)?;
    let fields = Fields::of(&value).map_err(|error| Error::Invalid { error, named: None })?;
    command(&fields).map_err(|error| Error::Invalid { error, named: None })
}

/// Reads a lifecycle event, written with `writer`.
///
/// # Errors
/// [`Error::Datum`].
pub fn read_event(writer: &Schema, datum: &[u8]) -> Result<Event, Error> {
    let value = read(writer, datum, &EVENT)?;
    from_value(&value).map_err(|error| Error::Datum(Box::new(error)))
}

/// Reads whatever `writer` wrote, and returns it as JSON: for a person to look at, with no rule held against it.
///
/// # Errors
/// [`Error::Datum`].
pub fn to_json(writer: &Schema, datum: &[u8]) -> Result<serde_json::Value, Error> {
    datum::read(writer, datum)?
        .try_into()
        .map_err(|error| Error::Datum(Box::new(error)))
}

/// Writes an event, a receipt: anything whose serde shape is that of `ours`.
///
/// # Errors
/// [`Error::Datum`] when the value does not fit, which a test of each shape rules out.
pub fn write<T: Serialize>(ours: &Ours, value: &T) -> Result<Vec<u8>, Error> {
    let writer = GenericDatumWriter::builder(&ours.schema)
        .build()
        .map_err(|error| Error::Datum(Box::new(error)))?;
    writer
        .write_ser_to_vec(value)
        .map_err(|error| Error::Datum(Box::new(error)))
}

fn read(writer: &Schema, datum: &[u8], ours: &Ours) -> Result<Value, Error> {
    let value = datum::read(writer, datum)?;
    resolve::resolve(value, writer, &ours.schema).map_err(|error| Error::Datum(Box::new(error)))
}

fn named(fields: &Fields<'_>) -> Result<Named, Invalid> {
    Ok(Named {
        request: fields.string("request_id")?.to_owned().try_into()?,
        // What is no user id names no tenant, and may be as long as the record.
        user: UserId::try_from(fields.string("user_id")?.to_owned())
            .map_or_else(|_| String::new(), |user| user.as_str().to_owned()),
        kind: match fields.branch("spec")? {
            (0, _) => Kind::Video,
            (1, _) => Kind::Image,
            (2, _) => Kind::Batch,
            _ => Kind::Unknown,
        },
        targets: targets(fields).unwrap_or_default(),
        notify_on: notify_on(fields)?,
    })
}

fn request(fields: &Fields<'_>) -> Result<Request, Invalid> {
    let user = fields.string("user_id")?.to_owned();
    Ok(Request {
        id: fields.string("request_id")?.to_owned().try_into()?,
        user: user
            .try_into()
            .map_err(|error| Invalid::new("user_id", format!("{error}")))?,
        spec: match fields.branch("spec")? {
            (0, video) => Spec::Video(video_spec(&video)?),
            (1, image) => Spec::Image(image_spec(&image)?),
            (_, batch) => Spec::Batch(batch_spec(&batch)?),
        },
        priority: match fields.symbol("priority")? {
            "HIGH" => Priority::High,
            "LOW" => Priority::Low,
            // A symbol of a later version reads as UNKNOWN: it must not hold the request up.
            _ => Priority::Normal,
        },
        timeout: timeout(fields)?,
        targets: targets(fields)?,
        notify_on: notify_on(fields)?,
        metadata: fields.strings_by_name("metadata")?,
        requested_at: fields.optional_millis("requested_at")?,
    })
}

fn timeout(fields: &Fields<'_>) -> Result<Option<Duration>, Invalid> {
    let seconds = fields.optional_int("timeout_seconds")?;
    let seconds = seconds.map(|seconds| u64::try_from(seconds).map_err(|_| seconds));
    seconds
        .transpose()
        .map(|seconds| seconds.map(Duration::from_secs))
        .map_err(Request::timeout_out_of_bounds)
}

fn targets(fields: &Fields<'_>) -> Result<Targets, Invalid> {
    Targets::parse(
        fields.optional_string("webhook_url")?,
        fields.optional_string("notify_email")?,
        fields.optional_string("notify_slack")?,
    )
}

fn notify_on(fields: &Fields<'_>) -> Result<Vec<EventType>, Invalid> {
    let names = fields.symbols("notify_on")?;
    let mut known = Vec::new();
    for kind in names.into_iter().map(EventType::parse) {
        // Each once: it goes along in every event, and a record has room for a million repeats.
        if kind != EventType::Unknown && !known.contains(&kind) {
            known.push(kind);
        }
    }
    Ok(known)
}

fn video_spec(fields: &Fields<'_>) -> Result<VideoSpec, Invalid> {
    Ok(VideoSpec {
        prompt: fields.string("prompt")?.to_owned(),
        duration: fields.int("duration")?,
        resolution: fields.string("resolution")?.to_owned(),
        fps: fields.int("fps")?,
        style: fields.string("style")?.to_owned(),
        provider: provider(fields)?,
        model: fields.optional_string("model")?.map(str::to_owned),
        params: fields.strings_by_name("params")?,
        input_urls: fields.strings("input_urls")?,
    })
}

fn image_spec(fields: &Fields<'_>) -> Result<ImageSpec, Invalid> {
    Ok(ImageSpec {
        prompt: fields.string("prompt")?.to_owned(),
        width: fields.int("width")?,
        height: fields.int("height")?,
        style: fields.string("style")?.to_owned(),
        num_images: fields.int("num_images")?,
        provider: provider(fields)?,
        model: fields.optional_string("model")?.map(str::to_owned),
        params: fields.strings_by_name("params")?,
        input_urls: fields.strings("input_urls")?,
    })
}

fn provider(fields: &Fields<'_>) -> Result<Option<ProviderName>, Invalid> {
    fields
        .optional_string("provider")?
        .map(|raw| ProviderName::parse("spec.provider", raw))
        .transpose()
}

fn batch_spec(fields: &Fields<'_>) -> Result<BatchSpec, Invalid> {
    Ok(BatchSpec {
        strategy: match fields.symbol("strategy")? {
            "PARALLEL" => Strategy::Parallel,
            "SEQUENTIAL" => Strategy::Sequential,
            _ => {
                return Err(Invalid::new(
                    "spec.strategy",
                    "is unknown, want PARALLEL or SEQUENTIAL",
                ));
            }
        },
        max_concurrent: fields.int("max_concurrent")?,
        on_failure: match fields.symbol("on_failure")? {
            "CONTINUE" => OnFailure::Continue,
            "STOP" => OnFailure::Stop,
            _ => {
                return Err(Invalid::new(
                    "spec.on_failure",
                    "is unknown, want CONTINUE or STOP",
                ));
            }
        },
        items: fields
            .records("items")?
            .iter()
            .enumerate()
            .map(|(index, item)| batch_item(item).map_err(|error| error.of_item(index)))
            .collect::<Result<_, _>>()?,
    })
}

fn batch_item(fields: &Fields<'_>) -> Result<BatchItem, Invalid> {
    let webhook = Targets::parse(fields.optional_string("webhook_url")?, None, None)?.webhook;
    Ok(BatchItem {
        request_id: fields.string("request_id")?.to_owned().try_into()?,
        spec: match fields.branch("spec")? {
            (0, video) => Spec::Video(video_spec(&video)?),
            (_, image) => Spec::Image(image_spec(&image)?),
        },
        webhook_url: webhook,
        notify_on: notify_on(fields)?,
        metadata: fields.strings_by_name("metadata")?,
    })
}

fn command(fields: &Fields<'_>) -> Result<Command, Invalid> {
    let id = fields.string("command_id")?.to_owned();
    Ok(Command {
        id: id
            .try_into()
            .map_err(|error| Invalid::new("command_id", format!("{error}")))?,
        request: fields.string("request_id")?.to_owned().try_into()?,
        action: match fields.symbol("action")? {
            "CANCEL" => Action::Cancel,
            "RETRY" => Action::Retry,
            _ => return Err(Invalid::new("action", "is unknown, want CANCEL or RETRY")),
        },
        reason: fields.optional_string("reason")?.map(str::to_owned),
        issued_by: fields.optional_string("issued_by")?.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
