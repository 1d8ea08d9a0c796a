//! The name of a generation API, as requests, settings, histories and metrics have it.
//!
//! The set of names is open: which ones are served, and by which protocol, is configured (`engines::config`).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Invalid;
use super::invalid::beginning;

/// Limit on the bytes of a name.
const MAX: usize = 32;

/// The name of a provider: 1 to 32 lower-case letters, digits, `-` or `_`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName {
    /// Padded with zeros, so that the derived order is that of the texts.
    bytes: [u8; MAX],
    length: u8,
}

impl ProviderName {
    /// Replicate's HTTP API, also spoken by Cog servers.
    pub const REPLICATE: Self = Self::known("replicate");
    pub const OPENAI: Self = Self::known("openai");
    pub const FAL: Self = Self::known("fal");

    /// The providers that genflow serves without a description of their API.
    pub const NATIVE: [Self; 3] = [Self::REPLICATE, Self::OPENAI, Self::FAL];

    const fn known(name: &str) -> Self {
        let mut bytes = [0; MAX];
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name.as_bytes()[at];
            at += 1;
        }
        let length = name.len() as u8;
        Self { bytes, length }
    }

    pub fn as_str(&self) -> &str {
        // Always Ok: a name is ASCII.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Returns the provider named `raw`. Whether it is configured is another question.
    ///
    /// # Errors
    /// [`Invalid`] if that cannot be the name of a provider.
    pub fn parse(field: &'static str, raw: &str) -> Result<Self, Invalid> {
        let good = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        if (1..=MAX).contains(&raw.len()) && raw.bytes().all(good) {
            return Ok(Self::known(raw));
        }
        let shown = beginning(raw);
        let problem = format!(
            "is {shown:?}, expected the name of a provider: 1 to {MAX} lower-case letters, digits, '-' or '_', such as replicate"
        );
        Err(Invalid::new(field, problem))
    }
}

impl fmt::Debug for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ProviderName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProviderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse("provider", &text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_text_in_json() {
        for name in ProviderName::NATIVE {
            let text = format!("{:?}", name.as_str());
            assert_eq!(serde_json::to_string(&name).unwrap(), text);
            assert_eq!(serde_json::from_str::<ProviderName>(&text).unwrap(), name);
        }
        let longest = "a".repeat(MAX);
        let name = ProviderName::parse("provider", &longest).unwrap();
        assert_eq!(name.as_str(), longest);
        assert!(ProviderName::FAL < ProviderName::OPENAI);
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for bad in ["", "Fal", "a b", "a/b", "ä", "a.b", &"a".repeat(MAX + 1)] {
            let error = ProviderName::parse("provider", bad).unwrap_err();
            assert!(
                error.problem.contains("expected the name"),
                "{bad}: {error}"
            );
            assert!(serde_json::from_value::<ProviderName>(bad.into()).is_err());
        }
    }
}
