//! Encrypts payloads by AES-256-GCM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use temporalio_common::protos::temporal::api::common::v1::Payload;

use super::Error;
use crate::engines::config::PayloadKey;

pub(super) const ENCODING: &[u8] = b"binary/encrypted";
/// The metadata field that names the key.
const KEY_ID: &str = "encryption-key-id";

/// A key and its id.
pub(super) struct Key {
    pub(super) id: String,
    key: LessSafeKey,
}

/// Returns the id of the key that encrypted a payload.
pub(super) fn key_id(payload: &Payload) -> &[u8] {
    payload.metadata.get(KEY_ID).map_or(&[], Vec::as_slice)
}

impl Key {
    pub(super) fn parse(key: &PayloadKey) -> Result<Self, Error> {
        let malformed = || Error::Key(key.id.clone());
        let bytes = BASE64.decode(key.key.expose()).map_err(|_| malformed())?;
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| malformed())?;
        Ok(Self {
            id: key.id.clone(),
            key: LessSafeKey::new(unbound),
        })
    }

    /// Encrypts with a random nonce: safe for 2³² payloads of one key.
    pub(super) fn encrypted(&self, payload: &Payload) -> Result<Payload, Error> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = payload.encode_to_vec();
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut text,
        );
        let tag = tag.map_err(|_| Error::Cipher)?;
        let metadata = [
            (super::ENCODING.to_owned(), ENCODING.to_vec()),
            (KEY_ID.to_owned(), self.id.clone().into_bytes()),
        ];
        Ok(Payload {
            metadata: metadata.into(),
            data: [&nonce[..], &text, tag.as_ref()].concat(),
            ..Payload::default()
        })
    }

    pub(super) fn decrypted(&self, payload: &Payload) -> Result<Payload, Error> {
        let damaged = || Error::Damaged(self.id.clone());
        let (nonce, text) = payload
            .data
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(damaged)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut text);
        Payload::decode(&*opened.map_err(|_| damaged())?).map_err(|_| damaged())
    }
}
