//! The codec of payloads: encrypts and compresses what Temporal stores of inputs, results, memos and failures.
//!
//! A stored payload is what Temporal's samples make in every language, so their tools can read it with the same key: its
//! `encoding` is `binary/encrypted`, `encryption-key-id` names the key, and its data is the 12 bytes of a random nonce
//! followed by the original payload as protobuf, encrypted by AES-256-GCM without additional data. Compression is that
//! of Temporal's Go SDK: `binary/zlib`, the original payload as protobuf. What is compressed is encrypted afterwards.
//!
//! Every process can read plain and compressed payloads, and those of its keys. So a namespace may have all of them, and
//! only what is new depends on the settings. Nothing compares encoded payloads: a nonce makes each different.
//!
//! Not encoded are search attributes, ids, types, the reason of a cancel, and the static details of a workflow that a
//! client starts, which are its fingerprint: the server, or the SDK, must read them.

mod cipher;
mod zlib;

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use temporalio_client::{Client, NamespacedClient as _};
use temporalio_common::data_converters::{
    DataConverter, DefaultFailureConverter, PayloadConversionError, PayloadConverter,
    SerializationContextData, WorkflowSerializationContext,
};
use temporalio_common::payload_visitor::{PayloadVisitable, decode_payloads};
use temporalio_common::protos::temporal::api::common::v1::Payload;

use self::cipher::Key;
use crate::engines::config;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a payload cannot be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key with this id is not 32 bytes in base64.
    #[error("PAYLOAD_KEYS: the key {0:?} is malformed; expected id:base64 of 32 random bytes")]
    Key(String),
    #[error(
        "a payload is encrypted with the key {0:?}, which is not in PAYLOAD_KEYS; \
         add it at the end of PAYLOAD_KEYS and restart"
    )]
    UnknownKey(String),
    #[error(
        "an encrypted payload does not open: it was changed, or PAYLOAD_KEYS has another key with its id {0:?}"
    )]
    Damaged(String),
    #[error("a payload cannot be encrypted")]
    Cipher,
    #[error(
        "a compressed payload is malformed, or larger than {} bytes",
        zlib::LARGEST
    )]
    Zlib,
    #[error(
        "a payload has more than {} layers of compression and encryption",
        LAYERS
    )]
    Layers,
}

/// Encodes and decodes payloads.
pub struct Codec {
    /// The first one encrypts, if `encrypts`.
    keys: Vec<Key>,
    encrypts: bool,
    compresses: bool,
    /// The id of the last key that was missing.
    missing: Mutex<Option<String>>,
}

/// The metadata field that says how a payload is encoded.
const ENCODING: &str = "encoding";
/// How often a payload can be encoded: it is compressed, and then encrypted.
const LAYERS: usize = 2;
/// Key ids in errors and in [`Codec::missing_key`] are cut after so many characters: what the namespace has may be of
/// other origin.
const LONGEST_ID: usize = 64;

impl Codec {
    /// # Errors
    /// [`Error::Key`].
    pub fn new(settings: &config::PayloadCodec) -> Result<Self, Error> {
        let keys = settings.keys.iter().map(Key::parse);
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
            encrypts: settings.encrypts,
            compresses: settings.compresses,
            missing: Mutex::default(),
        })
    }

    /// Returns the id of a key that a payload needed and this process does not have, if there was one.
    pub fn missing_key(&self) -> Option<String> {
        self.missing.lock().clone()
    }

    /// Compresses and encrypts a payload, as the settings say; what is encrypted already is left as it is.
    ///
    /// # Errors
    /// [`Error::Cipher`].
    pub fn encode(&self, payload: Payload) -> Result<Payload, Error> {
        if encoding(&payload) == cipher::ENCODING {
            return Ok(payload);
        }
        let payload = match self.compresses {
            true => zlib::compressed(payload),
            false => payload,
        };
        match self.keys.first() {
            Some(key) if self.encrypts => key.encrypted(&payload),
            Some(_) | None => Ok(payload),
        }
    }

    /// Decrypts and decompresses a payload; one that is plain is left as it is.
    ///
    /// # Errors
    /// Its key is missing, or it is damaged or too large.
    pub fn decode(&self, mut payload: Payload) -> Result<Payload, Error> {
        for layer in 0.. {
            let decode: fn(&Self, &Payload) -> Result<Payload, Error> = match encoding(&payload) {
                cipher::ENCODING => Self::decrypted,
                zlib::ENCODING => |_, payload| zlib::decompressed(payload),
                _ => break,
            };
            if layer == LAYERS {
                return Err(Error::Layers);
            }
            payload = decode(self, &payload)?;
        }
        Ok(payload)
    }

    fn decrypted(&self, payload: &Payload) -> Result<Payload, Error> {
        let id = cipher::key_id(payload);
        if let Some(key) = self.keys.iter().find(|key| key.id.as_bytes() == id) {
            return key.decrypted(payload);
        }
        let id: String = String::from_utf8_lossy(id)
            .chars()
            .take(LONGEST_ID)
            .collect();
        let error = Error::UnknownKey(id.clone());
        let before = self.missing.lock().replace(id.clone());
        if before.as_ref() != Some(&id) {
            tracing::error!(%error, "cannot read what Temporal stores");
        }
        Err(error)
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("Codec")
            .field("keys", &ids)
            .finish_non_exhaustive()
    }
}

fn encoding(payload: &Payload) -> &[u8] {
    payload.metadata.get(ENCODING).map_or(&[], Vec::as_slice)
}

/// The codec, as the SDK calls it.
struct SdkCodec(Arc<Codec>);

impl SdkCodec {
    fn all(
        payloads: Vec<Payload>,
        change: impl Fn(Payload) -> Result<Payload, Error>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let changed: Result<_, _> = payloads.into_iter().map(change).collect();
        ready(changed.map_err(|error| PayloadConversionError::EncodingError(error.into()))).boxed()
    }
}

impl temporalio_common::data_converters::PayloadCodec for SdkCodec {
    fn encode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        Self::all(payloads, |payload| self.0.encode(payload))
    }

    fn decode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        Self::all(payloads, |payload| self.0.decode(payload))
    }
}

/// Returns the converter of all clients and workers. If payloads are encrypted, so are the messages of failures, which may
/// quote a request.
pub(crate) fn data_converter(codec: &Arc<Codec>) -> DataConverter {
    DataConverter::new(
        PayloadConverter::default(),
        DefaultFailureConverter::new(codec.encrypts),
        SdkCodec(codec.clone()),
    )
}

/// Decodes all payloads in an answer of the server.
pub(crate) async fn decode<M: PayloadVisitable>(
    client: &Client,
    answer: &mut M,
) -> Result<(), BoxError> {
    let of_a_workflow = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let codec = client.data_converter().codec();
    let decoded = decode_payloads(answer, codec, &of_a_workflow).await;
    decoded.map_err(|error| match error {
        PayloadConversionError::EncodingError(error) => error,
        error @ (PayloadConversionError::WrongEncoding | _) => error.into(),
    })
}

#[cfg(test)]
mod tests;
