//! `genflow codec-server`: decodes payloads for Temporal's UI and command line, by Temporal's protocol of remote codecs.
//!
//! `POST /decode` and `POST /encode` take and return `{"payloads": […]}`, in the JSON of protobuf. Their callers
//! can read what Temporal stores, so a call needs the token, if there is one; a browser's call must come from a page of a
//! listed origin; and a call for another namespace than genflow's is refused.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use subtle::ConstantTimeEq as _;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engines::config::{self, Config};
use crate::engines::http;
use crate::engines::temporal::payloads::{Codec, Error};

/// Limit on the bytes of a call: a page of a history.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The header in which the UI and the command line send the namespace.
const NAMESPACE: &str = "x-namespace";
/// For how many seconds a browser may keep the answer to a preflight.
const MAX_AGE: &str = "600";

struct Server {
    codec: Codec,
    settings: config::CodecServer,
    namespaces: [String; 2],
}

/// Serves on `listener` until `stop`.
///
/// # Errors
/// A key is malformed, or the listener fails.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let temporal = &config.temporal;
    let server = Server {
        codec: Codec::new(&temporal.payloads)?,
        settings: config.codec_server.clone(),
        namespaces: [&temporal.namespace, &temporal.notify_namespace].map(Clone::clone),
    };
    let served = http::serve(listener, routes(Arc::new(server)), stop).await;
    served.context("the HTTP server failed")
}

fn routes(server: Arc<Server>) -> Router {
    let preflight = || async { StatusCode::NO_CONTENT };
    Router::new()
        .route("/decode", post(decode).options(preflight))
        .route("/encode", post(encode).options(preflight))
        .with_state(server.clone())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(server, guard))
}

/// Lets a call through to its handler if it may be made.
async fn guard(
    State(server): State<Arc<Server>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    // A browser sends no token with a preflight.
    let is_preflight = request.method() == axum::http::Method::OPTIONS;
    let mut response = match server.refusal(headers, is_preflight) {
        Some((status, why)) => (status, why).into_response(),
        None => next.run(request).await,
    };
    if let Some(origin) = origin.filter(|origin| server.is_known(origin)) {
        allow(response.headers_mut(), origin);
    }
    response
}

/// Says that pages of this origin may make the call and read the answer.
fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    let of = HeaderValue::from_static;
    let methods = "POST, OPTIONS";
    let sent = "content-type, x-namespace, authorization";
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, of(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, of(sent));
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, of("true"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, of(MAX_AGE));
    headers.insert(header::VARY, of("origin"));
}

impl Server {
    /// Returns why a call may not be made; `None` if it may.
    fn refusal(&self, headers: &HeaderMap, is_preflight: bool) -> Option<(StatusCode, String)> {
        let forbidden = |why: String| Some((StatusCode::FORBIDDEN, why));
        if let Some(origin) = headers.get(header::ORIGIN)
            && !self.is_known(origin)
        {
            let why = "pages of this origin may not call; list it in CODEC_SERVER_ORIGINS\n";
            return forbidden(why.to_owned());
        }
        if is_preflight {
            return None;
        }
        if !self.has_token(headers) {
            let why = "expected the header Authorization: Bearer, with CODEC_SERVER_TOKEN\n";
            return Some((StatusCode::UNAUTHORIZED, why.to_owned()));
        }
        let namespace = headers.get(NAMESPACE)?;
        let is_ours = self.namespaces.iter().any(|ours| namespace == ours);
        if is_ours {
            return None;
        }
        forbidden(format!(
            "genflow's namespaces are {}, expected one of them in the header x-namespace\n",
            self.namespaces.join(" and ")
        ))
    }

    fn is_known(&self, origin: &HeaderValue) -> bool {
        self.settings.origins.iter().any(|known| origin == known)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.settings.token else {
            return true;
        };
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(token.expose().as_bytes()).into())
    }
}

async fn decode(State(server): State<Arc<Server>>, body: Bytes) -> Response {
    // One whose key is missing must not hide the others.
    changed(&body, |payload| {
        match server.codec.decode(payload.clone()) {
            Err(Error::UnknownKey(_)) => Ok(payload),
            decoded => decoded,
        }
    })
}

async fn encode(State(server): State<Arc<Server>>, body: Bytes) -> Response {
    changed(&body, |payload| server.codec.encode(payload))
}

/// Changes each payload of a call.
fn changed(body: &[u8], change: impl Fn(Payload) -> Result<Payload, Error>) -> Response {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why).into_response();
    let given: Payloads = match serde_json::from_slice(body) {
        Ok(given) => given,
        Err(error) => return bad(format!("expected {{\"payloads\": […]}} in JSON: {error}\n")),
    };
    let payloads: Result<_, _> = given.payloads.into_iter().map(change).collect();
    let answer = match payloads {
        Ok(payloads) => serde_json::to_vec(&Payloads { payloads }),
        Err(error) => return bad(format!("{error}\n")),
    };
    match answer {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
