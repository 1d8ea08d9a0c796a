//! What is never shown in a log or an error.

use std::fmt;

use url::Url;

/// A token, key or password, or a URL that holds one: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Self(value)
    }
}

impl Secret {
    /// Returns the secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Secret<Url> {
    /// Returns the secret itself.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Returns what may be shown of it.
    pub fn shown(&self) -> String {
        shown(&self.0)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Returns what may be shown of a URL: it may hold a user name and a password, and a token in its query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Err: a URL that can have no password has none.
    url.set_username("")
        .and_then(|()| url.set_password(None))
        .ok();
    url.set_query(None);
    url.to_string()
}
