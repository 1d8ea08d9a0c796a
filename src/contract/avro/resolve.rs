//! Resolves a value from the writer's schema to ours; union branches are matched by name.
//!
//! The library resolves a union of records by the shape of the value: it takes the first branch whose fields it can
//! fill, with defaults if necessary, so it could turn an image's spec into a video's. This module walks both schemas
//! together, as Avro's specification requires. Leaves (numbers, strings, logical types) are left to the library.

use std::collections::HashMap;

use apache_avro::error::Details;
use apache_avro::schema::{
    EnumSchema, Name, RecordField, ResolvedSchema, Schema, SchemaKind, UnionSchema,
};
use apache_avro::types::Value;
use apache_avro::{AvroResult, Error};
use serde_json::Value as Json;

/// Converts `value`, which was read with `writer`, to a value of `reader`.
pub(crate) fn resolve(value: Value, writer: &Schema, reader: &Schema) -> AvroResult<Value> {
    let (writers, readers) = (ResolvedSchema::new(writer)?, ResolvedSchema::new(reader)?);
    let resolver = Resolver {
        writers: writers.get_names(),
        readers: readers.get_names(),
    };
    resolver
        .value(value, writer, reader)
        .map_err(without_values)
}

/// Removes values from an error. The library's errors show the value that does not fit, up to the whole record, and
/// errors go to logs and headers.
fn without_values(error: Error) -> Error {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "errors not listed here may contain values"
    )]
    let reported = match error.details() {
        Details::GetField(_) | Details::SchemaResolutionError(_) => return error,
        Details::FindUnionVariant { value, .. } => {
            let kind = SchemaKind::from(value);
            format!("no branch of the union accepts a value of kind {kind:?}")
        }
        Details::GetEnumDefault { .. } => "an enum symbol is unknown".to_owned(),
        _ => "a value has the wrong type or is out of range".to_owned(),
    };
    serde::de::Error::custom(reported)
}

type Names<'s> = HashMap<Name, &'s Schema>;

struct Resolver<'s> {
    writers: &'s Names<'s>,
    readers: &'s Names<'s>,
}

impl Resolver<'_> {
    fn value(&self, value: Value, writer: &Schema, reader: &Schema) -> AvroResult<Value> {
        let (writer, reader) = (
            dereference(writer, self.writers)?,
            dereference(reader, self.readers)?,
        );
        match (writer, reader, value) {
            (Schema::Union(from), _, Value::Union(branch, inner)) => {
                let branch = from.variants().get(branch as usize);
                let branch = dereference(
                    branch.ok_or_else(|| no_field("union branch"))?,
                    self.writers,
                )?;
                self.value(*inner, branch, reader)
            }
            (_, Schema::Union(union), value) => self.branch(value, writer, union),
            (Schema::Record(from), Schema::Record(to), Value::Record(fields)) => {
                let mut fields: HashMap<_, _> = fields.into_iter().collect();
                let mut resolved = Vec::with_capacity(to.fields.len());
                for field in &to.fields {
                    let found = from.fields.iter().find(|other| is_field(other, field));
                    let value = match found
                        .and_then(|other| Some((other, fields.remove(&other.name)?)))
                    {
                        Some((other, value)) => self.value(value, &other.schema, &field.schema)?,
                        None => self.default_of(field)?,
                    };
                    resolved.push((field.name.clone(), value));
                }
                Ok(Value::Record(resolved))
            }
            (Schema::Array(from), Schema::Array(to), Value::Array(items)) => {
                let items = items.into_iter();
                let items = items.map(|item| self.value(item, &from.items, &to.items));
                Ok(Value::Array(items.collect::<AvroResult<_>>()?))
            }
            (Schema::Map(from), Schema::Map(to), Value::Map(entries)) => {
                let entries = entries
                    .into_iter()
                    .map(|(key, item)| Ok((key, self.value(item, &from.types, &to.types)?)));
                Ok(Value::Map(entries.collect::<AvroResult<_>>()?))
            }
            (Schema::Enum(_), Schema::Enum(to), Value::Enum(_, symbol)) => symbol_of(to, &symbol),
            (from, to, value) if SchemaKind::from(from) == SchemaKind::from(to) => Ok(value),
            (_, to, value) => value.resolve(to),
        }
    }

    /// Chooses the branch of the same type, and of the same name if it has one; otherwise the first unnamed branch to
    /// which the value can be promoted.
    fn branch(&self, value: Value, writer: &Schema, union: &UnionSchema) -> AvroResult<Value> {
        let branches = union.variants().iter().enumerate();
        let mut promoted = None;
        for (index, branch) in branches {
            let branch = dereference(branch, self.readers)?;
            if is_same(writer, branch) {
                promoted = Some((index, branch));
                break;
            }
            if promoted.is_none() && writer.name().is_none() && branch.name().is_none() {
                let fits = self.value(value.clone(), writer, branch).is_ok();
                promoted = fits.then_some((index, branch));
            }
        }
        let Some((index, branch)) = promoted else {
            let schema = union.clone();
            return Err(Details::FindUnionVariant { schema, value }.into());
        };
        let inner = self.value(value, writer, branch)?;
        Ok(Value::Union(
            u32::try_from(index).unwrap_or(u32::MAX),
            Box::new(inner),
        ))
    }

    fn default_of(&self, field: &RecordField) -> AvroResult<Value> {
        let default = field.default.as_ref();
        self.default(default.ok_or_else(|| no_field(&field.name))?, &field.schema)
    }

    fn default(&self, json: &Json, schema: &Schema) -> AvroResult<Value> {
        match (dereference(schema, self.readers)?, json) {
            (Schema::Union(union), _) => {
                let first = union
                    .variants()
                    .first()
                    .ok_or_else(|| no_field("union branch"))?;
                Ok(Value::Union(0, Box::new(self.default(json, first)?)))
            }
            (Schema::Record(record), Json::Object(values)) => {
                let mut fields = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    let value = match values.get(&field.name) {
                        Some(json) => self.default(json, &field.schema)?,
                        None => self.default_of(field)?,
                    };
                    fields.push((field.name.clone(), value));
                }
                Ok(Value::Record(fields))
            }
            (Schema::Array(array), Json::Array(items)) => {
                let items = items.iter().map(|item| self.default(item, &array.items));
                Ok(Value::Array(items.collect::<AvroResult<_>>()?))
            }
            (Schema::Map(map), Json::Object(entries)) => {
                let entries = entries
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), self.default(item, &map.types)?)));
                Ok(Value::Map(entries.collect::<AvroResult<_>>()?))
            }
            (Schema::Enum(symbols), Json::String(symbol)) => symbol_of(symbols, symbol),
            (leaf, json) => Value::try_from(json.clone())?.resolve(leaf),
        }
    }
}

/// Returns the schema itself, or the one that a reference names.
fn dereference<'s>(schema: &'s Schema, names: &Names<'s>) -> AvroResult<&'s Schema> {
    let Schema::Ref { name } = schema else {
        return Ok(schema);
    };
    match names.get(name) {
        Some(schema) => Ok(schema),
        None => Err(Details::SchemaResolutionError(name.clone()).into()),
    }
}

fn is_field(writers: &RecordField, ours: &RecordField) -> bool {
    writers.name == ours.name || ours.aliases.contains(&writers.name)
}

/// Returns whether two schemas have the same type and, if the type is named, the same unqualified name.
fn is_same(writer: &Schema, reader: &Schema) -> bool {
    let names = (writer.name().map(Name::name), reader.name().map(Name::name));
    SchemaKind::from(writer) == SchemaKind::from(reader) && names.0 == names.1
}

fn symbol_of(schema: &EnumSchema, symbol: &str) -> AvroResult<Value> {
    let position = |wanted: &str| schema.symbols.iter().position(|own| own == wanted);
    let own = schema.default.as_deref();
    let found = position(symbol).or_else(|| position(own?));
    let Some(index) = found else {
        let (symbol, symbols) = (symbol.to_owned(), schema.symbols.clone());
        return Err(Details::GetEnumDefault { symbol, symbols }.into());
    };
    Ok(Value::Enum(
        u32::try_from(index).unwrap_or(u32::MAX),
        schema.symbols[index].clone(),
    ))
}

fn no_field(name: &str) -> Error {
    Details::GetField(name.to_owned()).into()
}
