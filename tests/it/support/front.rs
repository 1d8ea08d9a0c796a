//! What is in front of a hosted Temporal server: it terminates TLS, and checks client certificates and API keys.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, Request, Response, Uri};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificate;

/// Forwards calls until dropped.
pub(crate) struct Front {
    pub(crate) port: u16,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

/// What the front asks of its callers, and what it has seen.
struct Seen {
    server: Authority,
    client: Client<HttpConnector, Incoming>,
    /// The keys that it accepts; `None`: it asks for none.
    keys: Mutex<Option<Vec<String>>>,
    /// How many calls came with each key.
    calls: Mutex<Vec<String>>,
    /// The headers of the last call.
    headers: Mutex<HeaderMap>,
}

impl Front {
    /// Starts in front of `server`, `host:port`, with this certificate. With `clients`, the file of an authority, callers need
    /// a certificate of that authority.
    pub(crate) async fn before(
        server: &str,
        certificate: &Certificate,
        clients: Option<&Path>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Where localhost has two addresses, a client may use either.
        let second = TcpListener::bind(("::1", port)).await.ok();
        let acceptor = TlsAcceptor::from(Arc::new(tls(certificate, clients)));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let seen = Arc::new(Seen {
            server: server.parse().unwrap(),
            client: Client::builder(TokioExecutor::new())
                .http2_only(true)
                .build(connector),
            keys: Mutex::default(),
            calls: Mutex::default(),
            headers: Mutex::default(),
        });
        let shared = seen.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    Some(accepted) = other(second.as_ref()) => accepted.unwrap(),
                };
                stream.set_nodelay(true).unwrap();
                tokio::spawn(connection(acceptor.clone(), stream, shared.clone()));
            }
        });
        Self {
            port,
            seen,
            serving,
        }
    }

    /// Accepts only calls with one of these API keys from now on.
    pub(crate) fn accept(&self, keys: &[&str]) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        *self.seen.keys.lock().unwrap() = Some(keys);
    }

    /// Returns how many accepted calls had this key.
    pub(crate) fn calls_with(&self, key: &str) -> usize {
        let calls = self.seen.calls.lock().unwrap();
        calls.iter().filter(|used| *used == key).count()
    }

    /// Returns a header of the last call.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let headers = self.seen.headers.lock().unwrap();
        Some(headers.get(name)?.to_str().unwrap().to_owned())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn other(listener: Option<&TcpListener>) -> Option<std::io::Result<(TcpStream, SocketAddr)>> {
    Some(listener?.accept().await)
}

fn tls(certificate: &Certificate, clients: Option<&Path>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            let found = CertificateDer::pem_file_iter(ca).unwrap();
            roots.add_parsable_certificates(found.flatten());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::pem_file_iter(&certificate.chain).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, seen: Arc<Seen>) {
    // It fails if the caller refuses the certificate, or has none; the caller sees that too.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let forwarding = service_fn(|call| answer(seen.clone(), call));
    let server = auto::Builder::new(TokioExecutor::new());
    // It fails if either side goes away, which the other side sees too.
    let served = server.serve_connection(TokioIo::new(stream), forwarding);
    served.await.ok();
}

async fn answer(
    seen: Arc<Seen>,
    mut call: Request<Incoming>,
) -> Result<Response<Body>, hyper_util::client::legacy::Error> {
    seen.headers.lock().unwrap().clone_from(call.headers());
    if let Some(keys) = &*seen.keys.lock().unwrap() {
        let key = call.headers().get(AUTHORIZATION);
        let key = key.and_then(|key| key.to_str().ok()?.strip_prefix("Bearer "));
        match key.filter(|key| keys.iter().any(|good| good == key)) {
            None => return Ok(refusal()),
            Some(key) => seen.calls.lock().unwrap().push(key.to_owned()),
        }
    }
    let path = call.uri().path_and_query().unwrap().clone();
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(seen.server.clone())
        .path_and_query(path);
    *call.uri_mut() = uri.build().unwrap();
    let answer = seen.client.request(call).await?;
    Ok(answer.map(Body::new))
}

/// The answer of a hosted server to a wrong key: gRPC's UNAUTHENTICATED.
fn refusal() -> Response<Body> {
    let headers = [
        (CONTENT_TYPE.as_str(), "application/grpc"),
        ("grpc-status", "16"),
        ("grpc-message", "Request unauthorized."),
    ];
    (headers, ()).into_response()
}
