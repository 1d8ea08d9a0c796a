//! An HTTP proxy that counts the calls to one server, Temporal's gRPC included.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{Request, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a proxy forwards calls to.
#[derive(Clone, Copy)]
pub(super) struct Server {
    /// Returns the name under which a call is counted.
    pub(super) name: fn(&Request<Incoming>) -> String,
    pub(super) speaks_http2: bool,
}

/// Forwards calls until dropped.
pub(super) struct Tally {
    /// `host:port` of the proxy.
    pub(super) address: String,
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    serving: JoinHandle<()>,
}

impl Tally {
    /// Counts the calls to `server` at `address`, `host:port`.
    pub(super) async fn before(server: Server, address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tally = listener.local_addr().unwrap().to_string();
        let counts = Arc::new(Mutex::default());
        // Without it, small pieces of a call wait for the acknowledgement of the piece before.
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let forwards = Forwards {
            server,
            address: address.parse().unwrap(),
            client: Client::builder(TokioExecutor::new())
                .http2_only(server.speaks_http2)
                .build(connector),
            counts: Arc::clone(&counts),
        };
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(forwards.clone().connection(stream));
            }
        });
        Self {
            address: tally,
            counts,
            serving,
        }
    }

    /// Returns how many calls there were of each name.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Forwards {
    server: Server,
    address: Authority,
    client: Client<HttpConnector, Incoming>,
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Forwards {
    async fn connection(self, stream: TcpStream) {
        let forwarding = service_fn(|call| {
            let name = (self.server.name)(&call);
            *self.counts.lock().unwrap().entry(name).or_default() += 1;
            self.client.request(self.readdressed(call))
        });
        let server = auto::Builder::new(TokioExecutor::new());
        // It fails if either side goes away, which the other side sees too.
        let served = server.serve_connection(TokioIo::new(stream), forwarding);
        served.await.ok();
    }

    fn readdressed(&self, mut call: Request<Incoming>) -> Request<Incoming> {
        let path = call.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.address.clone())
            .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")));
        *call.uri_mut() = uri.build().unwrap();
        call
    }
}
