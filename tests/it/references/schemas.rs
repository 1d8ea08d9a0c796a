//! The reference of schemas, from the `.avsc` files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use genflow::contract::avro;
use serde_json::Value;

/// A record or an enum of a schema, with its anchor on the page.
struct Named<'s> {
    schema: &'s Value,
    anchor: String,
}

#[test]
fn the_schemas_on_the_page_are_those_of_the_program() {
    let ours = [&avro::REQUEST, &avro::COMMAND, &avro::EVENT, &avro::RECEIPT];
    let schemas = ours.map(|ours| serde_json::from_str(ours.text).unwrap());
    let made = markdown(&schemas);

    for schema in &schemas {
        assert!(made.contains(&format!("## {}\n", name(schema))));
    }
    super::check("docs/schemas.md", &made);
}

fn markdown(schemas: &[Value]) -> String {
    let mut text = String::new();
    let mut seen = BTreeMap::new();
    for schema in schemas {
        let mut types = Vec::new();
        collect(schema, &mut types);
        let named = types.into_iter().map(|schema| {
            let anchor = anchor(name(schema), &mut seen);
            Named { schema, anchor }
        });
        let named: Vec<_> = named.collect();
        for (at, one) in named.iter().enumerate() {
            let level = if at == 0 { "##" } else { "###" };
            write!(
                text,
                "{level} {}\n\n{}",
                name(one.schema),
                about(one.schema)
            )
            .unwrap();
            match one.schema["symbols"].as_array() {
                Some(symbols) => text.push_str(&enumeration(symbols, &one.schema["default"])),
                None => text.push_str(&table(one.schema, &named)),
            }
        }
    }
    text
}

fn name(schema: &Value) -> &str {
    schema["name"].as_str().unwrap()
}

/// Returns what a schema says of a type, as a paragraph.
fn about(schema: &Value) -> String {
    let doc = schema["doc"].as_str();
    doc.map(|doc| format!("{doc}\n\n")).unwrap_or_default()
}

/// Returns the anchor that GitHub gives to the heading of a type.
fn anchor(name: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let slug = name.to_lowercase();
    let repeats = seen.entry(slug.clone()).or_default();
    *repeats += 1;
    match *repeats {
        1 => slug,
        times => format!("{slug}-{}", times - 1),
    }
}

/// Collects the records and enums of a schema, in the order of their definitions.
fn collect<'s>(schema: &'s Value, found: &mut Vec<&'s Value>) {
    if let Some(branches) = schema.as_array() {
        branches.iter().for_each(|branch| collect(branch, found));
        return;
    }
    match schema["type"].as_str() {
        Some("record") => {
            found.push(schema);
            let fields = schema["fields"].as_array().unwrap();
            fields
                .iter()
                .for_each(|field| collect(&field["type"], found));
        }
        Some("enum") => found.push(schema),
        Some("array") => collect(&schema["items"], found),
        Some("map") => collect(&schema["values"], found),
        _ => {}
    }
}

fn enumeration(symbols: &[Value], default: &Value) -> String {
    let listed = symbols.iter().map(|symbol| code(symbol.as_str().unwrap()));
    let listed = listed.collect::<Vec<_>>().join(", ");
    match default.as_str() {
        Some(default) => format!(
            "One of {listed}. A reader that does not know a symbol gets {}.\n\n",
            code(default)
        ),
        None => format!("One of {listed}.\n\n"),
    }
}

fn table(record: &Value, named: &[Named<'_>]) -> String {
    let mut text = String::from("| field | type | default | |\n|---|---|---|---|\n");
    for field in record["fields"].as_array().unwrap() {
        let default = field.get("default");
        let default = default.map_or_else(|| "–".to_owned(), |it| code(&it.to_string()));
        // A field that says nothing of itself is what its type says.
        let own = field["doc"].as_str();
        let doc = own.or_else(|| doc_of(&field["type"], named));
        let kind = kind(&field["type"], named);
        let (name, doc) = (code(name(field)), cell(doc.unwrap_or_default()));
        writeln!(text, "| {name} | {kind} | {default} | {doc} |").unwrap();
    }
    text.push('\n');
    text
}

/// Returns what is said of the record or enum that a type has, alone or in a list.
fn doc_of<'s>(schema: &'s Value, named: &'s [Named<'_>]) -> Option<&'s str> {
    if let Some(branches) = schema.as_array() {
        return branches.iter().find_map(|branch| doc_of(branch, named));
    }
    if schema["type"] == "array" {
        return doc_of(&schema["items"], named);
    }
    let name = schema.as_str().or_else(|| schema["name"].as_str())?;
    let one = named.iter().find(|one| self::name(one.schema) == name)?;
    one.schema["doc"].as_str()
}

/// Returns a type in words, with links to the records and enums in it.
fn kind(schema: &Value, named: &[Named<'_>]) -> String {
    if let Some(branches) = schema.as_array() {
        let branches = branches.iter().filter(|branch| **branch != "null");
        let kinds: Vec<_> = branches.map(|branch| kind(branch, named)).collect();
        let is_optional = schema.as_array().unwrap().len() > kinds.len();
        return kinds.join(", or ") + if is_optional { ", or null" } else { "" };
    }
    let name = schema.as_str().unwrap_or_else(|| match &schema["name"] {
        Value::String(name) => name,
        _ => schema["type"].as_str().unwrap(),
    });
    match name {
        "array" => format!("array of {}", kind(&schema["items"], named)),
        "map" => format!("map of {}", kind(&schema["values"], named)),
        name => match named.iter().find(|one| self::name(one.schema) == name) {
            Some(one) => format!("[{name}](#{})", one.anchor),
            None => match schema["logicalType"].as_str() {
                Some(logical) => format!("{name} ({logical})"),
                None => name.to_owned(),
            },
        },
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Makes a text fit for a cell of a table.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '<' | '>' | '*' | '_' | '`') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[test]
fn a_type_is_described_once_and_linked_where_it_is_used() {
    let schema = serde_json::json!({
        "type": "record", "name": "Order", "doc": "An order.", "fields": [
            { "name": "kind", "type": { "type": "enum", "name": "Kind", "doc": "Which.", "symbols": ["A", "B"], "default": "A" } },
            { "name": "more", "type": ["null", { "type": "array", "items": "Kind" }], "default": null, "doc": "x|y" },
            { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
        ],
    });

    let made = markdown(&[schema.clone(), schema]);

    let (first, second) = made.split_once("\n\n## ").unwrap();
    assert_eq!(
        first,
        "## Order\n\nAn order.\n\n| field | type | default | |\n|---|---|---|---|\n\
         | `kind` | [Kind](#kind) | – | Which. |\n\
         | `more` | array of [Kind](#kind), or null | `null` | x\\|y |\n\
         | `at` | long (timestamp-millis) | – |  |\n\n\
         ### Kind\n\nWhich.\n\nOne of `A`, `B`. A reader that does not know a symbol gets `A`."
    );
    assert!(second.contains("[Kind](#kind-1)"), "{second}");
}
