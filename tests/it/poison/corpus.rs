//! Values that can never succeed, of all kinds: not framed, with other schemas, damaged, and out of the contract's
//! bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use genflow::contract::avro;
use genflow::domain::{Request, Single, Spec, VideoSpec};
use serde_json::json;

use super::registry::registered;
use crate::support::Space;
use crate::support::requests::{image, video};

/// A value that can never succeed, and why.
pub(super) type Poison = (Option<Vec<u8>>, &'static str);

/// Returns all poison values.
pub(super) async fn corpus(space: &Space) -> Vec<Poison> {
    let mut all = unframed();
    all.extend(of_other_schemas(space).await);
    all.extend(of_our_schema(space).await);
    all.extend(invalid(space).await);
    all
}

/// Encodes a number with zigzag and varint, as Avro writes a long.
fn long(number: i64) -> Vec<u8> {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn unframed() -> Vec<Poison> {
    let text = br#"{"request_id": "r-1", "user_id": "u"}"#;
    let values: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"not avro",
        text,
        b"Obj\x01",
        b"\x01\0\0\0\x01",
        &[0xff; 64],
    ];
    let mut all: Vec<Poison> = values
        .iter()
        .map(|value| (Some(value.to_vec()), "undecodable"))
        .collect();
    all.push((None, "undecodable"));
    all
}

async fn of_other_schemas(space: &Space) -> Vec<Poison> {
    let topics = &space.config.kafka.topics;
    let datum = avro::write_request(&image("other")).unwrap();
    let mut all: Vec<Poison> = [999_999, i32::MAX.unsigned_abs(), 1 << 31, u32::MAX]
        .map(|id| (Some(avro::frame(id, &datum)), "unknown_schema"))
        .into();
    for (topic, ours) in [
        (&topics.commands, &avro::COMMAND),
        (&topics.events, &avro::EVENT),
    ] {
        let value = space.framed(topic, ours, &datum).await;
        all.push((Some(value), "undecodable"));
    }
    // Nested as deep as it is long: a recursive reader would overflow its stack.
    let list = format!("{}-list", space.config.kafka.group);
    let (id, _) = registered(space, &list, |text| {
        *text = json!({"type": "record", "name": "List", "fields": [
            {"name": "next", "type": ["null", "List"], "default": null},
        ]});
    })
    .await;
    all.push((Some(avro::frame(id, &[2; 500_000])), "undecodable"));
    all
}

async fn of_our_schema(space: &Space) -> Vec<Poison> {
    let topic = &space.config.kafka.topics.requests;
    let datum = avro::write_request(&video("damaged")).unwrap();
    let mut data = Vec::new();
    for end in (0..datum.len()).step_by(datum.len() / 16) {
        data.push(datum[..end].to_vec());
    }
    for lie in [i64::MAX, i64::MIN, 1 << 40, -(1 << 40), 1 << 24, -2] {
        // The length of the first text, then the count of the last map.
        data.push([&long(lie)[..], &datum[1..]].concat());
        let map = datum.len() - b"\x02\x0aorder\x027\0\0".len();
        assert_eq!(
            datum[map..][..2],
            [2, 10],
            "the start of the map with one entry"
        );
        data.push(
            [
                &datum[..map],
                &long(lie),
                &long(i64::MAX),
                &datum[map + 1..],
            ]
            .concat(),
        );
    }
    for bad in [0x80, 0xc0, 0xff] {
        let mut broken = datum.clone();
        broken[1] = bad;
        data.push(broken);
    }
    data.push([&datum[..], b"more"].concat());
    data.push(vec![0xff; 300]);
    let mut all = Vec::new();
    for datum in data {
        let value = space.framed(topic, &avro::REQUEST, &datum).await;
        all.push((Some(value), "undecodable"));
    }
    all
}

async fn invalid(space: &Space) -> Vec<Poison> {
    let topic = &space.config.kafka.topics.requests;
    let with = |edit: &dyn Fn(&mut Request)| {
        let mut request = video("invalid");
        edit(&mut request);
        avro::write_request(&request).unwrap()
    };
    let spec = |edit: fn(&mut VideoSpec)| {
        with(&|request| {
            if let Spec::Single(Single::Video(video)) = &mut request.spec {
                edit(video);
            }
        })
    };
    let mut bad_id = with(&|_| {});
    bad_id[1] = b'/';
    let data = [
        spec(|video| video.common.prompt.clear()),
        spec(|video| video.common.prompt = "x".repeat(10_001)),
        spec(|video| video.duration = Some(i32::MIN)),
        spec(|video| video.fps = Some(i32::MAX)),
        spec(|video| video.resolution = Some("wide".to_owned())),
        with(&|request| request.timeout = Some(Duration::ZERO)),
        with(&|request| request.metadata = BTreeMap::from([("k".to_owned(), "v".repeat(9000))])),
        bad_id,
    ];
    let mut all = Vec::new();
    for datum in data {
        let value = space.framed(topic, &avro::REQUEST, &datum).await;
        all.push((Some(value), "invalid"));
    }
    all
}
