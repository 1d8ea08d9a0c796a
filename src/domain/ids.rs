//! Parsed ids: a value is a valid id. Only a [`WorkflowId`] is deserialized without a check, since genflow wrote it.
//!
//! Histories contain ids, so an id that is valid now must stay valid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Id of a request, and the workflow id of its first run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RequestId(String);

/// Id of the tenant for whom a request is made: 1 to 128 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(String);

/// Id of a command: 1 to 128 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CommandId(String);

/// Id of one run of a request: the request id, followed by `~n` for the n-th retry.
///
/// It is the Temporal workflow id, the provider's idempotency key, the store path and the key of `gen.results`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(String);

/// Why a string is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("is {0} characters long, expected 1 to 128")]
    Length(usize),
    #[error(
        "contains {0:?}, expected a letter or digit first, then letters, digits, '.', '_' or '-'"
    )]
    Character(char),
    /// A control character, which terminals or mail programs may interpret.
    #[error("contains the control character {0:?}, expected printable characters")]
    Control(char),
}

const LONGEST: usize = 128;

impl TryFrom<String> for RequestId {
    type Error = InvalidId;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        let allowed = |(at, c): (usize, char)| {
            c.is_ascii_alphanumeric() || at > 0 && matches!(c, '.' | '_' | '-')
        };
        let raw = bounded(raw)?;
        match raw.char_indices().find(|&at| !allowed(at)) {
            Some((_, c)) => Err(InvalidId::Character(c)),
            None => Ok(Self(raw)),
        }
    }
}

/// Returns `raw` if it has 1 to 128 characters.
fn bounded(raw: String) -> Result<String, InvalidId> {
    match raw.chars().count() {
        1..=LONGEST => Ok(raw),
        length => Err(InvalidId::Length(length)),
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidId;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        match raw.chars().find(|c| c.is_control()) {
            Some(c) => Err(InvalidId::Control(c)),
            None => bounded(raw).map(Self),
        }
    }
}

impl TryFrom<String> for CommandId {
    type Error = InvalidId;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        bounded(raw).map(Self)
    }
}

impl RequestId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the `retry`-th run of this request; 0 is the first run.
    pub fn run(&self, retry: u32) -> WorkflowId {
        match retry {
            0 => WorkflowId(self.0.clone()),
            n => WorkflowId(format!("{}~{n}", self.0)),
        }
    }
}

impl UserId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CommandId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl WorkflowId {
    /// Parses the id of a run: a request id, followed by `~n` for the n-th retry.
    pub fn parse(text: &str) -> Option<Self> {
        let (request, retry) = match text.split_once('~') {
            Some((request, number)) => (request, number.parse().ok()?),
            None => (text, 0),
        };
        let read = RequestId::try_from(request.to_owned()).ok()?.run(retry);
        (read.0 == text).then_some(read)
    }

    /// Returns the id of its request.
    pub fn request(&self) -> &str {
        self.0
            .split_once('~')
            .map_or(&self.0, |(request, _)| request)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_run_is_read_back_and_nothing_else() {
        for good in ["a", "a~1", "a.b~12"] {
            let workflow = WorkflowId::parse(good).unwrap();
            assert_eq!(workflow.as_str(), good);
            assert_eq!(
                workflow.request(),
                good.trim_end_matches(|c| "~12".contains(c))
            );
        }
        for bad in ["", "end/a/b", "a~0", "a~01", "a~", "~1", "a~b"] {
            assert_eq!(WorkflowId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn request_ids_are_letters_digits_and_inner_marks() {
        let long = "a".repeat(128);
        for good in ["a", "0", "A.b_c-9", "a..b", long.as_str()] {
            assert!(RequestId::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let longer = "a".repeat(129);
        for bad in [
            "",
            "..",
            ".a",
            "~",
            "a~1",
            "a/b",
            "a b",
            "ä",
            "-a",
            "_a",
            longer.as_str(),
        ] {
            assert!(RequestId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_id_holds_no_control_characters() {
        for good in ["ann", "Ann Müller", "team:ann@example.com"] {
            assert!(UserId::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a\u{1b}[2J", "a\nb", "\u{9b}"] {
            assert!(UserId::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_run_bears_the_request_id_and_retries_a_number() {
        let id = RequestId::try_from("order-7".to_owned()).unwrap();

        assert_eq!(id.run(0).as_str(), "order-7");
        assert_eq!(id.run(2).as_str(), "order-7~2");
    }
}
