//! What is encrypted and compressed, which keys open it, and that damaged payloads are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message as _;

use super::*;
use crate::domain::Secret;
use crate::engines::config::{PayloadCodec, PayloadKey};

const NEEDLE: &[u8] = b"a red fox in the snow";

/// Returns the codec with these keys, the ids of which are followed by a byte that a key consists of.
fn codec(keys: &[(&str, u8)], encrypts: bool, compresses: bool) -> Codec {
    let keys = keys.iter().map(|(id, byte)| PayloadKey {
        id: (*id).to_owned(),
        key: Secret::new(BASE64.encode([*byte; 32])),
    });
    let settings = PayloadCodec {
        keys: keys.collect(),
        encrypts,
        compresses,
    };
    Codec::new(&settings).unwrap()
}

fn payload(data: &[u8]) -> Payload {
    Payload {
        metadata: [(ENCODING.to_owned(), b"json/plain".to_vec())].into(),
        data: data.to_vec(),
        ..Payload::default()
    }
}

fn holds(payload: &Payload, needle: &[u8]) -> bool {
    let bytes = payload.encode_to_vec();
    bytes.windows(needle.len()).any(|part| part == needle)
}

#[test]
fn nothing_of_an_encrypted_payload_can_be_read_and_each_has_a_nonce_of_its_own() {
    let codec = codec(&[("one", 1)], true, false);

    let first = codec.encode(payload(NEEDLE)).unwrap();
    let second = codec.encode(payload(NEEDLE)).unwrap();

    assert!(!holds(&first, b"red fox") && !holds(&first, b"json/plain"));
    assert_ne!(first.data[..12], second.data[..12]);
    assert_eq!(codec.decode(first), Ok(payload(NEEDLE)));
    assert_eq!(codec.decode(second), Ok(payload(NEEDLE)));
}

#[test]
fn what_temporals_samples_encrypt_opens_and_so_does_what_its_go_sdk_compresses() {
    // From Python: the payload p = {"encoding": "json/plain"}, {"a":1} as protobuf; n = bytes(range(12));
    // n + AESGCM(bytes(range(32))).encrypt(n, p, None), and zlib.compress(p).
    let encrypted =
        "AAECAwQFBgcICQoLTRTcE6CLoXTpKPnso+MSHuy4qEScGjYSKmCep3xLOoN8bY8ZWEPbocg4NhQYK7oWLA==";
    let compressed = "eJzjEuPiSM1Lzk/JzEsX4soqzs/TL8hJzMwTYq9WSlSyMqwFAJ8DCbQ=";
    let key = PayloadKey {
        id: "k1".to_owned(),
        key: Secret::new(BASE64.encode(std::array::from_fn::<u8, 32, _>(|at| at as u8))),
    };
    let settings = PayloadCodec {
        keys: vec![key],
        ..PayloadCodec::default()
    };
    let codec = Codec::new(&settings).unwrap();
    let encoded = |encoding: &[u8], data: &str| Payload {
        metadata: [
            ("encoding".to_owned(), encoding.to_vec()),
            ("encryption-key-id".to_owned(), b"k1".to_vec()),
        ]
        .into(),
        data: BASE64.decode(data).unwrap(),
        ..Payload::default()
    };

    let plain = payload(br#"{"a":1}"#);
    assert_eq!(
        codec.decode(encoded(b"binary/encrypted", encrypted)),
        Ok(plain.clone())
    );
    assert_eq!(codec.decode(encoded(b"binary/zlib", compressed)), Ok(plain));
}

#[test]
fn the_first_key_encrypts_and_all_decrypt() {
    let before = codec(&[("old", 1)], true, false);
    let during = codec(&[("new", 2), ("old", 1)], true, false);
    let after = codec(&[("new", 2)], true, false);
    let off = codec(&[("new", 2)], false, false);

    let by_old = before.encode(payload(NEEDLE)).unwrap();
    let by_new = during.encode(payload(NEEDLE)).unwrap();

    assert_eq!(during.decode(by_old.clone()), Ok(payload(NEEDLE)));
    assert_eq!(after.decode(by_new.clone()), Ok(payload(NEEDLE)));
    assert_eq!(off.decode(by_new), Ok(payload(NEEDLE)));
    assert_eq!(off.encode(payload(NEEDLE)), Ok(payload(NEEDLE)));
    assert_eq!(after.decode(payload(NEEDLE)), Ok(payload(NEEDLE)));
    assert_eq!(after.missing_key(), None);
    assert_eq!(
        after.decode(by_old),
        Err(Error::UnknownKey("old".to_owned()))
    );
    assert_eq!(after.missing_key().as_deref(), Some("old"));
}

#[test]
fn no_byte_can_be_changed_or_cut_off_and_another_key_of_that_id_does_not_open() {
    let codec_one = codec(&[("one", 1)], true, false);
    let encrypted = codec_one.encode(payload(b"x")).unwrap();

    let damaged = Err(Error::Damaged("one".to_owned()));
    for at in 0..encrypted.data.len() {
        let mut changed = encrypted.clone();
        changed.data[at] ^= 1;
        let mut cut = encrypted.clone();
        cut.data.truncate(at);
        assert_eq!(codec_one.decode(changed), damaged, "byte {at}");
        assert_eq!(codec_one.decode(cut), damaged, "byte {at}");
    }
    assert_eq!(codec(&[("one", 2)], true, false).decode(encrypted), damaged);
}

#[test]
fn only_large_payloads_are_compressed_and_only_if_that_makes_them_smaller() {
    let plain = codec(&[], false, true);
    let both = codec(&[("one", 1)], true, true);
    let large = payload(&NEEDLE.repeat(1_000));
    let noise: Vec<u8> = (0..20_000).map(|_| rand::random()).collect();

    let compressed = plain.encode(large.clone()).unwrap();
    let encrypted = both.encode(large.clone()).unwrap();

    assert_eq!(encoding(&compressed), b"binary/zlib");
    assert!(compressed.data.len() < large.data.len() / 10);
    assert_eq!(encoding(&encrypted), b"binary/encrypted");
    assert!(encrypted.data.len() < large.data.len() / 10);
    // Whatever is set now.
    let off = codec(&[("one", 1)], false, false);
    assert_eq!(off.decode(compressed), Ok(large.clone()));
    assert_eq!(off.decode(encrypted), Ok(large));
    for kept in [payload(NEEDLE), payload(&noise)] {
        assert_eq!(plain.encode(kept.clone()), Ok(kept));
    }
}

#[test]
fn a_compressed_payload_has_a_bound_and_so_have_layers() {
    let plain = codec(&[], false, true);
    let packed = |payload: &Payload| {
        use std::io::Write as _;
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&payload.encode_to_vec()).unwrap();
        Payload {
            metadata: [(ENCODING.to_owned(), b"binary/zlib".to_vec())].into(),
            data: encoder.finish().unwrap(),
            ..Payload::default()
        }
    };
    let bomb = packed(&payload(&vec![b'a'; zlib::LARGEST + 1]));
    assert!(bomb.data.len() < 100_000);

    assert_eq!(plain.decode(bomb), Err(Error::Zlib));
    let two = packed(&packed(&payload(NEEDLE)));
    assert_eq!(plain.decode(two.clone()), Ok(payload(NEEDLE)));
    assert_eq!(plain.decode(packed(&two)), Err(Error::Layers));
    let mut cut = two;
    cut.data.truncate(9);
    assert_eq!(plain.decode(cut), Err(Error::Zlib));
}
