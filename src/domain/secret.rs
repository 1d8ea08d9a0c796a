//! Values that no log and no error may show.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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

impl Secret<Vec<u8>> {
    /// Returns the secret itself.
    pub fn expose(&self) -> &[u8] {
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

/// A key or token that genflow sends to an API. If it is in a file, it may change while genflow runs: code that sends it
/// exposes it for each call. `Debug` does not show it.
#[derive(Clone)]
pub struct Credential(Held);

#[derive(Clone)]
enum Held {
    Fixed(Secret),
    Followed(Arc<dyn Fn() -> String + Send + Sync>),
}

impl Credential {
    pub fn new(value: String) -> Self {
        Self(Held::Fixed(Secret::new(value)))
    }

    /// Returns a credential that may change. `current` returns its present value, without an error and without a long wait.
    pub fn followed(current: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Held::Followed(Arc::new(current)))
    }

    /// Returns the present value.
    pub fn expose(&self) -> Cow<'_, str> {
        match &self.0 {
            Held::Fixed(value) => value.expose().into(),
            Held::Followed(current) => current().into(),
        }
    }

    pub fn may_change(&self) -> bool {
        matches!(self.0, Held::Followed(_))
    }
}

impl fmt::Debug for Credential {
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
