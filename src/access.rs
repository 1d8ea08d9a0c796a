//! Who may ask: keys in the record header `x-api-key`, each bound to a user or not (contract, section 5).
//!
//! Only digests are kept, and they are compared in constant time, all of them each time: neither a log nor a clock
//! tells of a key.

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use crate::kafka::Record;

/// Name of the header, in any case of its letters.
pub const HEADER: &str = "x-api-key";

/// The keys that open the door.
#[derive(Clone, Default)]
pub struct ApiKeys {
    required: bool,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    digest: [u8; 32],
    user: Option<String>,
}

/// Shows no digest either: a weak key could be guessed from it.
impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeys")
            .field("required", &self.required)
            .field("keys", &self.keys.len())
            .finish()
    }
}

/// Why a record may not ask; never shows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has no key.
    #[error("the header x-api-key is missing, want one of API_KEYS")]
    Missing,
    /// Its key is none of ours.
    #[error("the header x-api-key is none of API_KEYS")]
    Unknown,
    /// Its key is bound to another user.
    #[error("the header x-api-key is bound to another user")]
    OtherUser,
}

/// What a good key lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Records of any user.
    Anyone,
    /// Records of this user only.
    Only(String),
}

impl Pass {
    /// Holds the pass against the user a record is of.
    ///
    /// # Errors
    /// [`Denied::OtherUser`].
    pub fn admit(&self, user: &str) -> Result<(), Denied> {
        match self {
            Self::Only(bound) if bound != user => Err(Denied::OtherUser),
            Self::Anyone | Self::Only(_) => Ok(()),
        }
    }
}

impl ApiKeys {
    /// Reads `key[:user]` by comma, a key plain or as `sha256:` and 64 hex digits.
    ///
    /// # Errors
    /// What is wanted where an entry is not so; shows no entry, only its place.
    pub fn parse(required: bool, text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|it| !it.is_empty());
        let keys = entries
            .enumerate()
            .map(|(at, entry)| {
                Key::parse(entry).ok_or_else(|| {
                    format!(
                        "entry {}: want key[:user] or sha256:64-hex-digits[:user]",
                        at + 1
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if required && keys.is_empty() {
            return Err("is empty, want a key at least, or REQUIRE_API_KEY=false".to_owned());
        }
        Ok(Self { required, keys })
    }

    /// Says what the key of a record lets in; anything while no key is required.
    ///
    /// # Errors
    /// [`Denied::Missing`], [`Denied::Unknown`].
    pub fn check(&self, record: &Record) -> Result<Pass, Denied> {
        if !self.required {
            return Ok(Pass::Anyone);
        }
        let header = record
            .headers
            .iter()
            .rfind(|(name, _)| name.eq_ignore_ascii_case(HEADER));
        let presented = header.and_then(|(_, value)| value.as_deref());
        let presented = digest(&SHA256, presented.ok_or(Denied::Missing)?);
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.digest.as_slice().ct_eq(presented.as_ref())) {
                found = found.or(Some(key));
            }
        }
        let key = found.ok_or(Denied::Unknown)?;
        Ok(key.user.clone().map_or(Pass::Anyone, Pass::Only))
    }
}

impl Key {
    fn parse(entry: &str) -> Option<Self> {
        let (digest, rest) = match entry.strip_prefix("sha256:") {
            Some(rest) => {
                let (hex, rest) = rest.split_at_checked(64)?;
                (unhex(hex)?, rest)
            }
            None => {
                let end = entry.find(':').unwrap_or(entry.len());
                let (key, rest) = entry
                    .split_at_checked(end)
                    .filter(|(key, _)| !key.is_empty())?;
                (
                    digest(&SHA256, key.as_bytes()).as_ref().try_into().ok()?,
                    rest,
                )
            }
        };
        let user = match rest.strip_prefix(':') {
            Some("") => return None,
            Some(user) => Some(user.to_owned()),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { digest, user })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RecordPosition, hex};

    fn record(headers: &[(&str, &str)]) -> Record {
        Record {
            position: RecordPosition {
                topic: "t".to_owned(),
                partition: 0,
                offset: 0,
            },
            key: None,
            value: None,
            headers: headers
                .iter()
                .map(|(name, text)| ((*name).to_owned(), Some(text.as_bytes().to_vec())))
                .collect(),
            timestamp: None,
        }
    }

    fn keys() -> ApiKeys {
        let hashed = hex(digest(&SHA256, b"hashed").as_ref());
        let bound = hex(digest(&SHA256, b"bound").as_ref());
        let text = format!("plain, mine:ann ,sha256:{hashed},sha256:{bound}:bob:x");
        ApiKeys::parse(true, &text).unwrap()
    }

    #[test]
    fn each_form_of_a_key_lets_in_whom_it_should() {
        let pass = |key| keys().check(&record(&[("x-api-key", key)]));
        assert_eq!(pass("plain"), Ok(Pass::Anyone));
        assert_eq!(pass("hashed"), Ok(Pass::Anyone));
        assert_eq!(pass("mine"), Ok(Pass::Only("ann".to_owned())));
        assert_eq!(pass("bound"), Ok(Pass::Only("bob:x".to_owned())));
        assert_eq!(pass("mine:ann"), Err(Denied::Unknown));
        assert_eq!(pass(""), Err(Denied::Unknown));
        assert_eq!(keys().check(&record(&[])), Err(Denied::Missing));
    }

    #[test]
    fn the_header_counts_in_any_case_and_the_last_one_wins() {
        let pass = keys().check(&record(&[("X-Api-Key", "wrong"), ("X-API-KEY", "plain")]));
        assert_eq!(pass, Ok(Pass::Anyone));
    }

    #[test]
    fn a_bound_key_is_for_its_user_only() {
        assert_eq!(
            Pass::Only("ann".to_owned()).admit("bob"),
            Err(Denied::OtherUser)
        );
        assert_eq!(Pass::Only("ann".to_owned()).admit("ann"), Ok(()));
        assert_eq!(Pass::Anyone.admit("bob"), Ok(()));
    }

    #[test]
    fn while_none_is_required_any_key_and_none_will_do() {
        let keys = ApiKeys::parse(false, "plain").unwrap();
        assert_eq!(keys.check(&record(&[])), Ok(Pass::Anyone));
        assert_eq!(
            keys.check(&record(&[("x-api-key", "wrong")])),
            Ok(Pass::Anyone)
        );
    }

    #[test]
    fn a_bad_entry_is_told_by_its_place_and_not_shown() {
        for bad in [
            "ok,secret:",
            "ok,:user",
            "ok,sha256:12",
            "ok,sha256:12:user",
        ] {
            let error = ApiKeys::parse(true, bad).unwrap_err();
            assert!(error.starts_with("entry 2: want key[:user]"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(
            ApiKeys::parse(true, " ")
                .unwrap_err()
                .contains("want a key")
        );
        assert_eq!(
            format!("{:?}", keys()),
            "ApiKeys { required: true, keys: 4 }"
        );
    }
}
