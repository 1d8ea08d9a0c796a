//! Notification targets, sealed at the edge: intake seals them, only the notifier opens them.
//!
//! AES-256-GCM under one of `NOTIFY_KEYS`. The additional data is the purpose, the header and the context. The context
//! is the id of the request whose record named the targets, so a seal cannot be moved to another request. The layout:
//!
//! | version (1) | length of key id (1) | key id | nonce (12) | ciphertext and tag (16) |
//!
//! The nonce is a keyed hash of the additional data and the targets. So the seals of equal targets of one request are
//! equal, and an event that is made again from its record is the same event (contract, rule 11); unequal targets get
//! unequal nonces.
//! The first key seals; all keys open. To rotate, an operator adds the new key at the end everywhere, then moves it to
//! the front, and removes the old key when no event sealed with it is left.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hmac};

use crate::domain::{Event, Sealed, Secret, Targets};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("NOTIFY_KEYS has no key; expected id:base64 of 32 random bytes")]
    NoKey,
    /// The key with this id is not 32 bytes in base64, or its id is longer than 255 bytes.
    #[error("NOTIFY_KEYS: the key {0:?} is malformed; expected id:base64 of 32 random bytes")]
    Key(String),
    #[error("the notification targets cannot be sealed")]
    Cipher,
    /// The key that sealed them is not in `NOTIFY_KEYS`.
    #[error("the notification targets are sealed with the key {0:?}, which is not in NOTIFY_KEYS")]
    UnknownKey(String),
    #[error(
        "the sealed notification targets cannot be opened: they were changed or truncated, belong to another \
         request, or are of a later version"
    )]
    Damaged,
}

#[derive(Clone, Debug)]
pub struct NotifyKey {
    /// Names the key; stored with what it sealed.
    pub id: String,
    /// 32 bytes, base64.
    pub key: Secret,
}

/// Seals and opens notification targets.
pub struct Sealer {
    first: SealKey,
    others: Vec<SealKey>,
}

struct SealKey {
    id: String,
    key: LessSafeKey,
    nonces: hmac::Key,
}

const VERSION: u8 = 1;
const PURPOSE: &[u8] = b"genflow targets";

/// Returns the context of an event's seal: the id of the request whose record named the targets.
///
/// The items of a batch share the batch's id, so that equal targets are sealed once.
pub fn context(event: &Event) -> &str {
    event.batch_id.as_deref().unwrap_or(&event.request_id)
}

impl Sealer {
    /// Makes a sealer; the first key seals.
    ///
    /// # Errors
    /// [`Error::NoKey`], or [`Error::Key`] if a key is malformed.
    pub fn new(keys: &[NotifyKey]) -> Result<Self, Error> {
        let mut keys = keys.iter().map(SealKey::parse);
        let first = keys.next().ok_or(Error::NoKey)??;
        Ok(Self {
            first,
            others: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Seals `targets` for the request `context`.
    ///
    /// # Errors
    /// [`Error::Cipher`] if the cipher refuses; it never does for targets within their length limits.
    pub fn seal(&self, targets: &Targets, context: &str) -> Result<Sealed, Error> {
        let mut text = serde_json::to_vec(targets).map_err(|_| Error::Cipher)?;
        let mut sealed = self.first.header()?;
        let additional_data = additional_data(&sealed, context);
        let nonce = self.first.nonce(&additional_data, &text)?;
        self.first
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(additional_data),
                &mut text,
            )
            .map_err(|_| Error::Cipher)?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for the request `context`.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] or [`Error::Damaged`].
    pub fn open(&self, sealed: &Sealed, context: &str) -> Result<Targets, Error> {
        let bytes = sealed.0.as_slice();
        let (&[version, length], rest) = bytes.split_first_chunk().ok_or(Error::Damaged)?;
        if version != VERSION {
            return Err(Error::Damaged);
        }
        let (id, rest) = rest
            .split_at_checked(usize::from(length))
            .ok_or(Error::Damaged)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(Error::Damaged)?;
        let key = std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| key.id.as_bytes() == id)
            .ok_or_else(|| Error::UnknownKey(String::from_utf8_lossy(id).into_owned()))?;
        let additional_data = additional_data(&key.header()?, context);
        let mut text = text.to_vec();
        let opened = key
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(additional_data),
                &mut text,
            )
            .map_err(|_| Error::Damaged)?;
        serde_json::from_slice(opened).map_err(|_| Error::Damaged)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("first", &self.first.id)
            .finish_non_exhaustive()
    }
}

impl SealKey {
    fn parse(key: &NotifyKey) -> Result<Self, Error> {
        let malformed = || Error::Key(key.id.clone());
        let bytes = BASE64.decode(key.key.expose()).map_err(|_| malformed())?;
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| malformed())?;
        let parsed = Self {
            id: key.id.clone(),
            key: LessSafeKey::new(unbound),
            // Another key than the cipher's, derived from the same secret.
            nonces: hmac::Key::new(
                hmac::HMAC_SHA256,
                digest::digest(&digest::SHA256, &[b"genflow nonce", &bytes[..]].concat()).as_ref(),
            ),
        };
        parsed.header().map(|_| parsed)
    }

    /// Returns the first 12 bytes of a keyed hash over the additional data and the targets.
    fn nonce(&self, additional_data: &[u8], text: &[u8]) -> Result<[u8; NONCE_LEN], Error> {
        let mut hash = hmac::Context::with_key(&self.nonces);
        hash.update(&(additional_data.len() as u64).to_be_bytes());
        hash.update(additional_data);
        hash.update(text);
        let tag = hash.sign();
        tag.as_ref().first_chunk().copied().ok_or(Error::Cipher)
    }

    /// Returns the bytes before the nonce.
    fn header(&self) -> Result<Vec<u8>, Error> {
        let malformed = |_| Error::Key(self.id.clone());
        let length = u8::try_from(self.id.len()).map_err(malformed)?;
        let mut header = vec![VERSION, length];
        header.extend_from_slice(self.id.as_bytes());
        Ok(header)
    }
}

/// Returns the additional data. The header contains the length of its key id, so different pairs of header
/// and context give different bytes. The purpose separates these seals from any other use of the same keys.
fn additional_data(header: &[u8], context: &str) -> Vec<u8> {
    [PURPOSE, header, context.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn sealer(keys: &[(&str, u8)]) -> Sealer {
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, byte)| NotifyKey {
                id: (*id).to_owned(),
                key: Secret::new(BASE64.encode([*byte; 32])),
            })
            .collect();
        Sealer::new(&keys).unwrap()
    }

    fn targets() -> Targets {
        Targets::parse(
            Some("https://example.com/hook?token=topsecret"),
            Some("someone@example.com"),
            None,
        )
        .unwrap()
    }

    #[test]
    fn what_was_sealed_opens_and_equal_targets_of_one_request_have_equal_seals() {
        let sealer = sealer(&[("a", 1)]);

        let one = sealer.seal(&targets(), "order-7").unwrap();
        let two = sealer.seal(&targets(), "order-7").unwrap();
        let other = sealer.seal(&targets(), "order-8").unwrap();

        assert_eq!(sealer.open(&one, "order-7"), Ok(targets()));
        assert_eq!(one, two);
        let nonce = |sealed: &Sealed| sealed.0[3..3 + NONCE_LEN].to_vec();
        assert_ne!(nonce(&one), nonce(&other));
    }

    #[test]
    fn a_seal_is_aes_gcm_over_purpose_header_and_context() {
        // From Python: AESGCM(bytes(range(32))).encrypt(bytes(range(12)), b'{"email":"someone@example.com"}',
        // b"genflow targets" + b"\x01\x02k1" + b"order-7"), after header and nonce.
        let sealed = BASE64.decode(
            "AQJrMQABAgMEBQYHCAkKCzwgs3akjK45t2Pk5NyMFwPmluJMkRYvEF1JhupwS31ybpC0BffYxzNB+44NVKKX",
        );
        let key = NotifyKey {
            id: "k1".to_owned(),
            key: Secret::new(BASE64.encode(std::array::from_fn::<u8, 32, _>(|at| at as u8))),
        };
        let sealer = Sealer::new(&[key]).unwrap();

        let opened = sealer.open(&Sealed(sealed.unwrap()), "order-7");

        let email = Targets::parse(None, Some("someone@example.com"), None);
        assert_eq!(opened, Ok(email.unwrap()));
    }

    #[test]
    fn nothing_of_the_targets_can_be_read_in_the_seal() {
        let sealed = sealer(&[("a", 1)]).seal(&targets(), "order-7").unwrap();

        for plain in ["example", "topsecret", "someone", "webhook"] {
            assert!(!sealed.0.windows(plain.len()).any(|w| w == plain.as_bytes()));
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let before = sealer(&[("old", 1)]);
        let during = sealer(&[("new", 2), ("old", 1)]);
        let after = sealer(&[("new", 2)]);

        let by_old = before.seal(&targets(), "order-7").unwrap();
        let by_new = during.seal(&targets(), "order-7").unwrap();

        assert_eq!(during.open(&by_old, "order-7"), Ok(targets()));
        assert_eq!(after.open(&by_new, "order-7"), Ok(targets()));
        let unknown = Err(Error::UnknownKey("old".to_owned()));
        assert_eq!(after.open(&by_old, "order-7"), unknown);
    }

    #[test]
    fn a_seal_does_not_open_for_another_request_or_under_another_key_of_that_id() {
        let sealed = sealer(&[("a", 1)]).seal(&targets(), "order-7").unwrap();

        let elsewhere = sealer(&[("a", 1)]).open(&sealed, "order-8");
        let otherwise = sealer(&[("a", 2)]).open(&sealed, "order-7");

        assert_eq!(elsewhere, Err(Error::Damaged));
        assert_eq!(otherwise, Err(Error::Damaged));
    }

    #[test]
    fn no_byte_can_be_changed_or_cut_off() {
        let sealer = sealer(&[("a", 1), ("b", 1)]);
        let sealed = sealer.seal(&targets(), "order-7").unwrap();

        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 3; // turns the key id "a" into "b", which has the same key
            let cut = Sealed(sealed.0[..at].to_vec());

            assert!(sealer.open(&changed, "order-7").is_err(), "byte {at}");
            assert_eq!(sealer.open(&cut, "order-7"), Err(Error::Damaged));
        }
    }

    #[test]
    fn missing_and_malformed_keys_are_refused() {
        let short = NotifyKey {
            id: "a".to_owned(),
            key: Secret::new("c2hvcnQ=".to_owned()),
        };

        assert_eq!(Sealer::new(&[]).unwrap_err(), Error::NoKey);
        assert_eq!(
            Sealer::new(&[short]).unwrap_err(),
            Error::Key("a".to_owned())
        );
    }
}
