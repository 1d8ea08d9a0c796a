//! Creates all HTTP clients: one TLS stack, no proxy, no redirects, no silent retry. Serves pages until a stop.

use std::fmt::Debug;
use std::io;
use std::sync::Once;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::serve::Listener;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

static TLS: Once = Once::new();

/// Limit on a pause that a server asks for. A single notification waits longer, if its target asks for that.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Chooses the TLS provider of this process. Call it before any client is created, also before those of libraries.
pub(crate) fn choose_tls() {
    TLS.call_once(|| {
        // Err: a provider is installed already, which is fine.
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            tracing::debug!("a TLS provider is installed already");
        }
    });
}

/// Returns a builder of clients that follow no redirect, use no proxy of the environment and never repeat a request.
///
/// They speak HTTP/1.1: what is known of an interrupted submit depends on the order in which an HTTP/1.1 connection
/// writes (see `provider::submit`).
pub(crate) fn client() -> reqwest::ClientBuilder {
    choose_tls();
    reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("genflow/", env!("CARGO_PKG_VERSION")))
}

/// How long [`serve`] waits for open requests after a stop.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves until `stop`, and waits a second at most for requests that are still open.
///
/// # Errors
/// The listener fails.
pub(crate) async fn serve<L>(
    listener: L,
    routes: Router,
    stop: &CancellationToken,
) -> io::Result<()>
where
    L: Listener,
    L::Addr: Debug,
{
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        sleep(PATIENCE).await;
    };
    tokio::select! {
        served = async { server.await } => served,
        () = overdue => Ok(()),
    }
}

/// Returns the pause that `Retry-After` asks for, in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(chrono::DateTime::parse_from_rfc2822(text).ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}

/// Caps a pause. Zero counts as absent, so that no caller retries in a tight loop.
pub(crate) fn capped(pause: Duration) -> Option<Duration> {
    (!pause.is_zero()).then_some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");

    /// Accepts one connection and returns the protocol it agreed on.
    fn agreed(listener: &TcpListener) -> Option<Vec<u8>> {
        let chain = CertificateDer::pem_file_iter(format!("{TLS}/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(format!("{TLS}/server.key")).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        connection.alpn_protocol().map(<[u8]>::to_vec)
    }

    #[tokio::test]
    async fn http_1_1_is_used_even_if_the_server_prefers_http_2() {
        choose_tls();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let server = tokio::task::spawn_blocking(move || agreed(&listener));
        let ca = std::fs::read(format!("{TLS}/ca.pem")).unwrap();
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        let client = client().tls_certs_only([ca]).build().unwrap();

        // The server closes the connection after the handshake.
        client.get(url).send().await.unwrap_err();

        assert_eq!(server.await.unwrap().unwrap(), b"http/1.1");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let second = Duration::from_secs(1);
        let now = SystemTime::UNIX_EPOCH + second * 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
        for (text, expected) in [
            ("120", Some(120)),
            ("86400", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);

            let asked = retry_after(&headers, now);

            assert_eq!(asked, expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_pause_is_capped_and_never_zero() {
        let second = Duration::from_secs(1);

        assert_eq!(capped(second * 7), Some(second * 7));
        assert_eq!(capped(second * 86_400), Some(LONGEST_PAUSE));
        assert_eq!(capped(Duration::ZERO), None);
    }
}
