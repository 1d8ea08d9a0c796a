//! The one place where HTTP clients are made: one TLS stack, no proxy, no redirects, no silent second try.

use std::sync::Once;
use std::time::Duration;

static TLS: Once = Once::new();

/// No pause that is asked for is kept longer.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(600);

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

/// Returns the pause that `Retry-After` asks for, in seconds or until a date, at most ten minutes.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = headers
        .get(reqwest::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(text)?,
    };
    Some(pause.min(LONGEST_PAUSE))
}

fn until(date: &str) -> Option<Duration> {
    let at = chrono::DateTime::parse_from_rfc2822(date).ok()?;
    let left = at.signed_duration_since(chrono::Utc::now());
    Some(left.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, RETRY_AFTER};

    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(
            RETRY_AFTER,
            text.parse().unwrap(),
        )]))
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date_and_has_an_end() {
        let minute = (chrono::Utc::now() + Duration::from_secs(60)).to_rfc2822();

        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("86400"), Some(LONGEST_PAUSE));
        let left = asked(&minute).unwrap();
        assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(60));
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(asked(past), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }
}
