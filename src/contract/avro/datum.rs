//! A datum of anyone's schema, read at a bounded cost: whoever may write to a topic may send any bytes, framed with the
//! id of any schema that the registry holds.
//!
//! The library is told how much it may allocate in one step, is not let read past the end (it would take what is
//! missing for nulls, as many as a count says), and sees no schema that makes more of a datum than stands in it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what holds no other schema is a leaf, whatever else a schema can be"
)]

use std::collections::HashMap;
use std::io::{self, Read};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{FixedSchema, InnerDecimalSchema, Name, ResolvedSchema, UuidSchema};
use apache_avro::types::Value;

use super::Error;

/// The most allocated in one step: the largest record, which is one of the dead-letter topic.
const MAX_ALLOCATION: usize = 4 * 1024 * 1024;
/// How deep values may stand within one another; in ours it is ten. The library recurses, and the stack is finite.
const DEEPEST: usize = 64;
/// How many values may come of a datum without items; in ours it is a hundred.
const WIDEST: usize = 4096;

/// Why a writer's schema is not used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is of another kind.
    #[error("is {0}, want Avro")]
    Kind(String),
    /// It does not parse.
    #[error("is not an Avro schema")]
    Text(#[source] Box<apache_avro::Error>),
    /// A type holds itself, so a datum nests as deep as it is long; or there are very many levels.
    #[error("nests deeper than {DEEPEST} levels")]
    Deep,
    /// Types within types multiply.
    #[error("makes more than {WIDEST} values of one datum")]
    Wide,
    /// A few bytes could ask for any number of them.
    #[error("has a field or item that takes no bytes")]
    Empty,
    /// The library takes the memory before it looks whether the datum is so long.
    #[error("has a fixed of more than {MAX_ALLOCATION} bytes")]
    Large,
}

/// Parses a writer's schema, and holds it against what a datum of it may cost.
///
/// # Errors
/// [`SchemaError`].
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

/// Reads a datum as it was written, all of it.
pub(crate) fn read(writer: &Schema, datum: &[u8]) -> Result<Value, Error> {
    // The first call in a process counts, so there must be no other way to a datum than this.
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
    let mut rest = Rest(datum);
    let value = GenericDatumReader::builder(writer)
        .build()
        .and_then(|reader| reader.read_value(&mut rest))
        .map_err(|error| Error::Datum(Box::new(error)))?;
    if !rest.0.is_empty() {
        return Err(Error::Unframed("bytes are left over behind the message"));
    }
    Ok(value)
}

/// What is left of a datum. Its end is an error of another kind than the one that the library reads as null.
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

/// What becomes of a datum in which every count of items is one.
#[derive(Clone, Copy)]
struct Size {
    /// Levels of values.
    depth: usize,
    /// Values.
    values: usize,
    /// Whether it may take no bytes at all.
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
    /// Measures `schema`, which stands `level` deep.
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
                None => {
                    self.known.insert(&record.name, None);
                    let mut fields = Vec::with_capacity(record.fields.len());
                    for field in &record.fields {
                        let field = self.size(&field.schema, level + 1)?;
                        // Thousands of them beside one byte would make as many values of each item.
                        if field.empty {
                            return Err(SchemaError::Empty);
                        }
                        fields.push(field);
                    }
                    let size = Size::around(fields);
                    self.known.insert(&record.name, Some(size));
                    size
                }
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

    fn fixed(fixed: &FixedSchema) -> Result<Size, SchemaError> {
        if fixed.size > MAX_ALLOCATION {
            return Err(SchemaError::Large);
        }
        Ok(Size {
            empty: fixed.size == 0,
            ..Size::LEAF
        })
    }

    /// A count or a branch takes a byte, whatever is in it.
    fn nonempty(size: Size) -> Size {
        Size {
            empty: false,
            ..size
        }
    }
}
