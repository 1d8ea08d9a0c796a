//! An S3 server in this process: it checks signatures, keeps objects in a folder, and fails on demand.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Error, S3ErrorCode, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

pub(crate) const BUCKET: &str = "media";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// How the server fails an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answers that access is denied.
    Deny,
    /// Answers that the object does not exist.
    Missing,
    /// Reads the request and never answers.
    Silence,
}

/// Serves until dropped.
pub(crate) struct S3 {
    pub(crate) address: String,
    root: PathBuf,
    watch: Arc<Watch>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Watch {
    seen: Mutex<BTreeMap<String, usize>>,
    faults: Mutex<BTreeMap<String, Fault>>,
}

struct Check(Arc<Watch>);

impl S3 {
    /// Starts a server with one bucket, whose objects are below `root`.
    pub(crate) async fn start(root: PathBuf) -> Self {
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        let watch = Arc::new(Watch::default());
        let mut builder = S3ServiceBuilder::new(FileSystem::new(&root).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        builder.set_access(Check(watch.clone()));
        let service = HandleError::new(builder.build(), async |error| {
            eprintln!("the S3 server: {error:?}");
            StatusCode::INTERNAL_SERVER_ERROR
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback_service(service);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            root,
            watch,
            serving,
        }
    }

    /// Returns the settings of a worker that stores its results here, at `address`.
    pub(crate) fn settings(address: &str) -> Vec<(&'static str, String)> {
        [
            ("S3_BUCKET", BUCKET.to_owned()),
            ("S3_PREFIX", "prod/results".to_owned()),
            ("S3_ENDPOINT", format!("http://{address}")),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
        .into()
    }

    /// Returns the keys of all objects, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let bucket = self.root.join(BUCKET);
        walk(&bucket, &mut |path| {
            let key = path.strip_prefix(&bucket).unwrap();
            keys.push(key.display().to_string());
        });
        keys.sort();
        keys
    }

    /// Returns the path of an object's file.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.root.join(BUCKET).join(key)
    }

    /// Returns the number of parts of uploads that are neither completed nor aborted.
    pub(crate) fn loose_parts(&self) -> usize {
        let entries = std::fs::read_dir(&self.root).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".upload_id-")).count()
    }

    /// Returns how often an operation was requested, by its S3 name.
    pub(crate) fn seen(&self, operation: &str) -> usize {
        let seen = self.watch.seen.lock().unwrap();
        seen.get(operation).copied().unwrap_or(0)
    }

    /// Fails an operation in this way from now on; `None`: handles it normally.
    pub(crate) fn fault(&self, operation: &str, fault: Option<Fault>) {
        let mut faults = self.watch.faults.lock().unwrap();
        match fault {
            Some(fault) => faults.insert(operation.to_owned(), fault),
            None => faults.remove(operation),
        };
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.serving.abort();
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.root).ok();
        }
    }
}

/// Written without `async_trait`, with the signature that the macro generates.
impl S3Access for Check {
    fn check<'s, 'c, 'x, 'f>(
        &'s self,
        context: &'c mut S3AccessContext<'x>,
    ) -> Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'f>>
    where
        's: 'f,
        'c: 'f,
        'x: 'f,
        Self: 'f,
    {
        let operation = context.s3_op().name().to_owned();
        let signed = context.credentials().is_some();
        let denied = || S3Error::new(S3ErrorCode::AccessDenied);
        Box::pin(async move {
            if !signed {
                return Err(denied());
            }
            *self
                .0
                .seen
                .lock()
                .unwrap()
                .entry(operation.clone())
                .or_default() += 1;
            let fault = self.0.faults.lock().unwrap().get(&operation).copied();
            match fault {
                Some(Fault::Deny) => Err(denied()),
                Some(Fault::Missing) => Err(S3Error::new(S3ErrorCode::NoSuchKey)),
                Some(Fault::Silence) => std::future::pending().await,
                None => Ok(()),
            }
        })
    }
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, each);
        } else {
            each(&path);
        }
    }
}
