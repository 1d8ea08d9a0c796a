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

/// No server's wish for a pause is kept for longer.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Returns the pause that `Retry-After` asks for, in seconds or by a date, at most ten minutes.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    pause(text.trim(), std::time::SystemTime::now())
}

fn pause(text: &str, now: std::time::SystemTime) -> Option<Duration> {
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            let date = std::time::SystemTime::from(date);
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now = std::time::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text| pause(text, now).map(|pause| pause.as_secs());

        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds("86400"), Some(600));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("later"), None);
    }
}
