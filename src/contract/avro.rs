//! Decodes and encodes messages by the schemas in `schemas/`, which are compiled in.
//!
//! Reading resolves the writer's schema to ours, so producers may use an older or newer compatible schema. Requests and
//! commands are read field by field, so that an error names the field and the expected value. Events and receipts are
//! read and written through serde: their serde shape is that of the schema. This module does not call the registry:
//! the caller passes the writer's schema.

mod datum;
mod fields;
mod read;
mod resolve;
mod write;

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::datum::{SchemaError, parse_writer};
use self::fields::Fields;
pub use self::write::{write_command, write_request};
use crate::domain::{
    Command, Event, EventType, Invalid, InvalidFields, Kind, Request, RequestId, Targets,
};

/// One of our schemas, as text and parsed.
pub struct Ours {
    /// Record name, which is also the file's name.
    pub name: &'static str,
    /// The text of the `.avsc` file, as it is registered.
    pub text: &'static str,
    pub schema: Schema,
    codec: OnceLock<Codec>,
}

/// The library's reader and writer of a schema. Each holds an index of the schema's named types; to build it takes about as
/// long as to read a record.
struct Codec {
    reader: GenericDatumReader<'static>,
    writer: GenericDatumWriter<'static>,
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not in the Confluent wire format.
    #[error("the value is not Confluent-framed Avro: {0}")]
    Unframed(&'static str),
    #[error("bytes are left over after the message; is the schema id right?")]
    LeftOver,
    /// The bytes are not a datum of the writer's schema, or that schema does not resolve to ours.
    #[error("the value is not readable with the schema it names")]
    Datum(#[source] Box<apache_avro::Error>),
    /// The message is readable, but fields break the contract.
    #[error("{error}")]
    Invalid {
        error: InvalidFields,
        /// The readable part of the request; `None` if its id is not readable.
        named: Option<Box<PartialRequest>>,
    },
}

impl From<apache_avro::Error> for Error {
    fn from(error: apache_avro::Error) -> Self {
        Self::Datum(Box::new(error))
    }
}

/// The readable part of an invalid request: enough to answer it with an event.
#[derive(Clone, Debug)]
pub struct PartialRequest {
    pub request: RequestId,
    /// The tenant; empty if the field is not a valid user id.
    pub user: String,
    pub kind: Kind,
    /// The notification targets; empty if they are not valid.
    pub targets: Targets,
    pub notify_on: Vec<EventType>,
}

/// The schema of the values on `gen.requests`.
pub static REQUEST: LazyLock<Ours> = LazyLock::new(|| {
    let text = include_str!("../../schemas/GenerationRequest.avsc");
    Ours::parse("GenerationRequest", text)
});
/// The schema of the values on `gen.commands`.
pub static COMMAND: LazyLock<Ours> = LazyLock::new(|| {
    let text = include_str!("../../schemas/GenerationCommand.avsc");
    Ours::parse("GenerationCommand", text)
});
/// The schema of the values on `gen.events` and `gen.results`.
pub static EVENT: LazyLock<Ours> = LazyLock::new(|| {
    let text = include_str!("../../schemas/GenerationEvent.avsc");
    Ours::parse("GenerationEvent", text)
});
/// The schema of the values on `gen.notifications`.
pub static RECEIPT: LazyLock<Ours> = LazyLock::new(|| {
    let text = include_str!("../../schemas/NotificationReceipt.avsc");
    Ours::parse("NotificationReceipt", text)
});

/// The schema of the request in the input of `batch.v1`: that of format 1 of `batch_items`, whichever schema is
/// registered now.
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
            schema: Schema::parse_str(text).expect("an embedded schema parses"),
            codec: OnceLock::new(),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "the text is part of the program; tests read and write each"
    )]
    fn codec(&'static self) -> &'static Codec {
        let resolves = "an embedded schema resolves";
        self.codec.get_or_init(|| Codec {
            reader: GenericDatumReader::builder(&self.schema)
                .build()
                .expect(resolves),
            writer: GenericDatumWriter::builder(&self.schema)
                .build()
                .expect(resolves),
        })
    }
}

/// Splits Confluent-framed bytes into schema id and datum.
pub fn unframe(bytes: &[u8]) -> Result<(u32, &[u8]), Error> {
    match bytes {
        [] => Err(Error::Unframed("it is empty")),
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [0, ..] => Err(Error::Unframed("it ends within the schema id")),
        [_, ..] => Err(Error::Unframed("its first byte is not 0")),
    }
}

/// Returns the Confluent header and the datum.
pub fn frame(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(datum.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&schema_id.to_be_bytes());
    framed.extend_from_slice(datum);
    framed
}

pub fn read_request(writer: &Schema, datum: &[u8]) -> Result<Request, Error> {
    let value = read(writer, datum, &REQUEST)?;
    let fields = Fields::of(&value).map_err(invalid)?;
    read::request(&fields)
        .map_err(InvalidFields::from)
        .and_then(Request::check)
        .map_err(|error| Error::Invalid {
            error,
            named: read::named(&fields).ok().map(Box::new),
        })
}

/// Reads a batch's request from the input of `batch.v1`. Intake has already checked its bounds.
pub(crate) fn read_stored(datum: &[u8]) -> Result<Request, Error> {
    let value = read(&STORED, datum, &REQUEST)?;
    Fields::of(&value)
        .and_then(|fields| read::request(&fields))
        .map_err(invalid)
}

pub fn read_command(writer: &Schema, datum: &[u8]) -> Result<Command, Error> {
    let value = read(writer, datum, &COMMAND)?;
    Fields::of(&value)
        .and_then(|fields| read::command(&fields))
        .map_err(invalid)
}

pub fn read_event(writer: &Schema, datum: &[u8]) -> Result<Event, Error> {
    read_as(writer, datum, &EVENT)
}

/// Reads a value whose serde shape is that of `ours`: an event or a receipt.
///
/// # Errors
/// The datum does not fit the writer's schema, or the schema is not a version of `ours`.
pub fn read_as<T: DeserializeOwned>(
    writer: &Schema,
    datum: &[u8],
    ours: &'static Ours,
) -> Result<T, Error> {
    Ok(from_value(&read(writer, datum, ours)?)?)
}

/// Returns a datum of any writer's schema as JSON, for people to read; does not check that it is one of our messages.
pub fn to_json(writer: &Schema, datum: &[u8]) -> Result<serde_json::Value, Error> {
    Ok(datum::read(writer, datum)?.try_into()?)
}

/// Writes a value whose serde shape is that of `ours`: an event or a receipt.
///
/// # Errors
/// [`Error::Datum`] if the value does not fit, which a test of each shape rules out.
pub fn write<T: Serialize>(ours: &'static Ours, value: &T) -> Result<Vec<u8>, Error> {
    Ok(ours.codec().writer.write_ser_to_vec(value)?)
}

fn invalid(error: Invalid) -> Error {
    let error = error.into();
    Error::Invalid { error, named: None }
}

fn read(writer: &Schema, datum: &[u8], ours: &'static Ours) -> Result<Value, Error> {
    // Most producers use the schema of this version: there is nothing to resolve.
    if *writer == ours.schema {
        return datum::read_by(&ours.codec().reader, datum);
    }
    let value = datum::read(writer, datum)?;
    Ok(resolve::resolve(value, writer, &ours.schema)?)
}

#[cfg(test)]
mod tests;
