//! Decodes bytes that no serializer wrote: the result is an error or a valid message, never a panic, at a low cost.
//!
//! `PROPTEST_CASES=1000000 cargo test --lib decode` runs the random tests for long.

mod bounded;

use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use proptest::strategy::Strategy as Generator;
use serde_json::{Value as Json, json};

use super::*;
use crate::domain::Single;

/// Zigzag and varint, as Avro writes a long.
fn long(number: i64) -> Vec<u8> {
    let mut left = u64::from_ne_bytes(((number << 1) ^ (number >> 63)).to_ne_bytes());
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes
}

fn command() -> Command {
    Command {
        id: id("c-1"),
        request: id("r-1"),
        action: Action::Cancel,
        reason: Some("because".to_owned()),
        issued_by: None,
    }
}

/// Valid data of every shape.
fn good() -> Vec<(&'static Ours, Vec<u8>)> {
    let mut data: Vec<_> = every_request()
        .iter()
        .map(|request| (&*REQUEST, write_request(request).unwrap()))
        .collect();
    data.push((&COMMAND, write_command(&command(), Some(7)).unwrap()));
    for event in [bare_event(), full_event()] {
        data.push((&EVENT, write(&EVENT, &event).unwrap()));
    }
    data
}

/// The short ones of [`good`].
fn short() -> Vec<(&'static Ours, Vec<u8>)> {
    let mut data = good();
    data.sort_by_key(|(_, datum)| datum.len());
    data.retain(|(_, datum)| datum.len() < 260);
    data
}

/// Decodes as each message and as JSON; returns whether the result is one of our messages.
///
/// A message must survive a round trip: it is written and read back unchanged.
fn decode(writer: &Schema, datum: &[u8]) -> bool {
    let request = read_request(writer, datum);
    if let Ok(request) = &request {
        let again = write_request(request).unwrap();
        assert_eq!(&read_request(&REQUEST.schema, &again).unwrap(), request);
    }
    let command = read_command(writer, datum);
    if let Ok(command) = &command {
        let again = write_command(command, None).unwrap();
        assert_eq!(&read_command(&COMMAND.schema, &again).unwrap(), command);
    }
    let event = read_event(writer, datum);
    if let Ok(event) = &event {
        let again = write(&EVENT, event).unwrap();
        let again = read_event(&EVENT.schema, &again).unwrap();
        // Compared as text, because NaN is not equal to itself.
        assert_eq!(format!("{again:?}"), format!("{event:?}"));
    }
    let json = to_json(writer, datum);
    let is_message = request.is_ok() || command.is_ok() || event.is_ok();
    assert!(json.is_ok() || !is_message, "a message is shown as JSON");
    is_message
}

#[test]
fn a_good_datum_is_understood() {
    for (ours, datum) in good() {
        assert!(decode(&ours.schema, &datum), "{}", ours.name);
    }
}

#[test]
fn a_value_without_a_frame_is_refused() {
    for bytes in [&b""[..], b"\0", b"\0\0\0\0", b"\x01\0\0\0\x01", b"{}"] {
        assert!(matches!(unframe(bytes), Err(Error::Unframed(_))));
    }
    assert_eq!(unframe(b"\0\0\0\0\x07").unwrap(), (7, &b""[..]));
    for ours in [&REQUEST, &COMMAND, &EVENT] {
        assert!(!decode(&ours.schema, b""), "{} of no bytes", ours.name);
    }
}

#[test]
fn a_datum_cut_short_anywhere_is_refused() {
    for (ours, datum) in good() {
        for end in 0..datum.len() {
            assert!(
                !decode(&ours.schema, &datum[..end]),
                "{} cut to {end} of {} bytes",
                ours.name,
                datum.len()
            );
        }
    }
}

#[test]
fn a_datum_with_trailing_bytes_is_refused() {
    for (ours, mut datum) in good() {
        datum.push(0);

        assert!(!decode(&ours.schema, &datum), "{}", ours.name);
    }
}

#[test]
fn a_flipped_bit_gives_an_error_or_a_good_message() {
    for (ours, mut datum) in short() {
        for bit in 0..datum.len() * 8 {
            datum[bit / 8] ^= 1 << (bit % 8);
            decode(&ours.schema, &datum);
            datum[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let mut texts = 0;
    for (ours, datum) in good() {
        for at in 0..datum.len() {
            // Nearly every lowercase letter belongs to a string; a few are numbers.
            let mut broken = datum.clone();
            broken[at] = 0xff;
            if datum[at].is_ascii_lowercase() && !decode(&ours.schema, &broken) {
                texts += 1;
            }
        }
    }
    assert!(texts > 500, "{texts}");
    let mut datum = write_request(&bare(Single::Image(bare_image()).into())).unwrap();
    for bad in [0x80, 0xc0, 0xed, 0xf5, 0xff] {
        datum[1] = bad;
        assert!(matches!(
            read_request(&REQUEST.schema, &datum),
            Err(Error::Datum(_))
        ));
    }
}

/// Types to give to any field; few fields have them already.
fn other_types() -> Vec<Json> {
    vec![
        json!("null"),
        json!("boolean"),
        json!("int"),
        json!("long"),
        json!("float"),
        json!("double"),
        json!("bytes"),
        json!("string"),
        json!({"type": "fixed", "name": "F", "size": 3}),
        json!({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}),
        json!({"type": "enum", "name": "E", "symbols": ["A", "B"]}),
        json!({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}),
        json!({"type": "array", "items": ["null", "string", "double"]}),
        json!({"type": "map", "values": "bytes"}),
        json!(["null", "boolean", "bytes"]),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        json!({"type": "bytes", "logicalType": "big-decimal"}),
        json!({"type": "string", "logicalType": "uuid"}),
        json!({"type": "int", "logicalType": "date"}),
        json!({"type": "long", "logicalType": "time-micros"}),
        json!({"type": "long", "logicalType": "timestamp-nanos"}),
        json!({"type": "long", "logicalType": "local-timestamp-millis"}),
    ]
}

/// The request schema with another type for field number `field`, which is one of its first spec's fields if `nested`.
fn retyped(field: usize, kind: &Json, nested: bool) -> Schema {
    let mut text: Json = serde_json::from_str(REQUEST.text).unwrap();
    let fields = if nested {
        &mut text["fields"][2]["type"][0]["fields"]
    } else {
        &mut text["fields"]
    };
    // A field that defines a type must stay: other fields refer to the type by name.
    let mut fields: Vec<_> = fields.as_array_mut().unwrap().iter_mut().collect();
    fields.retain(|field| !nested || !field["type"].to_string().contains("\"name\""));
    let count = fields.len();
    let field = &mut fields[field % count];
    field["type"] = kind.clone();
    field.as_object_mut().unwrap().remove("default");
    Schema::parse_str(&text.to_string()).unwrap()
}

#[test]
fn a_field_of_another_type_gives_an_error_or_a_good_message() {
    for kind in other_types() {
        for (field, nested) in (0..11).flat_map(|field| [(field, false), (field, true)]) {
            // Field 2 defines types that other fields name, so without it the schema would not parse.
            if !nested && field == 2 {
                continue;
            }
            let writer = retyped(field, &kind, nested);
            for (_, datum) in short() {
                decode(&writer, &datum);
            }
            for byte in [0, 1, 2, 0x7f, 0xff] {
                decode(&writer, &[byte; 200]);
            }
        }
    }
}

/// A valid datum with some bytes changed, inserted or removed.
fn mutated() -> impl Generator<Value = (&'static Ours, Vec<u8>)> {
    let edits = prop::collection::vec((any::<usize>(), any::<u8>(), 0..4_u8), 1..8);
    (prop::sample::select(good()), edits).prop_map(|((ours, mut datum), edits)| {
        for (at, byte, edit) in edits {
            let at = at % datum.len().max(1);
            match edit {
                0 if !datum.is_empty() => datum[at] = byte,
                1 => datum.insert(at, byte),
                2 if !datum.is_empty() => drop(datum.remove(at)),
                _ => drop(datum.splice(at..at, long(i64::from(byte) << (at % 56)))),
            }
        }
        (ours, datum)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_an_error_or_a_good_message(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for ours in [&REQUEST, &COMMAND, &EVENT] {
            decode(&ours.schema, &bytes);
        }
        if let Ok((id, datum)) = unframe(&bytes) {
            prop_assert_eq!(frame(id, datum), bytes);
        }
    }

    #[test]
    fn a_mutated_datum_gives_an_error_or_a_good_message((ours, datum) in mutated()) {
        decode(&ours.schema, &datum);
    }

    #[test]
    fn any_bytes_with_a_field_of_another_type_give_an_error_or_a_good_message(
        field in 3..11_usize,
        nested in any::<bool>(),
        kind in prop::sample::select(other_types()),
        (_, datum) in mutated(),
    ) {
        decode(&retyped(field, &kind, nested), &datum);
    }
}
