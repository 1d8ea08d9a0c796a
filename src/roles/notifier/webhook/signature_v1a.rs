//! Signatures that need no shared secret: `v1a` of Standard Webhooks, Ed25519 over the same text as `v1`. Pure.
//!
//! Each user has its own key pair, derived from the master key, so a webhook that one tenant has sent to
//! another's endpoint does not verify there. A public key can verify webhooks but not sign them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::domain::Secret;

/// A master key that is not `whsk_` followed by the base64 of at least 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "WEBHOOK_SIGNING_KEY is malformed; expected whsk_ followed by the base64 of at least 32 bytes"
)]
pub struct InvalidKey;

/// A master key, from which the key pairs of users are derived.
pub struct MasterKey(hmac::Key);

const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
const SHORTEST: usize = 32;

impl MasterKey {
    /// Parses a master key.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(secret: &Secret) -> Result<Self, InvalidKey> {
        let text = secret.expose().strip_prefix(PRIVATE).ok_or(InvalidKey)?;
        let bytes = BASE64.decode(text).map_err(|_| InvalidKey)?;
        if bytes.len() < SHORTEST {
            return Err(InvalidKey);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Returns the public key with which `user` verifies webhooks, as `whpk_` and base64.
    pub fn public(&self, user: &str) -> String {
        format!("{PUBLIC}{}", BASE64.encode(self.pair(user).public_key()))
    }

    /// Returns the signature of a webhook of `user`, for `webhook-signature`.
    pub(super) fn sign(&self, user: &str, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut text = format!("{id}.{timestamp}.").into_bytes();
        text.extend_from_slice(body);
        format!("v1a,{}", BASE64.encode(self.pair(user).sign(&text)))
    }

    /// The label `v1a:` is a version: another derivation needs another label.
    #[expect(
        clippy::expect_used,
        reason = "a seed has 32 bytes, as an HMAC-SHA256 has"
    )]
    fn pair(&self, user: &str) -> Ed25519KeyPair {
        let seed = hmac::sign(&self.0, format!("v1a:{user}").as_bytes());
        Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).expect("a seed of 32 bytes")
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn key(bytes: &[u8]) -> Result<MasterKey, InvalidKey> {
        MasterKey::parse(&Secret::new(format!("whsk_{}", BASE64.encode(bytes))))
    }

    /// Returns whether a signature of this text verifies with a public key.
    fn fits(public: &str, text: &[u8], signature: &str) -> bool {
        let decoded = |text: &str, prefix| BASE64.decode(text.strip_prefix(prefix).unwrap());
        let public = decoded(public, "whpk_").unwrap();
        UnparsedPublicKey::new(&ED25519, public)
            .verify(text, &decoded(signature, "v1a,").unwrap())
            .is_ok()
    }

    #[test]
    fn a_users_key_follows_from_master_and_user() {
        // From Python's cryptography:
        // Ed25519PrivateKey.from_private_bytes(hmac.digest(bytes(range(32)), b"v1a:alice", "sha256")).public_key()
        let key = key(&std::array::from_fn::<u8, 32, _>(|at| at as u8)).unwrap();

        assert_eq!(
            key.public("alice"),
            "whpk_VPZ+edcp+AJFAUxGlJLx2rX8hoey742V3fbWL0qEuwU="
        );
    }

    #[test]
    fn what_is_signed_is_id_time_and_body_for_one_user_alone() {
        let key = key(&[7; 32]).unwrap();

        let signature = key.sign("alice", "event-1", 1_614_265_330, b"{}");

        let (alice, bob) = (key.public("alice"), key.public("bob"));
        assert!(fits(&alice, b"event-1.1614265330.{}", &signature));
        assert!(!fits(&alice, b"event-1.1614265330.{ }", &signature));
        assert!(!fits(&bob, b"event-1.1614265330.{}", &signature));
    }

    #[test]
    fn an_invalid_master_key_is_refused_and_no_key_is_shown() {
        for odd in [&b""[..], &[7; 31]] {
            assert!(key(odd).is_err(), "{odd:?}");
        }
        for odd in [
            "",
            "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "whsk_*",
        ] {
            assert!(MasterKey::parse(&Secret::new(odd.to_owned())).is_err());
        }
        assert_eq!(format!("{:?}", key(&[7; 64]).unwrap()), "Key(***)");
    }
}
