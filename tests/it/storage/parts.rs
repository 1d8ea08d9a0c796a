//! Uploads of large files in parts: no part is left behind, and stored files are not sent again.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use genflow::domain::{Media, RequestId, WorkflowId};
use genflow::engines::config::Config;
use genflow::engines::storage::temp::{AttemptFolder, TempFolders};
use genflow::engines::storage::{Checked, Downloader, Source, Store};
use tokio::net::TcpListener;
use url::Url;

use super::{folder, sha256};
use crate::support::s3::{Fault, S3};
use crate::support::{SOON, eventually, within};

const MIB: usize = 1024 * 1024;
/// Three parts, the last one shorter.
const LENGTH: usize = 20 * MIB;

/// Returns the bytes of a video, created while they are sent: a real header, then arbitrary bytes.
pub(super) fn film(length: usize) -> Body {
    let mut head = b"\0\0\0\x18ftypisom\0\0\0\0isommp42".to_vec();
    let rest = u32::try_from(length - head.len()).unwrap();
    head.extend(rest.to_be_bytes());
    head.extend(b"mdat");
    let piece: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    let piece = Bytes::from(piece);
    let pieces = (head.len()..length)
        .step_by(MIB)
        .map(move |at| piece.slice(..MIB.min(length - at)));
    let pieces = std::iter::once(Bytes::from(head)).chain(pieces);
    let pieces = pieces.map(Ok::<_, std::convert::Infallible>);
    Body::from_stream(futures::stream::iter(pieces))
}

/// A store in a bucket, without a worker around it.
struct Bench {
    s3: S3,
    store: Arc<Store>,
    folder: PathBuf,
    temp: AttemptFolder,
    /// The parent of the attempt's folder, which it removes when it is dropped.
    _folders: TempFolders,
    film: Url,
}

impl Bench {
    async fn new() -> Self {
        Self::of(LENGTH).await
    }

    /// Like [`Self::new`], with a video of another length.
    async fn of(length: usize) -> Self {
        let s3 = S3::start(folder()).await;
        let settings = S3::settings(&s3.address);
        let config = Config::load(|name| {
            let found = settings.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| value.clone())
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let film = format!("http://{}/film.mp4", listener.local_addr().unwrap());
        let router = Router::new().route("/film.mp4", get(async move || self::film(length)));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let folder = folder();
        let folders = TempFolders::open(&folder.join("temp"), None).unwrap();
        Self {
            s3,
            store: Arc::new(Store::open(&config.unwrap().worker).unwrap()),
            temp: folders.attempt(&workflow()).unwrap(),
            _folders: folders,
            folder,
            film: Url::parse(&film).unwrap(),
        }
    }

    async fn checked(&self, index: usize) -> Checked {
        let config = Config::load(|name| match name {
            "DOWNLOAD_ALLOW_PRIVATE" => Some("true".to_owned()),
            "MAX_OUTPUT_BYTES" => Some(LENGTH.to_string()),
            _ => None,
        });
        let downloader = Downloader::new(&config.unwrap().worker).unwrap();
        let source = Source::Open(self.film.clone());
        let file = self.temp.file(index);
        let fetching = downloader.fetch(&self.film, &source, file, u64::MAX);
        let found = fetching.await.unwrap();
        downloader.check(found, Media::Video).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn workflow() -> WorkflowId {
    RequestId::try_from("large".to_owned()).unwrap().run(1)
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_the_second_time_not_at_all() {
    let bench = Bench::new().await;
    let store = &bench.store;

    let first = store.put(&workflow(), 0, bench.checked(0).await).await;
    let sent = bench.s3.seen("UploadPart");
    let again = store.put(&workflow(), 0, bench.checked(0).await).await;

    let first = first.unwrap();
    assert_eq!(first, again.unwrap());
    assert_eq!((sent, bench.s3.seen("UploadPart")), (3, 3));
    assert_eq!(bench.s3.seen("PutObject"), 0);
    let key = first.uri.strip_prefix("s3://media/").unwrap();
    assert!(key.starts_with("prod/results/large~1/0-"), "{key}");
    let bytes = std::fs::read(bench.s3.object(key)).unwrap();
    assert_eq!(sha256(&bytes), first.sha256);
    assert_eq!(bench.s3.loose_parts(), 0);
}

#[tokio::test]
async fn an_upload_that_fails_takes_its_parts_back() {
    let bench = Bench::new().await;
    bench.s3.fault("CompleteMultipartUpload", Some(Fault::Deny));

    let put = bench
        .store
        .put(&workflow(), 0, bench.checked(0).await)
        .await;

    let error = put.unwrap_err();
    assert_eq!(error.to_string(), "access to the store is denied");
    assert_eq!(bench.s3.seen("AbortMultipartUpload"), 1);
    assert_eq!(bench.s3.loose_parts(), 0);
    assert_eq!(bench.s3.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_that_is_given_up_takes_its_parts_back_before_the_worker_ends() {
    let bench = Bench::new().await;
    bench
        .s3
        .fault("CompleteMultipartUpload", Some(Fault::Silence));
    let (store, checked) = (bench.store.clone(), bench.checked(0).await);
    let putting = tokio::spawn(async move { store.put(&workflow(), 0, checked).await });
    eventually("all parts are uploaded", async || {
        (bench.s3.seen("CompleteMultipartUpload") == 1).then_some(())
    })
    .await;
    assert!(bench.s3.loose_parts() > 0);

    putting.abort();
    putting.await.unwrap_err();
    within(SOON, "the store closes", bench.store.close(SOON)).await;

    assert_eq!(bench.s3.seen("AbortMultipartUpload"), 1);
    assert_eq!(bench.s3.loose_parts(), 0);
}

/// More parts than may be in memory: uploads wait for memory, not for each other.
#[tokio::test]
async fn many_uploads_at_once_all_end() {
    let bench = Bench::new().await;
    let mut files = Vec::new();
    for index in 0..6 {
        files.push(bench.checked(index).await);
    }

    let workflow = workflow();
    let puts = files.into_iter().enumerate();
    let puts = puts.map(|(index, file)| bench.store.put(&workflow, index, file));
    let done = within(
        SOON,
        "all files are stored",
        futures::future::join_all(puts),
    )
    .await;

    for output in done {
        output.unwrap();
    }
    assert_eq!(bench.s3.keys().len(), 6);
    assert_eq!(bench.s3.loose_parts(), 0);
}

/// Two attempts at the same time: each has seen that the object did not exist.
#[tokio::test]
async fn a_name_that_is_taken_after_the_look_keeps_what_it_has() {
    let bench = Bench::of(MIB).await;
    let first = bench
        .store
        .put(&workflow(), 0, bench.checked(0).await)
        .await;
    let first = first.unwrap();
    let key = first.uri.strip_prefix("s3://media/").unwrap();
    std::fs::write(bench.s3.object(key), b"what another attempt has put").unwrap();
    bench.s3.fault("HeadObject", Some(Fault::Missing));

    let second = bench
        .store
        .put(&workflow(), 0, bench.checked(0).await)
        .await;

    assert_eq!(
        second.unwrap_err().to_string(),
        "the store has a file of this name already"
    );
    assert_eq!(bench.s3.seen("PutObject"), 2);
    let kept = std::fs::read(bench.s3.object(key)).unwrap();
    assert_eq!(kept, b"what another attempt has put");
}
