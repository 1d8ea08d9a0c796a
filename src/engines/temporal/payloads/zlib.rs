//! Compresses payloads by zlib.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use prost::Message as _;
use temporalio_common::protos::temporal::api::common::v1::Payload;

use super::Error;

pub(super) const ENCODING: &[u8] = b"binary/zlib";
/// Smaller payloads are not worth the time.
const SMALLEST: usize = 2 * 1024;
/// Limit on the bytes of a decompressed payload; the server refuses payloads far below it.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;

/// Compresses a payload that is large, unless that makes it larger.
pub(super) fn compressed(payload: Payload) -> Payload {
    if payload.data.len() < SMALLEST || super::encoding(&payload) == ENCODING {
        return payload;
    }
    let plain = payload.encode_to_vec();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(&plain).and_then(|()| encoder.finish());
    match written {
        Ok(data) if data.len() < plain.len() && plain.len() <= LARGEST => Payload {
            metadata: [(super::ENCODING.to_owned(), ENCODING.to_vec())].into(),
            data,
            ..Payload::default()
        },
        Ok(_) | Err(_) => payload,
    }
}

pub(super) fn decompressed(payload: &Payload) -> Result<Payload, Error> {
    let mut plain = Vec::new();
    // One byte more than allowed shows that there is more.
    let mut limited = ZlibDecoder::new(&*payload.data).take(LARGEST as u64 + 1);
    limited.read_to_end(&mut plain).map_err(|_| Error::Zlib)?;
    if plain.len() > LARGEST {
        return Err(Error::Zlib);
    }
    Payload::decode(&*plain).map_err(|_| Error::Zlib)
}
