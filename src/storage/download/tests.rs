//! Downloads over real HTTP: whom they call, where redirects lead, what is too large.

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
use crate::config::{Config, Egress, Ports};
use crate::storage::temp::tests::{file, folder};

/// A server of one picture, `/file`, whose other addresses lead where a test says.
struct Server {
    url: Url,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    leads: Mutex<BTreeMap<String, (u16, String)>>,
    /// Paths asked for, and whether the key came along.
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

/// Downloads by the default rules, or anything there is.
fn downloader(anything: bool) -> Downloader {
    let mut config = Config::load(|_| None).unwrap().worker;
    config.max_output_bytes = 100_000;
    if anything {
        config.egress = Egress {
            allow_private: true,
            allow_http: true,
            ports: Ports::Any,
            nat64: Vec::new(),
        };
    }
    Downloader::new(&config).unwrap()
}

/// Fetches what the provider at `own` has named, and looks at it.
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
        downloader.look(found, Kind::Image).await
    };
    let fetched = fetching.await;
    std::fs::remove_dir_all(folder).unwrap();
    fetched.map(|file| file.bytes)
}

fn keyed(url: Url) -> Source {
    Source::Keyed(url, Some(HeaderValue::from_static("Bearer secret")))
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
    // Whoever it is, only `other` is called; `own` is where it is the provider's.
    let rules = Egress {
        allow_private: true,
        allow_http: true,
        ports: Ports::Only(vec![other.url.port().unwrap()]),
        nat64: Vec::new(),
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
async fn redirects_without_end_or_aim_are_no_output() {
    let own = Server::start().await;
    let downloader = downloader(false);
    own.leads("/round", 302, "/round");
    own.leads("/nowhere", 302, "http://");
    own.leads("/unchanged", 304, "/file");

    for (path, told) in [
        ("round", "elsewhere more than 3 times"),
        ("nowhere", "status 302"),
        ("unchanged", "status 304"),
        ("missing", "status 404"),
    ] {
        let fetched = fetch(&downloader, &own, &Source::Open(own.at(path))).await;
        let Err(Error::Unavailable(why)) = fetched else {
            panic!("{path}: {fetched:?}");
        };
        assert!(why.contains(told), "{path}: {why}");
    }
    let rounds = own
        .asked()
        .iter()
        .filter(|asked| asked.0 == "/round")
        .count();
    assert_eq!(rounds, REDIRECTS + 1);
}

/// Answers one request with these bytes and then says nothing more, or hangs up.
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
async fn what_says_that_it_is_too_large_is_not_read() {
    let (downloader, own) = (downloader(true), Server::start().await);
    let url = raw("HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n", false).await;

    let fetched = fetch(&downloader, &own, &Source::Open(url)).await;

    assert!(matches!(fetched, Err(Error::Invalid(_))), "{fetched:?}");
}

#[tokio::test]
async fn what_breaks_off_is_not_an_output_and_may_be_had_later() {
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

#[tokio::test]
async fn the_outputs_of_a_run_have_a_bound_together() {
    let (downloader, own) = (downloader(true), Server::start().await);
    let (base, size) = (own.at("v1"), picture().len() as u64);
    let source = Source::Open(own.at("file"));

    let fits = fetch_within(&downloader, &base, &source, size).await;
    let does_not = fetch_within(&downloader, &base, &source, size - 1).await;

    assert_eq!(fits.unwrap(), size);
    assert!(matches!(does_not, Err(Error::Invalid(_))));
}

/// Sends bytes one by one, for ever.
async fn trickle() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        client.write_all(head).await.unwrap();
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    url.parse().unwrap()
}

#[tokio::test]
async fn a_download_that_never_ends_is_given_up() {
    let (mut downloader, own) = (downloader(true), Server::start().await);
    downloader.longest = Duration::from_millis(300);

    let fetched = fetch(&downloader, &own, &Source::Open(trickle().await)).await;

    let Err(Error::Unavailable(why)) = fetched else {
        panic!("{fetched:?}");
    };
    assert!(why.contains("did not come within"), "{why}");
}

#[tokio::test]
async fn a_download_that_trickles_is_given_up() {
    let (mut downloader, own) = (downloader(true), Server::start().await);
    downloader.silence = Duration::ZERO;

    let fetched = fetch(&downloader, &own, &Source::Open(trickle().await)).await;

    let Err(Error::Unavailable(why)) = fetched else {
        panic!("{fetched:?}");
    };
    assert!(why.contains("slower than"), "{why}");
}

#[test]
fn a_server_has_a_minute_and_then_a_pace() {
    let slow = |bytes, seconds| is_too_slow(bytes, Duration::from_secs(seconds), SILENCE);

    assert!(!slow(0, 60) && slow(0, 61));
    assert!(!slow(SLOWEST, 61) && slow(SLOWEST - 1, 61));
    assert!(!slow(SLOWEST * 840, 900) && slow(SLOWEST * 839, 900));
}

#[tokio::test]
async fn bytes_that_came_with_an_answer_are_decoded_piece_by_piece() {
    let (downloader, own) = (downloader(true), Server::start().await);
    let inline = |bytes: &[u8]| Source::Inline(BASE64.encode(bytes));
    let mut large = picture();
    large.resize(ENCODED * 3 / 4 + 5, 7);

    let mut roomy = downloader.clone();
    roomy.most = u64::MAX;
    assert_eq!(
        fetch(&roomy, &own, &inline(&large)).await.unwrap(),
        large.len() as u64
    );
    let folder = folder();
    let into = file(folder.join("0"));
    let found = roomy
        .fetch(&own.url, &inline(&large), into, u64::MAX)
        .await
        .unwrap();
    assert_eq!(std::fs::read(found.file.path()).unwrap(), large);
    std::fs::remove_dir_all(folder).unwrap();

    let too_large = fetch(&downloader, &own, &inline(&large)).await;
    assert!(matches!(too_large, Err(Error::Invalid(_))));
    let data = format!("data:image/png;base64,{}", BASE64.encode(picture()));
    let data = Source::Open(data.parse().unwrap());
    assert_eq!(
        fetch(&downloader, &own, &data).await.unwrap(),
        picture().len() as u64
    );
    for odd in ["AA=", "A A=", "é"] {
        let fetched = fetch(&downloader, &own, &Source::Inline(odd.to_owned())).await;
        assert!(matches!(fetched, Err(Error::Invalid(_))), "{odd}");
    }
}

/// Killers of parsers are videos of which nothing is known.
#[tokio::test]
async fn films_that_cannot_be_measured_are_stored_without_measures() {
    let downloader = downloader(true);
    let abort = "AAAAFGZ0eXBpc29tAAAAAGlzb20AAABkbW9vdgAAAFxtZXRhAAAAAAAAAAFoZGxyAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let endless = "AAAAFGZ0eXBpc29tAAAAAGlzb20AAAAQbW9vdgAAAABmcmVl";
    for film in [abort, endless] {
        let folder = folder();
        let base = "http://localhost/".parse().unwrap();
        let source = Source::Inline(film.to_owned());
        let found = downloader
            .fetch(&base, &source, file(folder.join("0")), 1000)
            .await;

        let checked = downloader.look(found.unwrap(), Kind::Video).await.unwrap();

        let unknown = media::Media {
            content_type: "video/mp4",
            extension: "mp4",
            width: None,
            height: None,
            duration_seconds: None,
        };
        assert_eq!(checked.media, unknown);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// A JPEG may have its size behind as many segments as it likes.
#[tokio::test]
async fn a_picture_is_not_searched_for_its_size_for_ever() {
    let downloader = downloader(true);
    let measured = async |segments: usize| {
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend([0xff, 0xe1, 0, 4, 0, 0].repeat(segments));
        bytes.extend([
            0xff, 0xc0, 0, 17, 8, 0, 3, 0, 5, 3, 1, 0, 0, 2, 0, 0, 3, 0, 0,
        ]);
        let folder = folder();
        let path = folder.join("0");
        std::fs::write(&path, &bytes).unwrap();
        let found = Downloaded {
            file: file(path),
            bytes: bytes.len() as u64,
            sha256: String::new(),
        };
        let checked = downloader.look(found, Kind::Image).await.unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        (checked.media.width, checked.media.height)
    };

    assert_eq!(measured(1).await, (Some(5), Some(3)));
    assert_eq!(measured(100_000).await, (Some(5), Some(3)));
    assert_eq!(measured(200_000).await, (None, None));
}
