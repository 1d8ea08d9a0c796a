//! The signatures of a webhook, by Standard Webhooks 1.0: `v1` with secrets of users, `v1a` in `signature_v1a`. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use super::signature_v1a as v1a;
use crate::domain::Secret;
use crate::domain::standard_webhooks::{PREFIX, bytes_of, sign};

/// A master secret that is not `whsec_` followed by base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WEBHOOK_SIGNING_SECRET is malformed; expected whsec_ followed by base64")]
pub struct InvalidSecret;

/// Signs with all master secrets, so that a receiver may verify with a secret derived from any of them.
pub(super) struct Signer {
    masters: Vec<hmac::Key>,
    keys: Vec<v1a::MasterKey>,
}

/// Returns the secret with which `user` verifies signatures, derived from a master secret.
///
/// # Errors
/// [`InvalidSecret`] if the master secret is malformed.
pub fn user_secret(master: &Secret, user: &str) -> Result<Secret, InvalidSecret> {
    let secret = user_key(&master_key(master)?, user);
    Ok(Secret::new(format!("{PREFIX}{}", BASE64.encode(secret))))
}

impl Signer {
    /// Creates a signer; its signatures have the order of the master secrets.
    pub(super) fn new(masters: &[Secret]) -> Result<Self, InvalidSecret> {
        let masters = masters.iter().map(master_key).collect::<Result<_, _>>()?;
        let keys = Vec::new();
        Ok(Self { masters, keys })
    }

    /// Adds signatures with these keys, after those with the secrets.
    pub(super) fn with_keys(self, keys: Vec<v1a::MasterKey>) -> Self {
        Self { keys, ..self }
    }

    /// Returns the value of `webhook-signature` for a webhook of `user`.
    pub(super) fn signatures(&self, user: &str, id: &str, timestamp: u64, body: &[u8]) -> String {
        let symmetric = self
            .masters
            .iter()
            .map(|master| sign(&user_key(master, user), id, timestamp, body));
        let asymmetric = self
            .keys
            .iter()
            .map(|key| key.sign(user, id, timestamp, body));
        let signatures: Vec<_> = symmetric.chain(asymmetric).collect();
        signatures.join(" ")
    }
}

fn master_key(secret: &Secret) -> Result<hmac::Key, InvalidSecret> {
    let bytes = bytes_of(secret).ok_or(InvalidSecret)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn user_key(master: &hmac::Key, user: &str) -> Vec<u8> {
    let tag = hmac::sign(master, format!("v1:{user}").as_bytes());
    tag.as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_secret_is_the_masters_hmac_of_the_user() {
        let master = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());

        // From Python: base64.b64encode(hmac.digest(base64.b64decode("MfKQ…"), b"v1:alice", "sha256"))
        let alice = user_secret(&master, "alice").unwrap();
        assert_eq!(
            alice.expose(),
            "whsec_hCwvpTlzxp44JnN2dCkNlpCU3xQfyLBcswY2wXovt3U="
        );
        assert_ne!(alice, user_secret(&master, "bob").unwrap());
        let malformed = Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        assert_eq!(user_secret(&malformed, "alice"), Err(InvalidSecret));
    }

    #[test]
    fn each_master_signs_with_the_secret_of_the_user() {
        let masters =
            [[1; 24], [2; 24]].map(|key| Secret::new(format!("whsec_{}", BASE64.encode(key))));
        let signer = Signer::new(&masters).unwrap();

        let signatures = signer.signatures("alice", "id", 7, b"{}");

        let expected = masters.map(|master| {
            let secret = user_secret(&master, "alice").unwrap();
            let key = BASE64.decode(secret.expose().strip_prefix("whsec_").unwrap());
            sign(&key.unwrap(), "id", 7, b"{}")
        });
        assert_eq!(signatures, expected.join(" "));
    }
}
