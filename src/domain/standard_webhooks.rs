//! Symmetric signatures of Standard Webhooks 1.0 (`v1`), to sign notifications and to verify callbacks. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use super::Secret;

/// The beginning of a secret; the base64 of its bytes follows.
pub const PREFIX: &str = "whsec_";

/// Returns the bytes of a secret; `None` if it is not [`PREFIX`] and base64.
pub fn bytes_of(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose().strip_prefix(PREFIX)?;
    BASE64.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// Returns the signature of a body, for the header `webhook-signature`. `timestamp`: seconds since the epoch.
pub fn sign(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign()))
}

/// Returns whether one of the signatures, separated by spaces, is that of a body. The time it takes does not depend on
/// how much of a signature is right.
pub fn is_signed(key: &[u8], id: &str, timestamp: u64, body: &[u8], signatures: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let text = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let signatures = signatures.split(' ').take(MOST_SIGNATURES);
    signatures
        .filter_map(|signature| BASE64.decode(signature.strip_prefix("v1,")?).ok())
        .any(|tag| hmac::verify(&key, &text, &tag).is_ok())
}

/// A sender signs with two secrets while it replaces one.
const MOST_SIGNATURES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key() -> Vec<u8> {
        bytes_of(&Secret::new(SECRET.to_owned())).unwrap()
    }

    #[test]
    fn a_signature_is_that_of_the_specifications_example() {
        assert_eq!(sign(&key(), ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn one_right_signature_among_others_is_enough() {
        let other = sign(b"another key", ID, TIMESTAMP, BODY);
        for signatures in [SIGNATURE, &format!("{other} v1a,AAAA {SIGNATURE}")] {
            assert!(is_signed(&key(), ID, TIMESTAMP, BODY, signatures));
        }
    }

    #[test]
    fn nothing_else_is_signed() {
        let fits =
            |key: &[u8], id, at, body, signatures: &str| is_signed(key, id, at, body, signatures);
        let key = key();

        assert!(!fits(b"another key", ID, TIMESTAMP, BODY, SIGNATURE));
        assert!(!fits(&key, "msg_other", TIMESTAMP, BODY, SIGNATURE));
        assert!(!fits(&key, ID, TIMESTAMP + 1, BODY, SIGNATURE));
        assert!(!fits(&key, ID, TIMESTAMP, b"{}", SIGNATURE));
        let bare = SIGNATURE.strip_prefix("v1,").unwrap();
        for wrong in ["", "v1,", "v1,*", bare, &format!("v2,{bare}")] {
            assert!(!fits(&key, ID, TIMESTAMP, BODY, wrong), "{wrong}");
        }
        let many = format!("{} {SIGNATURE}", ["v1,AAAA"; 8].join(" "));
        assert!(!fits(&key, ID, TIMESTAMP, BODY, &many));
    }

    #[test]
    fn a_secret_is_its_prefix_and_base64() {
        for wrong in ["", "whsec_", "whsec_*", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(bytes_of(&Secret::new(wrong.to_owned())), None, "{wrong}");
        }
    }
}
