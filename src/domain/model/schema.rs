//! The input schema of a model, as a provider publishes it: a JSON Schema of an object.

use std::collections::BTreeMap;

use serde_json::Value;

/// The properties of a model's input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    pub(super) properties: BTreeMap<String, Property>,
    pub(super) required: Vec<String>,
}

/// One property: what it accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Property {
    /// The forms that its value may have; empty if the schema does not say.
    pub(super) forms: Vec<Form>,
    /// The only values that it accepts, unless `is_open`; empty: any.
    pub(super) choices: Vec<Value>,
    /// Accepts other texts than its choices.
    pub(super) is_open: bool,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) multiple_of: Option<f64>,
    /// Maximum number of items.
    pub(super) max_items: Option<usize>,
    pub(super) default: Option<Value>,
    pub(super) is_deprecated: bool,
    /// Holds a credential of the provider's customer.
    pub(super) is_secret: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Text,
    /// The URL of a file.
    File,
    Integer,
    Number,
    Boolean,
    List(Box<Self>),
    /// An object of `width` and `height`.
    Sides,
    Object,
}

/// Limit on the references that are followed from one property: a schema may refer to itself.
const DEPTH: usize = 8;
/// Limit on the parts of a schema: anyone may publish a model.
const PARTS: usize = 20_000;
/// Limit on the properties of an input.
const PROPERTIES: usize = 500;
/// Limit on the characters of a name, and of a text among the choices.
const LONGEST: usize = 200;

impl Schema {
    /// Reads the schema of an input object. `document` resolves its references (`#/…`).
    ///
    /// Returns `None` if it has no properties, or if it is too large.
    pub fn parse(document: &Value, input: &Value) -> Option<Self> {
        let input = referred(document, input).unwrap_or(input);
        let properties = input.get("properties")?.as_object()?;
        if properties.len() > PROPERTIES || properties.keys().any(|name| name.len() > LONGEST) {
            return None;
        }
        let mut reader = Reader {
            document,
            left: PARTS,
        };
        let read = properties.iter().map(|(name, schema)| {
            let mut property = Property::default();
            reader.add(&mut property, schema, DEPTH);
            (name.clone(), property)
        });
        let properties: BTreeMap<_, _> = read.collect();
        let required = input.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        // A name without a property cannot be set.
        let required = required
            .filter(|name| properties.contains_key(*name))
            .map(str::to_owned);
        let required = required.take(PROPERTIES).collect();
        (reader.left > 0).then_some(Self {
            properties,
            required,
        })
    }
}

/// Reads properties, up to a limit of parts.
struct Reader<'v> {
    document: &'v Value,
    left: usize,
}

impl Reader<'_> {
    /// Adds to a property what a schema says, and the schemas that it refers to.
    fn add(&mut self, property: &mut Property, schema: &Value, depth: usize) {
        self.left = self.left.saturating_sub(1);
        if depth == 0 || self.left == 0 {
            return;
        }
        if let Some(target) = referred(self.document, schema) {
            self.add(property, target, depth - 1);
        }
        for part in items(schema, "allOf") {
            self.add(property, part, depth - 1);
        }
        for alternative in items(schema, "anyOf").chain(items(schema, "oneOf")) {
            let mut read = Property::default();
            self.add(&mut read, alternative, depth - 1);
            property.or(read);
        }
        self.add_own(property, schema, depth);
    }

    /// Adds what a schema itself says.
    fn add_own(&mut self, property: &mut Property, schema: &Value, depth: usize) {
        property.forms.extend(self.forms(schema, depth));
        // A constant is an enum of one.
        let choices = items(schema, "enum").chain(schema.get("const"));
        for choice in
            choices.filter(|choice| choice.as_str().is_none_or(|text| text.len() <= LONGEST))
        {
            self.left = self.left.saturating_sub(1);
            if self.left > 0 {
                property.choices.push(choice.clone());
            }
        }
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        property.minimum = number("minimum").or(property.minimum);
        property.maximum = number("maximum").or(property.maximum);
        property.multiple_of = number("multipleOf")
            .filter(|step| *step > 0.0)
            .or(property.multiple_of);
        let most = schema.get("maxItems").and_then(Value::as_u64);
        let most = most.and_then(|most| usize::try_from(most).ok());
        property.max_items = most.or(property.max_items);
        let default = schema.get("default").filter(|value| is_short(value));
        property.default = default.cloned().or(property.default.take());
        let is_true = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        property.is_deprecated |= is_true("deprecated");
        let is_password = schema.get("format").and_then(Value::as_str) == Some("password");
        property.is_secret |= is_password || is_true("x-cog-secret") || is_true("writeOnly");
    }

    /// Returns the forms of a schema's `type`, which may be a list.
    fn forms(&mut self, schema: &Value, depth: usize) -> Vec<Form> {
        let one = schema.get("type").and_then(Value::as_str);
        let types = one
            .into_iter()
            .chain(items(schema, "type").filter_map(Value::as_str));
        let types: Vec<_> = types.take(DEPTH).collect();
        types
            .into_iter()
            .filter_map(|name| self.form(name, schema, depth))
            .collect()
    }

    fn form(&mut self, name: &str, schema: &Value, depth: usize) -> Option<Form> {
        Some(match name {
            "string" if schema.get("format").and_then(Value::as_str) == Some("uri") => Form::File,
            "string" => Form::Text,
            "integer" => Form::Integer,
            "number" => Form::Number,
            "boolean" => Form::Boolean,
            "array" => {
                let mut item = Property::default();
                if let Some(items) = schema.get("items") {
                    self.add(&mut item, items, depth - 1);
                }
                Form::List(Box::new(
                    item.forms.into_iter().next().unwrap_or(Form::Object),
                ))
            }
            "object" => {
                let has = |side: &str| schema.pointer(&format!("/properties/{side}")).is_some();
                match has("width") && has("height") {
                    true => Form::Sides,
                    false => Form::Object,
                }
            }
            _ => return None,
        })
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => text.len() <= LONGEST,
        Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

impl Property {
    /// Adds an alternative: a value may suit either.
    fn or(&mut self, other: Self) {
        let takes_any_text = other.forms == [Form::Text] && other.choices.is_empty();
        self.is_open |= takes_any_text || other.is_open;
        self.forms.extend(other.forms);
        self.choices.extend(other.choices);
        self.minimum = least(self.minimum, other.minimum, f64::min);
        self.maximum = least(self.maximum, other.maximum, f64::max);
        self.multiple_of = self.multiple_of.or(other.multiple_of);
        self.max_items = self.max_items.max(other.max_items);
        self.default = self.default.take().or(other.default);
        self.is_deprecated |= other.is_deprecated;
        self.is_secret |= other.is_secret;
    }

    pub(super) fn has(&self, form: &Form) -> bool {
        self.forms.contains(form)
    }

    pub(super) fn is_number(&self) -> bool {
        self.has(&Form::Integer) || self.has(&Form::Number)
    }

    /// Returns whether its value is a list of files. fal marks the URLs of files by their names only.
    pub(super) fn is_files(&self) -> bool {
        let list_of = |form| self.has(&Form::List(Box::new(form)));
        list_of(Form::File) || list_of(Form::Text)
    }

    /// Returns whether its value may be the URL of a file.
    pub(super) fn is_file(&self) -> bool {
        self.has(&Form::File) || self.has(&Form::Text) && self.choices.is_empty()
    }

    /// Returns whether it accepts any text.
    pub(super) fn takes_any_text(&self) -> bool {
        self.has(&Form::Text) && (self.choices.is_empty() || self.is_open)
    }
}

fn least(one: Option<f64>, other: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(choose(one, other)),
        (one, other) => one.or(other),
    }
}

fn items<'v>(schema: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    schema
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Returns the schema that a reference (`#/components/…`) leads to.
fn referred<'v>(document: &'v Value, schema: &Value) -> Option<&'v Value> {
    let reference = schema.get("$ref")?.as_str()?;
    document.pointer(reference.strip_prefix('#')?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn enums_are_read_inline_by_reference_and_as_alternatives() {
        let document = json!({"components": {"schemas": {
            "ratio": {"enum": ["1:1", "16:9"], "type": "string"},
        }}});
        let input = json!({"properties": {
            "inline": {"type": "integer", "enum": [5, 10]},
            "by_ref": {"allOf": [{"$ref": "#/components/schemas/ratio"}], "default": "1:1"},
            "plain_ref": {"$ref": "#/components/schemas/ratio"},
            "nullable": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "open": {"anyOf": [{"$ref": "#/components/schemas/ratio"}, {"type": "string"}]},
        }});

        let schema = Schema::parse(&document, &input).unwrap();

        let property = |name: &str| &schema.properties[name];
        assert_eq!(property("inline").choices, [json!(5), json!(10)]);
        assert_eq!(property("by_ref").choices, [json!("1:1"), json!("16:9")]);
        assert_eq!(property("by_ref").default, Some(json!("1:1")));
        assert_eq!(property("plain_ref").choices.len(), 2);
        assert_eq!(property("nullable").minimum, Some(1.0));
        assert!(property("nullable").is_number());
        assert!(property("open").takes_any_text());
        assert!(!property("by_ref").takes_any_text());
    }

    #[test]
    fn files_sizes_and_secrets_are_told_apart_by_form() {
        let input = json!({"properties": {
            "image": {"type": "string", "format": "uri"},
            "images": {"type": "array", "items": {"type": "string", "format": "uri"}, "maxItems": 3},
            "size": {"anyOf": [
                {"type": "object", "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}}},
                {"type": "string", "enum": ["square"]},
            ]},
            "key": {"type": "string", "format": "password", "writeOnly": true},
        }});

        let schema = Schema::parse(&Value::Null, &input).unwrap();

        assert!(schema.properties["image"].has(&Form::File));
        assert!(schema.properties["images"].is_files());
        assert_eq!(schema.properties["images"].max_items, Some(3));
        assert!(schema.properties["size"].has(&Form::Sides));
        assert!(!schema.properties["size"].takes_any_text());
        assert!(schema.properties["key"].is_secret);
    }

    #[test]
    fn an_alternative_keeps_its_limits_and_a_list_of_types_is_read() {
        let input = json!({"properties": {
            "count": {"anyOf": [{"type": "string", "enum": ["auto"]}, {"type": "integer", "minimum": 4, "maximum": 15}]},
            "images": {"anyOf": [{"type": "array", "items": {"type": "string"}, "maxItems": 2}, {"type": "null"}]},
            "key": {"anyOf": [{"type": "string", "format": "password"}, {"type": "null"}]},
            "seed": {"type": ["integer", "null"]},
        }});

        let schema = Schema::parse(&Value::Null, &input).unwrap();

        let property = |name: &str| &schema.properties[name];
        assert_eq!(
            (property("count").minimum, property("count").maximum),
            (Some(4.0), Some(15.0))
        );
        assert!(property("images").is_files() && property("images").max_items == Some(2));
        assert!(property("key").is_secret);
        assert!(property("seed").is_number());
    }

    #[test]
    fn a_schema_that_is_too_large_is_not_used() {
        let wide: Vec<_> = (0..1000).map(|_| json!({"$ref": "#/a"})).collect();
        let document = json!({"a": {"enum": ["a"], "allOf": wide}});
        let many: serde_json::Map<_, _> = (0..501)
            .map(|n| (format!("p{n}"), json!({"type": "string"})))
            .collect();

        assert_eq!(
            Schema::parse(&document, &json!({"properties": {"x": {"$ref": "#/a"}}})),
            None
        );
        assert_eq!(Schema::parse(&document, &json!({"properties": many})), None);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let document = json!({"a": {"$ref": "#/a", "type": "string"}});

        let schema = Schema::parse(&document, &json!({"properties": {"x": {"$ref": "#/a"}}}));

        assert!(schema.unwrap().properties["x"].has(&Form::Text));
        assert_eq!(Schema::parse(&document, &json!({"type": "object"})), None);
    }
}
