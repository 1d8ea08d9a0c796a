//! Values that no log and no error may show.

use std::fmt;

use url::Url;

/// A token, key or password, or a URL that holds one: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
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

    /// Returns the URL without user name, password and query.
    pub fn shown(&self) -> String {
        shown(&self.0)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Returns a URL without user name, password and query, each of which may be a secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // An error means that this kind of URL cannot have a login.
    url.set_username("")
        .and_then(|()| url.set_password(None))
        .ok();
    url.set_query(None);
    url.to_string()
}
