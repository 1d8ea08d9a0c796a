//! The cost of malformed records: each test here runs a second time in a process with little memory.

use std::process::Command as Process;

use super::*;
use crate::domain::Single;

/// The environment variable that marks the process with little memory.
const SHORT_OF_MEMORY: &str = "GENFLOW_TEST_SHORT_OF_MEMORY";
/// The limit on that process's virtual memory, program and stacks included.
const KIBIBYTES: u32 = 400 * 1024;

#[test]
fn the_tests_of_this_file_pass_with_little_memory() {
    if std::env::var_os(SHORT_OF_MEMORY).is_some() {
        return;
    }
    let tests = module_path!().split_once("::").unwrap().1;

    let ran = Process::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -v {KIBIBYTES} && exec \"$0\" {tests} --test-threads=1"
        ))
        .arg(std::env::current_exe().unwrap())
        .env(SHORT_OF_MEMORY, "yes")
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();

    let output = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {output}{errors}", ran.status);
    assert!(output.contains("a_length_that_lies"), "{output}");
}

#[test]
fn a_length_that_lies_is_refused_before_memory_is_taken() {
    let lies = [
        i64::MAX,
        i64::MIN,
        i64::MIN + 1,
        1 << 40,
        -(1 << 40),
        1 << 31,
        70_000,
        -1,
    ];
    for (ours, datum) in short() {
        for at in 0..datum.len() {
            for lie in lies {
                // Replaces every byte, and so each length and count; after a negative count, Avro expects a size.
                let sized = [long(lie), long(i64::MAX)].concat();
                for bytes in [long(lie), sized] {
                    let lying = [&datum[..at], &bytes, &datum[at + 1..]].concat();
                    decode(&ours.schema, &lying);
                }
            }
        }
    }
}

#[test]
fn a_text_longer_than_the_datum_is_refused() {
    for length in [1 << 40, i64::MAX, 5_000_000, 100] {
        let datum = long(length);

        assert!(!decode(&REQUEST.schema, &datum), "{length}");
    }
}

#[test]
fn items_that_are_not_there_are_not_made_up() {
    let nullable: Vec<_> = (0..20)
        .map(|field| json!({"name": format!("f{field}"), "type": ["null", "string"]}))
        .collect();
    let mut text: Json = serde_json::from_str(REQUEST.text).unwrap();
    text["fields"].as_array_mut().unwrap().push(json!({
        "name": "more",
        "type": {"type": "array", "items": {"type": "record", "name": "More", "fields": nullable}},
        "default": [],
    }));
    let writer = Schema::parse_str(&text.to_string()).unwrap();
    let mut datum = write_request(&bare(Single::Image(bare_image()).into())).unwrap();
    datum.extend(long(290_000));

    assert!(!decode(&writer, &datum));
}

#[test]
fn a_batch_of_as_many_items_as_a_record_holds_is_refused() {
    // The one field that is neither null nor empty is REFUSE.
    let item = [&[2, b'i', 2, 2, b'p'][..], &[0; 12], &[2], &[0; 4]].concat();
    let count = 1024 * 1024 / item.len();
    let head = [&[2, b'r', 2, b'u', 4, 2, 2, 2][..], &long(count as i64)].concat();
    let tail = [0, 4, 0, 0, 0, 0, 0, 0, 0];
    let datum = [head, item.repeat(count), tail.to_vec()].concat();

    let error = read_request(&REQUEST.schema, &datum).unwrap_err();

    assert!(error.to_string().starts_with("spec.items has "), "{error}");
}

fn refused(schema: &Json) -> String {
    parse_writer(&schema.to_string()).unwrap_err().to_string()
}

fn record(name: &str, fields: &[Json]) -> Json {
    let fields: Vec<_> = fields
        .iter()
        .enumerate()
        .map(|(at, kind)| json!({"name": format!("f{at}"), "type": kind}))
        .collect();
    json!({"type": "record", "name": name, "fields": fields})
}

#[test]
fn our_own_schemas_are_within_the_bounds() {
    for ours in [&REQUEST, &COMMAND, &EVENT, &RECEIPT] {
        parse_writer(ours.text).unwrap();
    }
}

#[test]
fn a_schema_whose_datum_nests_without_end_is_refused() {
    let list = record("List", &[json!(["null", "List"])]);
    let tree = record("Tree", &[json!({"type": "array", "items": "Tree"})]);
    let named = record(
        "Named",
        &[json!({"type": "map", "values": ["null", "Named"]})],
    );
    let endless = record("Endless", &[json!("Endless")]);
    for schema in [list, tree, named, endless] {
        assert_eq!(refused(&schema), "nests deeper than 64 levels");
    }
    // Each type contains the one before it: no type contains itself, and the text is flat.
    let mut fields = vec![record("R0", &[json!("int")])];
    for level in 1..1000 {
        fields.push(record(
            &format!("R{level}"),
            &[json!(format!("R{}", level - 1))],
        ));
    }
    assert_eq!(
        refused(&record("Chain", &fields)),
        "nests deeper than 64 levels"
    );
}

#[test]
fn a_schema_that_expands_few_bytes_to_many_values_is_refused() {
    let mut fields = vec![record("R0", &[json!("boolean")])];
    for level in 1..40 {
        let twice = json!(format!("R{}", level - 1));
        fields.push(record(&format!("R{level}"), &[twice.clone(), twice]));
    }
    assert_eq!(
        refused(&record("Doubles", &fields)),
        "expands one datum to more than 4096 values"
    );
    let nothing = record("Nothing", &[json!("null"), json!("null")]);
    let array = json!({"type": "array", "items": nothing});
    assert_eq!(refused(&array), "has a field or item that takes no bytes");
    let mut wide = vec![json!("null"); 4000];
    wide.push(json!("boolean"));
    let array = json!({"type": "array", "items": record("Wide", &wide)});
    assert_eq!(refused(&array), "has a field or item that takes no bytes");
}

#[test]
fn a_schema_that_asks_for_memory_by_itself_is_refused() {
    for logical in [None, Some("decimal")] {
        let mut large = json!({"type": "fixed", "name": "Large", "size": 1_u64 << 40});
        if let Some(logical) = logical {
            large["logicalType"] = json!(logical);
            large["precision"] = json!(9);
        }
        let reported = refused(&record("R", &[large]));
        assert_eq!(
            reported, "has a fixed type of more than 4194304 bytes",
            "{logical:?}"
        );
    }
    let small = json!({"type": "fixed", "name": "Small", "size": 1024});
    assert!(parse_writer(&record("R", &[small]).to_string()).is_ok());
}
