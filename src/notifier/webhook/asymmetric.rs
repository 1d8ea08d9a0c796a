//! Signatures that anybody can check: `v1a` of Standard Webhooks, Ed25519 over the same text as `v1`; pure.
//!
//! The key is one for all users: who has the public half can check our webhooks and sign none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::config::Secret;

/// A key that is not `whsk_` and the base64 of an Ed25519 private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a signing key is not whsk_ and the base64 of an Ed25519 seed, or of a seed and its public key"
)]
pub struct InvalidKey;

/// A key pair that signs webhooks.
pub struct Key(Ed25519KeyPair);

const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
const SEED: usize = 32;

impl Key {
    /// Reads a private key: 32 bytes of seed, or these and the 32 of the public key, which then has to fit.
    ///
    /// # Errors
    /// [`InvalidKey`] when it is anything else.
    pub fn parse(secret: &Secret) -> Result<Self, InvalidKey> {
        let text = secret.expose().strip_prefix(PRIVATE).ok_or(InvalidKey)?;
        let bytes = BASE64.decode(text).map_err(|_| InvalidKey)?;
        let pair = match bytes.split_at_checked(SEED) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err(InvalidKey),
        };
        pair.map(Self).map_err(|_| InvalidKey)
    }

    /// Returns the public half, as receivers want it.
    pub fn public(&self) -> String {
        format!("{PUBLIC}{}", BASE64.encode(self.0.public_key()))
    }

    /// Returns the signature as it stands in `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut text = format!("{id}.{timestamp}.").into_bytes();
        text.extend_from_slice(body);
        format!("v1a,{}", BASE64.encode(self.0.sign(&text)))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.public()).finish()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::domain::hex;

    // RFC 8032, section 7.1, test 3.
    const SEED_3: &str = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
    const PUBLIC_3: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    const SIGNATURE_3: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                               18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn key(bytes: &[u8]) -> Result<Key, InvalidKey> {
        Key::parse(&Secret::new(format!("whsk_{}", BASE64.encode(bytes))))
    }

    #[test]
    fn a_key_is_ed25519_as_the_rfc_has_it() {
        let both = [bytes(SEED_3), bytes(PUBLIC_3)].concat();
        for private in [&bytes(SEED_3), &both] {
            let key = key(private).unwrap();

            let public = BASE64.encode(bytes(PUBLIC_3));
            assert_eq!(key.public(), format!("whpk_{public}"));
            assert_eq!(hex(key.0.sign(&[0xaf, 0x82]).as_ref()), SIGNATURE_3);
        }
    }

    #[test]
    fn what_is_signed_is_id_time_and_body() {
        let key = key(&[7; 32]).unwrap();

        let signature = key.sign("event-1", 1_614_265_330, b"{}");

        let signature = BASE64.decode(signature.strip_prefix("v1a,").unwrap());
        let public = UnparsedPublicKey::new(&ED25519, key.0.public_key());
        let signature = signature.unwrap();
        public.verify(b"event-1.1614265330.{}", &signature).unwrap();
        assert!(
            public
                .verify(b"event-1.1614265330.{ }", &signature)
                .is_err()
        );
    }

    #[test]
    fn what_is_no_private_key_is_refused_and_none_is_shown() {
        let unfit = [bytes(SEED_3), vec![0; 32]].concat();
        for odd in [&b""[..], &[7; 31], &[7; 33], &unfit] {
            assert!(key(odd).is_err(), "{odd:?}");
        }
        for odd in [
            "",
            "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "whsk_*",
        ] {
            assert!(Key::parse(&Secret::new(odd.to_owned())).is_err());
        }
        let private = BASE64.encode([7; 32]);
        assert!(!format!("{:?}", key(&[7; 32]).unwrap()).contains(&private));
    }
}
