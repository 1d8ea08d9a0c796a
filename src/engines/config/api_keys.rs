//! API keys in the record header `x-api-key`, each bound to one user or valid for any (contract, section 5).
//!
//! Only digests are kept. Each check compares all of them in constant time, so neither logs nor timing reveal a key.

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use crate::domain::{UserId, unhex};

/// Prefix of a key that is configured by its digest.
const HASHED: &str = "sha256:";
/// Length of the shortest plain key, in bytes. A shorter one can be guessed.
const SHORTEST: usize = 8;

/// The configured keys, and whether one is required.
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

/// Does not show digests either: a weak key could be guessed from its digest.
impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeys")
            .field("required", &self.required)
            .field("keys", &self.keys.len())
            .finish()
    }
}

/// Why a record is not authorized; never shows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The record has no key.
    #[error("the header x-api-key is missing, expected one of API_KEYS")]
    Missing,
    /// The record's key is not configured.
    #[error("the header x-api-key is not one of API_KEYS")]
    Unknown,
    /// The record's key is bound to another user.
    #[error("the header x-api-key is bound to another user")]
    OtherUser,
}

/// The users whose records a valid key authorizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Any user.
    Anyone,
    /// This user only.
    Only(String),
}

impl Pass {
    /// Checks that the pass is valid for a record's user.
    ///
    /// # Errors
    /// [`Denied::OtherUser`].
    pub fn admit(&self, user: &str) -> Result<(), Denied> {
        match self {
            Self::Only(bound) if bound != user => Err(Denied::OtherUser),
            Self::Anyone | Self::Only(_) => Ok(()),
        }
    }

    /// Returns the user if the pass is for one user only.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::Anyone => None,
            Self::Only(user) => Some(user),
        }
    }
}

impl ApiKeys {
    /// Parses entries `key[:user]` separated by commas; a key is plain, or `sha256:` and 64 hex digits.
    ///
    /// # Errors
    /// A text that names a malformed or repeated entry by its number, and does not show it.
    pub fn parse(required: bool, text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, entry) in text.split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                continue;
            }
            let at = at + 1;
            let key = Key::parse(entry).ok_or_else(|| {
                format!(
                    "entry {at}: expected key[:user] or sha256:64-hex-digits[:user], with a key of at least {SHORTEST} bytes"
                )
            })?;
            // Bound to two users, a key would be ambiguous.
            if keys.iter().any(|other| other.digest == key.digest) {
                return Err(format!("entry {at}: repeats a key, expected each key once"));
            }
            keys.push(key);
        }
        Ok(Self { required, keys })
    }

    /// Returns whether any record can be authorized: no key is required, or one is configured.
    pub fn let_in_anybody(&self) -> bool {
        !self.required || !self.keys.is_empty()
    }

    /// Checks the key that a record presents, and returns whose records it authorizes. While no key is required, every
    /// record is authorized, whatever key it presents.
    ///
    /// # Errors
    /// [`Denied::Missing`], [`Denied::Unknown`].
    pub fn check(&self, presented: Option<&[u8]>) -> Result<Pass, Denied> {
        if !self.required {
            return Ok(Pass::Anyone);
        }
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
    /// Parses one entry. A plain key may contain colons and ends at the last one; a digest ends at its first colon, so
    /// its user may contain colons.
    fn parse(entry: &str) -> Option<Self> {
        // Without regard to case: otherwise `SHA256:…` would be a plain key "SHA256" of the user "…".
        let hashed = entry
            .split_at_checked(HASHED.len())
            .filter(|(start, _)| start.eq_ignore_ascii_case(HASHED));
        let (key, user) = match hashed {
            Some((_, rest)) => split(rest.split_once(':'), rest),
            None => split(entry.rsplit_once(':'), entry),
        };
        let digest = match hashed {
            // The digest of an empty key is refused: `sha256sum` prints it when its input is an unset variable.
            Some(_) => {
                let hash = unhex(key).filter(|hash| hash != digest(&SHA256, b"").as_ref())?;
                hash.try_into().ok()?
            }
            None if key.len() < SHORTEST => return None,
            None => digest(&SHA256, key.as_bytes()).as_ref().try_into().ok()?,
        };
        let user = user.map(|user| UserId::try_from(user.to_owned()));
        let user = user.transpose().ok()?;
        Some(Self {
            digest,
            user: user.map(|user| user.as_str().to_owned()),
        })
    }
}

fn split<'t>(parts: Option<(&'t str, &'t str)>, whole: &'t str) -> (&'t str, Option<&'t str>) {
    parts.map_or((whole, None), |(key, user)| (key, Some(user)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hex;

    fn keys() -> ApiKeys {
        let hashed = hex(digest(&SHA256, b"hashed").as_ref());
        let bound = hex(digest(&SHA256, b"bound").as_ref());
        let text = format!("plain-key, anns-key:ann ,sha256:{hashed},sha256:{bound}:bob:x");
        ApiKeys::parse(true, &text).unwrap()
    }

    #[test]
    fn each_form_of_a_key_authorizes_the_users_that_it_should() {
        let pass = |key| keys().check(Some(str::as_bytes(key)));
        assert_eq!(pass("plain-key"), Ok(Pass::Anyone));
        assert_eq!(pass("hashed"), Ok(Pass::Anyone));
        assert_eq!(pass("anns-key"), Ok(Pass::Only("ann".to_owned())));
        assert_eq!(pass("bound"), Ok(Pass::Only("bob:x".to_owned())));
        assert_eq!(pass("anns-key:ann"), Err(Denied::Unknown));
        assert_eq!(pass(""), Err(Denied::Unknown));
        assert_eq!(keys().check(None), Err(Denied::Missing));
    }

    #[test]
    fn a_plain_key_ends_at_its_last_colon_and_a_digest_at_its_first() {
        let hashed = hex(digest(&SHA256, b"a:b,c").as_ref()).to_uppercase();
        let text = format!("a:longer:ann,SHA256:{hashed}:team:bob");
        let keys = ApiKeys::parse(true, &text).unwrap();
        let pass = |key| keys.check(Some(str::as_bytes(key)));

        assert_eq!(pass("a:longer"), Ok(Pass::Only("ann".to_owned())));
        assert_eq!(pass("a:b,c"), Ok(Pass::Only("team:bob".to_owned())));
        for wrong in [
            "a",
            "a:longer:ann",
            "SHA256",
            hashed.as_str(),
            "A:LONGER",
            "a:longer ",
        ] {
            assert_eq!(pass(wrong), Err(Denied::Unknown), "{wrong}");
        }
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
    fn while_no_key_is_required_any_key_or_none_is_accepted() {
        let keys = ApiKeys::parse(false, "plain-key").unwrap();
        assert_eq!(keys.check(None), Ok(Pass::Anyone));
        assert_eq!(keys.check(Some(b"wrong")), Ok(Pass::Anyone));
    }

    #[test]
    fn a_bad_entry_is_reported_by_position_and_not_shown() {
        let hashed = hex(digest(&SHA256, b"topsecret").as_ref());
        let long = format!("topsecret:{}", "u".repeat(129));
        let empty = hex(digest(&SHA256, b"").as_ref());
        for bad in [
            "topsecret:",
            "secret",
            "secret:user",
            &format!("sha256:{empty}"),
            &format!("SHA256:{}:user", empty.to_uppercase()),
            ":user",
            "sha256:12",
            "sha256:12:user",
            "SHA256:secret",
            &format!("sha256:{hashed}0"),
            &format!("sha256:{hashed}:"),
            &format!("sha256:+{}", hashed.chars().skip(1).collect::<String>()),
            &long,
        ] {
            let error = ApiKeys::parse(true, &format!("good-key,{bad}")).unwrap_err();
            assert!(error.starts_with("entry 2: expected key[:user]"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for again in [
            "topsecret",
            "topsecret:ann",
            &format!("sha256:{hashed}:bob"),
        ] {
            let error = ApiKeys::parse(true, &format!("good-key,,topsecret,{again}")).unwrap_err();
            assert_eq!(error, "entry 4: repeats a key, expected each key once");
        }
        assert_eq!(
            format!("{:?}", keys()),
            "ApiKeys { required: true, keys: 4 }"
        );
    }
}
