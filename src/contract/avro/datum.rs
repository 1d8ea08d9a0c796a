//! Reads a datum of any writer's schema at a bounded cost: a producer may send any bytes, framed with the id of any
//! schema in the registry.
//!
//! Three measures bound it. The library gets a limit on a single allocation. `Rest` makes the library fail at the end
//! of the bytes, where it would otherwise read missing values as nulls, as many as an item count claims. And
//! [`parse_writer`] refuses schemas that expand a short datum into many, deeply nested or empty values.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every schema that contains no other schema is a leaf"
)]

use std::collections::HashMap;
use std::io::{self, Read};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{
    FixedSchema, InnerDecimalSchema, Name, RecordSchema, ResolvedSchema, UuidSchema,
};
use apache_avro::types::Value;

use super::Error;

/// The largest single allocation in bytes: the size of the largest record, which is a dead letter.
const MAX_ALLOCATION: usize = 4 * 1024 * 1024;
/// The deepest nesting of values; our schemas have up to eleven levels. The library recurses, and the stack is finite.
const DEEPEST: usize = 64;
/// The most values that a datum may have if every array and map has one item; with our schemas it has a hundred.
const WIDEST: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("is {0}, expected Avro")]
    Kind(String),
    #[error("is not an Avro schema")]
    Text(#[source] Box<apache_avro::Error>),
    /// A type contains itself, so a datum may nest as deep as it is long; or there are too many levels.
    #[error("nests deeper than {DEEPEST} levels")]
    Deep,
    /// Types that contain each other more than once multiply the values.
    #[error("expands one datum to more than {WIDEST} values")]
    Wide,
    /// A few bytes could claim any number of such values.
    #[error("has a field or item that takes no bytes")]
    Empty,
    /// The library allocates a value of a fixed type before it checks that the datum is long enough.
    #[error("has a fixed type of more than {MAX_ALLOCATION} bytes")]
    Large,
}

/// Parses a writer's schema, and refuses it if a short datum of it could be expensive to read.
pub fn parse_writer(text: &str) -> Result<Schema, SchemaError> {
    let wrong = |error| SchemaError::Text(Box::new(error));
    let schema = Schema::parse_str(text).map_err(wrong)?;
    let resolved = ResolvedSchema::new(&schema).map_err(wrong)?;
    let mut measure = Measure {
        names: resolved.get_names(),
        known: HashMap::new(),
    };
    measure.size(&schema, 0)?;
    Ok(schema)
}

/// Reads a datum with the writer's schema; bytes left over are an error.
pub(crate) fn read(writer: &Schema, datum: &[u8]) -> Result<Value, Error> {
    read_by(&GenericDatumReader::builder(writer).build()?, datum)
}

/// Reads a datum with a reader of the writer's schema; bytes left over are an error.
pub(super) fn read_by(reader: &GenericDatumReader<'_>, datum: &[u8]) -> Result<Value, Error> {
    // Only the first call in a process sets the limit, so every datum must be read through this function.
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
    let mut rest = Rest(datum);
    let value = reader.read_value(&mut rest)?;
    if !rest.0.is_empty() {
        return Err(Error::LeftOver);
    }
    Ok(value)
}

/// The unread rest of a datum. At its end it does not fail with `UnexpectedEof`, which the library reads as a null.
struct Rest<'d>(&'d [u8]);

impl Read for Rest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_exact(buffer).map(|()| buffer.len())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some((read, rest)) = self.0.split_at_checked(buffer.len()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the message ends within a value",
            ));
        };
        buffer.copy_from_slice(read);
        self.0 = rest;
        Ok(())
    }
}

/// The size of a datum in which every array and map has one item.
#[derive(Clone, Copy)]
struct Size {
    /// Levels of nested values.
    depth: usize,
    values: usize,
    /// Whether it may be encoded in zero bytes.
    empty: bool,
}

impl Size {
    const LEAF: Self = Self {
        depth: 1,
        values: 1,
        empty: false,
    };

    fn around(inner: impl IntoIterator<Item = Self>) -> Self {
        let none = Self {
            empty: true,
            ..Self::LEAF
        };
        inner.into_iter().fold(none, |all, one| Self {
            depth: all.depth.max(one.depth + 1),
            values: all.values + one.values,
            empty: all.empty && one.empty,
        })
    }
}

struct Measure<'s> {
    names: &'s HashMap<Name, &'s Schema>,
    /// Records by name; `None` while one is being measured.
    known: HashMap<&'s Name, Option<Size>>,
}

impl<'s> Measure<'s> {
    /// Measures `schema`, which is nested `level` levels deep.
    fn size(&mut self, schema: &'s Schema, level: usize) -> Result<Size, SchemaError> {
        if level > DEEPEST {
            return Err(SchemaError::Deep);
        }
        let size = match schema {
            Schema::Null => Size::around([]),
            Schema::Fixed(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => Self::fixed(fixed)?,
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Fixed(fixed) => Self::fixed(fixed)?,
                InnerDecimalSchema::Bytes => Size::LEAF,
            },
            Schema::Ref { name } => match self.names.get(name).copied() {
                Some(named) => self.size(named, level)?,
                None => Size::LEAF,
            },
            Schema::Array(array) => {
                let item = self.size(&array.items, level + 1)?;
                if item.empty {
                    return Err(SchemaError::Empty);
                }
                Self::nonempty(Size::around([item]))
            }
            Schema::Map(map) => Self::nonempty(Size::around([self.size(&map.types, level + 1)?])),
            Schema::Union(union) => {
                let mut widest = Size::LEAF;
                for branch in union.variants() {
                    let branch = Size::around([self.size(branch, level + 1)?]);
                    widest.depth = widest.depth.max(branch.depth);
                    widest.values = widest.values.max(branch.values);
                }
                widest
            }
            Schema::Record(record) => match self.known.get(&record.name) {
                Some(Some(known)) => *known,
                Some(None) => return Err(SchemaError::Deep),
                None => self.record(record, level)?,
            },
            _ => Size::LEAF,
        };
        if level + size.depth > DEEPEST {
            return Err(SchemaError::Deep);
        }
        if size.values > WIDEST {
            return Err(SchemaError::Wide);
        }
        Ok(size)
    }

    fn record(&mut self, record: &'s RecordSchema, level: usize) -> Result<Size, SchemaError> {
        self.known.insert(&record.name, None);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let field = self.size(&field.schema, level + 1)?;
            // A record of one byte and thousands of empty fields would turn each byte into thousands of values.
            if field.empty {
                return Err(SchemaError::Empty);
            }
            fields.push(field);
        }
        let size = Size::around(fields);
        self.known.insert(&record.name, Some(size));
        Ok(size)
    }

    fn fixed(fixed: &FixedSchema) -> Result<Size, SchemaError> {
        if fixed.size > MAX_ALLOCATION {
            return Err(SchemaError::Large);
        }
        Ok(Size {
            empty: fixed.size == 0,
            ..Size::LEAF
        })
    }

    /// Marks a size as not empty: the count of an array or map takes at least one byte.
    fn nonempty(size: Size) -> Size {
        Size {
            empty: false,
            ..size
        }
    }
}
