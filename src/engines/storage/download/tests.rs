//! Tests downloads over real HTTP: which addresses they call, where redirects lead, what is too large.

mod bounds;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::engines::config::{Config, Egress, Ports};
use crate::engines::storage::temp::tests::{file, folder};

/// A server with one picture at `/file`; a test sets where its other paths redirect.
struct Server {
    url: Url,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    leads: Mutex<BTreeMap<String, (u16, String)>>,
    /// The requested paths, and whether the request carried the key.
    asked: Mutex<Vec<(String, bool)>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url: url.parse().unwrap(),
            shared,
        }
    }

    fn at(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }

    fn leads(&self, path: &str, status: u16, to: impl Into<String>) {
        let mut leads = self.shared.leads.lock().unwrap();
        leads.insert(path.to_owned(), (status, to.into()));
    }

    fn asked(&self) -> Vec<(String, bool)> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, request: Request) -> Response {
    let path = uri.path().to_owned();
    let keyed = request.headers().contains_key(AUTHORIZATION);
    let lead = shared.leads.lock().unwrap().get(&path).cloned();
    shared.asked.lock().unwrap().push((path.clone(), keyed));
    match lead {
        Some((status, to)) => {
            (StatusCode::from_u16(status).unwrap(), [(LOCATION, to)]).into_response()
        }
        None if path == "/file" => picture().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn picture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, 1, 1).write_header().unwrap();
    writer.write_image_data(&[0]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Returns a downloader with the default rules, or one that may call any address.
fn downloader(anything: bool) -> Downloader {
    let mut config = Config::of(&[]).unwrap().worker;
    config.max_output_bytes = 100_000;
    if anything {
        config.egress = Egress {
            allow_private: true,
            allow_http: true,
            ports: Ports::Any,
        };
    }
    Downloader::new(&config).unwrap()
}

/// Fetches an output that the provider at `own` named, and checks it.
async fn fetch(downloader: &Downloader, own: &Server, source: &Source) -> Result<u64, Error> {
    fetch_within(downloader, &own.at("v1"), source, u64::MAX).await
}

async fn fetch_within(
    downloader: &Downloader,
    base: &Url,
    source: &Source,
    left: u64,
) -> Result<u64, Error> {
    let folder = folder();
    let fetching = async {
        let file = file(folder.join("0"));
        let found = downloader.fetch(base, source, file, left).await?;
        downloader.check(found, Media::Image).await
    };
    let fetched = fetching.await;
    std::fs::remove_dir_all(folder).unwrap();
    fetched.map(|file| file.bytes)
}

fn keyed(url: Url) -> Source {
    let key = HeaderValue::from_static("Bearer secret");
    Source::Keyed(url, Some((AUTHORIZATION, key)))
}

#[tokio::test]
async fn only_the_providers_own_origin_is_fetched_from_a_private_network() {
    let (own, other) = (Server::start().await, Server::start().await);
    let downloader = downloader(false);

    let from_own = fetch(&downloader, &own, &Source::Open(own.at("file"))).await;
    let from_other = fetch(&downloader, &own, &Source::Open(other.at("file"))).await;

    assert_eq!(from_own.unwrap(), picture().len() as u64);
    assert!(matches!(from_other, Err(Error::Refused(_))));
    assert_eq!(other.asked(), []);
}

#[tokio::test]
async fn no_other_server_leads_to_what_only_the_provider_may_name() {
    let (own, other) = (Server::start().await, Server::start().await);
    let mut downloader = downloader(true);
    // The port of `own` is not allowed, so it is called only because it is the provider's own origin.
    let rules = Egress {
        allow_private: true,
        allow_http: true,
        ports: Ports::Only(vec![other.url.port().unwrap()]),
    };
    downloader.guard = Guard::new("download", &rules, |client| client).unwrap();
    own.leads("/out", 302, other.at("back"));
    other.leads("/back", 302, own.at("file"));

    assert!(
        fetch(&downloader, &own, &Source::Open(own.at("file")))
            .await
            .is_ok()
    );
    for (provider, first) in [
        (&other, own.at("file")),
        (&other, other.at("back")),
        (&own, other.at("back")),
        (&own, own.at("out")),
    ] {
        let fetched = fetch(&downloader, provider, &Source::Open(first.clone())).await;

        assert!(
            matches!(fetched, Err(Error::Refused(Refused::Port))),
            "{first}"
        );
    }
    let files = own
        .asked()
        .iter()
        .filter(|(path, _)| path == "/file")
        .count();
    assert_eq!(files, 1);
    let blob = format!("blob:{}", own.at("file")).parse().unwrap();
    let fetched = fetch(&downloader, &own, &Source::Open(blob)).await;
    assert!(matches!(fetched, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn each_address_that_a_redirect_leads_to_is_checked() {
    let (own, other) = (Server::start().await, Server::start().await);
    let by_default = downloader(false);
    own.leads("/near", 302, "/file");
    own.leads("/inside", 307, other.at("file"));
    own.leads("/metadata", 301, "http://169.254.169.254/latest/meta-data");
    own.leads("/disk", 302, "file:///etc/passwd");
    own.leads("/bytes", 302, "data:image/png;base64,AAAA");

    assert!(
        fetch(&by_default, &own, &Source::Open(own.at("near")))
            .await
            .is_ok()
    );
    for path in ["inside", "metadata", "disk", "bytes"] {
        let fetched = fetch(&by_default, &own, &Source::Open(own.at(path))).await;
        assert!(matches!(fetched, Err(Error::Refused(_))), "{path}");
    }
    assert_eq!(other.asked(), []);
}

#[tokio::test]
async fn the_key_stays_with_the_provider_and_does_not_come_back() {
    let (own, other) = (Server::start().await, Server::start().await);
    let downloader = downloader(true);
    own.leads("/content", 302, "/moved");
    own.leads("/moved", 303, other.at("there"));
    other.leads("/there", 308, own.at("file"));

    let fetched = fetch(&downloader, &own, &keyed(own.at("content"))).await;

    assert!(fetched.is_ok(), "{fetched:?}");
    let asked = |path: &str, keyed| (path.to_owned(), keyed);
    assert_eq!(
        own.asked(),
        [
            asked("/content", true),
            asked("/moved", true),
            asked("/file", false)
        ]
    );
    assert_eq!(other.asked(), [asked("/there", false)]);
}

#[tokio::test]
async fn redirects_that_are_endless_or_lead_nowhere_give_no_output() {
    let own = Server::start().await;
    let downloader = downloader(false);
    own.leads("/round", 302, "/round");
    own.leads("/nowhere", 302, "http://");
    own.leads("/unchanged", 304, "/file");

    for (path, reported) in [
        ("round", "redirects more than 3 times"),
        ("nowhere", "status 302"),
        ("unchanged", "status 304"),
        ("missing", "status 404"),
    ] {
        let fetched = fetch(&downloader, &own, &Source::Open(own.at(path))).await;
        let Err(Error::Unavailable(why)) = fetched else {
            panic!("{path}: {fetched:?}");
        };
        assert!(why.contains(reported), "{path}: {why}");
    }
    let rounds = own
        .asked()
        .iter()
        .filter(|asked| asked.0 == "/round")
        .count();
    assert_eq!(rounds, REDIRECTS + 1);
}

/// Answers one request with these bytes, and then sends nothing more or closes the connection.
async fn raw(answer: &'static str, hang_up: bool) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(client.read(&mut request).await.unwrap() > 0);
        client.write_all(answer.as_bytes()).await.unwrap();
        if !hang_up {
            std::future::pending::<()>().await;
        }
    });
    url.parse().unwrap()
}

#[tokio::test]
async fn an_output_that_announces_too_many_bytes_is_not_read() {
    let (downloader, own) = (downloader(true), Server::start().await);
    let url = raw("HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n", false).await;

    let fetched = fetch(&downloader, &own, &Source::Open(url)).await;

    assert!(matches!(fetched, Err(Error::Invalid(_))), "{fetched:?}");
}

#[tokio::test]
async fn a_download_that_breaks_off_gives_no_output_and_may_be_repeated() {
    let (downloader, own) = (downloader(true), Server::start().await);
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "HTTP/1.1 20",
    ] {
        let url = raw(answer, true).await;

        let fetched = fetch(&downloader, &own, &Source::Open(url)).await;

        assert!(matches!(fetched, Err(Error::Unavailable(_))), "{fetched:?}");
    }
}
