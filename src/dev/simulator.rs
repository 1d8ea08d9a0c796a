//! The provider simulator: replaces the paid external API, over real HTTP.
//!
//! Speaks the protocols of Replicate, OpenAI and fal, and those of the presets (`apis`), creates real, decodable files, and fails on demand: a request
//! carries its own faults in the input `sim` (see `script`), so tests that share one simulator do not disturb each
//! other. `GET /_sim/ledger` returns all submits and accepted jobs, so a test can count the jobs that would have been
//! paid for. Nothing in the simulator is durable, and nothing in the crate outside of `dev` depends on it.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use self::{
    job::Phase,
    ledger::Ledger,
    line::{Line, Lines},
    script::OutputFault,
};

mod apis;
mod callback;
mod fal;
mod job;
mod ledger;
mod line;
mod media;
mod models;
mod openai;
mod order;
mod play;
mod replicate;
mod script;
#[cfg(test)]
mod tests;

/// The largest request body. A prompt is far smaller; an image in a data URL may be that large.
const LARGEST_BODY: usize = 1024 * 1024;

/// Number of pieces of a slow download.
const PIECES: usize = 20;
/// Number of extra bytes in a huge file.
const HUGE: u64 = 16 * 1024 * 1024;
/// Size of the chunks in which it is sent, in bytes.
const PIECE: u64 = 64 * 1024;

const ABOUT: &str = "genflow provider simulator\n\n\
    Speaks Replicate's and OpenAI's HTTP APIs under /v1, fal's queue API under /fal, and those of the presets under /bfl,\n\
    /comfyui, /google, /luma and /runway; any key except \"bad\" works.\n\
    /_sim/ledger[?key=...]  all submits and accepted jobs\n\
    /_sim/health            200 while the simulator runs\n";

/// Settings of a [`Simulator`].
#[derive(Clone, Debug)]
pub struct SimulatorOptions {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// How long a job runs if its request does not set it.
    pub job_time: Duration,
}

/// A simulated provider: listens already, and answers once it runs.
#[derive(Debug)]
pub struct Simulator {
    listener: TcpListener,
    shared: Arc<SimulatorState>,
    /// Jobs whose end is called back, by id.
    called_back: UnboundedReceiver<String>,
}

impl Simulator {
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn bind(options: SimulatorOptions) -> io::Result<Self> {
        let SimulatorOptions { listen, job_time } = options;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (call_back, called_back) = unbounded_channel();
        let shared = SimulatorState {
            ledger: Mutex::default(),
            job_time,
            address,
            call_back,
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
            called_back,
        })
    }

    /// Returns the address that the simulator listens on, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Serves until `stop`, then cuts every connection and returns at once.
    ///
    /// # Errors
    ///
    /// The server fails. A bad connection or request never ends it.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let Self {
            listener,
            shared,
            called_back,
        } = self;
        let calling = callback::send_all(shared.clone(), called_back);
        let lines = Lines {
            listener,
            stop: stop.clone(),
        };
        let service = routes(shared).into_make_service_with_connect_info::<Line>();
        let serving = axum::serve(lines, service).with_graceful_shutdown(stop.cancelled_owned());
        tokio::select! {
            served = async { serving.await } => served,
            called = calling => called.map_err(io::Error::other),
        }
    }
}

/// State shared by all requests.
#[derive(Debug)]
struct SimulatorState {
    ledger: Mutex<Ledger>,
    job_time: Duration,
    address: SocketAddr,
    call_back: UnboundedSender<String>,
}

impl SimulatorState {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }
}

fn routes(shared: Arc<SimulatorState>) -> Router {
    Router::new()
        .route("/", get(ABOUT))
        .route("/_sim/health", get("ok\n"))
        .route("/_sim/ledger", get(ledger))
        .route("/files/{id}/{name}", get(file))
        .merge(replicate::routes())
        .merge(openai::routes())
        .merge(fal::routes())
        .merge(callback::routes())
        .merge(apis::routes())
        .fallback(async || replicate::not_found())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}

/// Query of the ledger.
#[derive(Deserialize)]
struct Wanted {
    key: Option<String>,
}

async fn ledger(
    State(shared): State<Arc<SimulatorState>>,
    Query(wanted): Query<Wanted>,
) -> Json<Value> {
    Json(
        shared
            .ledger()
            .entries(wanted.key.as_deref(), Instant::now()),
    )
}

/// Query of a file: which of the URLs issued for it was used.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    given: usize,
}

/// Serves a file of a job that succeeded, or the fault in its script.
async fn file(
    State(shared): State<Arc<SimulatorState>>,
    Path((id, name)): Path<(String, String)>,
    Query(Given { given }): Query<Given>,
) -> Response {
    let succeeded = |job: &&mut job::SimulatedJob| job.phase(Instant::now()) == Phase::Succeeded;
    let order = shared
        .ledger()
        .job(&id)
        .filter(succeeded)
        .map(|job| job.order.clone());
    let Some(order) = order else {
        return replicate::not_found();
    };
    serve(order, name, given).await
}

/// Serves a file; `given` counts the URLs issued for it, from 1.
async fn serve(order: order::Order, name: String, given: usize) -> Response {
    let (fault, slow) = (order.script.output, order.script.download);
    let padding = order.script.padding;
    let made = tokio::task::spawn_blocking(move || media::file(&order, &name)).await;
    let failed = |error: &dyn std::error::Error| {
        (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
    };
    let (kind, bytes) = match made {
        Ok(Some(Ok(file))) => file,
        Ok(None) => return replicate::not_found(),
        Ok(Some(Err(error))) => return failed(&error),
        Err(error) => return failed(&error),
    };
    let with_type = |kind, bytes: Vec<u8>| ([(header::CONTENT_TYPE, kind)], bytes).into_response();
    match fault {
        None | Some(OutputFault::OtherKind) => match slow {
            Some(time) => slowly(kind, &bytes, time.0),
            None if padding > 0 => padded(kind, bytes, padding),
            None => with_type(kind, bytes),
        },
        Some(OutputFault::Mislabelled) => with_type("text/plain", bytes),
        Some(OutputFault::Expired) if given > 1 => with_type(kind, bytes),
        Some(OutputFault::Expired) => {
            (StatusCode::FORBIDDEN, "Request has expired\n").into_response()
        }
        Some(OutputFault::Huge) => padded(kind, bytes, HUGE),
        Some(OutputFault::Missing) => replicate::not_found(),
        Some(OutputFault::Empty) => with_type(kind, Vec::new()),
        Some(OutputFault::Html) => {
            let page = "<!DOCTYPE html><html><body><h1>Something went wrong</h1></body></html>\n";
            with_type("text/html", page.into())
        }
        Some(OutputFault::Truncated) => truncated(kind, bytes),
    }
}

/// Sends `bytes` in pieces, spread over `time`.
fn slowly(kind: &'static str, bytes: &[u8], time: Duration) -> Response {
    let pieces: Vec<_> = bytes
        .chunks(bytes.len().div_ceil(PIECES).max(1))
        .map(<[u8]>::to_vec)
        .collect();
    let pause = time / u32::try_from(pieces.len()).unwrap_or(1).max(1);
    let stream = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, io::Error>(piece)
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream)).into_response()
}

/// Sends `bytes` and then that many zeros, without holding them.
fn padded(kind: &'static str, bytes: Vec<u8>, padding: u64) -> Response {
    let zeros = Bytes::from(vec![0; PIECE as usize]);
    let pieces = (0..padding).step_by(PIECE as usize).map(move |sent| {
        let length = PIECE.min(padding - sent) as usize;
        Ok::<_, io::Error>(zeros.slice(..length))
    });
    let all = stream::iter([Ok(bytes.into())]).chain(stream::iter(pieces));
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(all)).into_response()
}

/// Promises all of `bytes`, sends the first half and cuts the connection.
fn truncated(kind: &'static str, mut bytes: Vec<u8>) -> Response {
    let promised = bytes.len().to_string();
    bytes.truncate(bytes.len() / 2);
    let half = stream::iter([Ok(bytes)]);
    let cut = stream::once(async {
        tokio::task::yield_now().await; // lets hyper flush the half before it sees the error
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    let head = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, promised),
    ];
    (head, Body::from_stream(half.chain(cut))).into_response()
}
