//! Bytes to domain and back: the schemas of `schemas/`, embedded, and what stands in each field.
//!
//! Reading resolves the writer's schema to ours, so a producer on an older or newer compatible schema is
//! understood. Requests and commands are read field by field, so an error names the field and what is wanted;
//! events and receipts are written and read through serde, whose shape is the schema's.
//! Knows nothing of the registry: it is given the writer's schema.

mod datum;
mod fields;
mod read;
mod resolve;
mod write;

use std::sync::LazyLock;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use serde::Serialize;

pub use self::datum::{SchemaError, parse_writer};
use self::fields::Fields;
pub use self::write::{write_command, write_request};
use crate::domain::{Command, Event, EventType, Faults, Invalid, Kind, Request, Targets};

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
    /// Readable, but fields break the contract.
    #[error("{error}")]
    Invalid {
        /// What is wrong.
        error: Faults,
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
        LazyLock::new(|| {
            Ours::parse(
                $name,
                include_str!(concat!("../../schemas/", $name, ".avsc")),
            )
        })
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
    let text = include_str!("../../schemas/history/1/GenerationRequest.avsc");
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
    let fields = Fields::of(&value).map_err(unnamed)?;
    read::request(&fields)
        .map_err(Faults::from)
        .and_then(Request::check)
        .map_err(|error| Error::Invalid {
            error,
            named: read::named(&fields).ok().map(Box::new),
        })
}

/// Reads a request that a workflow's input holds, written with schema version 1: its bounds were checked when it came.
pub(crate) fn read_stored(datum: &[u8]) -> Result<Request, Error> {
    let value = read(&STORED, datum, &REQUEST)?;
    Fields::of(&value)
        .and_then(|fields| read::request(&fields))
        .map_err(unnamed)
}

/// Reads a command, written with `writer`.
///
/// # Errors
/// [`Error::Datum`] or [`Error::Invalid`].
pub fn read_command(writer: &Schema, datum: &[u8]) -> Result<Command, Error> {
    let value = read(writer, datum, &COMMAND)?;
    Fields::of(&value)
        .and_then(|fields| read::command(&fields))
        .map_err(unnamed)
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

fn unnamed(error: Invalid) -> Error {
    let error = error.into();
    Error::Invalid { error, named: None }
}

fn read(writer: &Schema, datum: &[u8], ours: &Ours) -> Result<Value, Error> {
    let value = datum::read(writer, datum)?;
    resolve::resolve(value, writer, &ours.schema).map_err(|error| Error::Datum(Box::new(error)))
}

#[cfg(test)]
mod tests;
