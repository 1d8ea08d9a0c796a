//! Where a provider is asked and with which key: URLs of its own, and the header that has the key.

use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use url::Url;

use super::{MAX_URL, Provider, described};
use crate::engines::config::Protocol;

impl Provider {
    pub(super) fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        let request = match &self.config.protocol {
            Protocol::Described(api) => request.headers(api.headers.clone()),
            Protocol::Replicate | Protocol::OpenAi | Protocol::Fal | Protocol::Unknown => request,
        };
        match self.credential() {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    /// Returns the header that has the key.
    pub(super) fn credential(&self) -> Option<(HeaderName, HeaderValue)> {
        let scheme = match &self.config.protocol {
            Protocol::Replicate | Protocol::OpenAi => "Bearer",
            Protocol::Fal => "Key",
            Protocol::Described(api) => return described::credential(self, api),
            Protocol::Unknown => return None,
        };
        let key = self.config.api_key.as_ref()?.expose();
        // Always Ok: the settings accept only keys that are valid in a header.
        let mut value = HeaderValue::from_str(&format!("{scheme} {key}")).ok()?;
        value.set_sensitive(true);
        Some((AUTHORIZATION, value))
    }

    /// Returns the URL of `path` below the base URL.
    pub(super) fn at(&self, path: &str) -> String {
        self.below(&format!("/{path}"))
    }

    /// Returns the URL of a path that begins with `/`.
    pub(super) fn below(&self, path: &str) -> String {
        let base = self.config.base_url.as_str().trim_end_matches('/');
        format!("{base}{path}")
    }

    /// Returns `url` if it has the provider's origin, or a host that its description lists: the key must not go to another
    /// server.
    pub(super) fn own(&self, url: &str) -> Option<String> {
        if url.len() > MAX_URL {
            return None;
        }
        let parsed = Url::parse(url).ok()?;
        let is_own = parsed.origin() == self.config.base_url.origin();
        (is_own || self.lists(&parsed)).then(|| url.to_owned())
    }

    pub(super) fn lists(&self, url: &Url) -> bool {
        let Protocol::Described(api) = &self.config.protocol else {
            return false;
        };
        let is_https = url.scheme() == "https" && url.port().is_none();
        is_https && url.host_str().is_some_and(|host| api.has_host(host))
    }

    /// Returns `url` if it has the provider's origin, else the URL of `path`.
    pub(super) fn own_or_at(&self, url: &str, path: &str) -> String {
        self.own(url).unwrap_or_else(|| self.at(path))
    }
}
