//! The one place where HTTP clients are made: one TLS stack, no proxy, no redirects, no silent second try.

use std::sync::Once;
use std::time::Duration;

static TLS: Once = Once::new();

/// Chooses the TLS provider of this process; every client needs it made before it, those of libraries too.
pub(crate) fn choose_tls() {
    TLS.call_once(|| {
        // Err: another part of the process chose a provider already, which is as good.
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            tracing::debug!("a TLS provider is installed already");
        }
    });
}

/// Returns a builder whose clients follow no redirect, use no proxy of the environment and never repeat a request.
pub(crate) fn client() -> reqwest::ClientBuilder {
    choose_tls();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("genflow/", env!("CARGO_PKG_VERSION")))
}

/// Returns the pause that `Retry-After` asks for in seconds, at most ten minutes.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}
