//! URLs of http and https.

use url::Url;

use super::Invalid;

/// Parses an absolute http or https URL of any length: input URLs may carry long signatures.
pub(crate) fn input_url(field: &str, raw: &str) -> Result<Url, Invalid> {
    parse_http_url(raw).ok_or_else(|| Invalid::new(field, "is not an http or https URL"))
}

/// Parses an absolute http or https URL; such a URL always has a host.
pub(crate) fn parse_http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}
