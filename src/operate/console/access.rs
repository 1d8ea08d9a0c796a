//! Who may use the console, and from where.
//!
//! Without `CONSOLE_KEYS`, everyone who reaches the address may look, so it must be one of this machine. With keys, a
//! person signs in with one, and a cookie that scripts cannot read keeps it; or a proxy, which must be the only one that
//! reaches the console, names the person in `CONSOLE_USER_HEADER`. Only a person who has signed in may act.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::Shared;
use crate::domain::hex;
use crate::engines::config;

/// Longest name of a person, in bytes.
const LONGEST_NAME: usize = 128;
const COOKIE: &str = "genflow_console";
/// A page of another site cannot send this header without asking, and this server never agrees.
const OWN: &str = "x-genflow-console";

/// What a page may load: only from here, and no script or style in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The key that a person signs in with.
#[derive(Deserialize)]
pub(super) struct SignIn {
    key: String,
}

/// Checks where a request comes from and who sends it, and adds the headers that every answer has.
pub(super) async fn guard(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let console = &shared.config.console;
    let mut answer = if !is_own_host(console, request.headers()) {
        refused(StatusCode::FORBIDDEN, "the Host header names another site")
    } else if !matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.headers().contains_key(OWN)
    {
        refused(StatusCode::FORBIDDEN, "the request comes from another site")
    } else {
        let person = signed_in(console, request.headers());
        if must_sign_in(console) && is_private(request.uri().path()) && person.is_none() {
            refused(
                StatusCode::UNAUTHORIZED,
                "sign in: with a key of CONSOLE_KEYS, or at the proxy that sends CONSOLE_USER_HEADER",
            )
        } else {
            request.extensions_mut().insert(Who(person));
            next.run(request).await
        }
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    // An answer with a stricter policy of its own keeps it.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(header::HeaderValue::from_static(POLICY));
    answer
}

/// The person who sent a request, if one has signed in.
#[derive(Clone, Debug)]
pub(super) struct Who(pub Option<String>);

/// Signs a person in: sets the cookie if the key is one of `CONSOLE_KEYS`.
pub(super) async fn sign_in(State(shared): State<Shared>, Json(sign_in): Json<SignIn>) -> Response {
    match person(&shared.config.console, &proof(&sign_in.key)) {
        Some(name) => {
            let cookie = format!(
                "{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age=604800",
                proof(&sign_in.key)
            );
            (
                [(header::SET_COOKIE, cookie)],
                Json(json!({ "name": name })),
            )
                .into_response()
        }
        None => refused(
            StatusCode::UNAUTHORIZED,
            "the key is not one of CONSOLE_KEYS",
        ),
    }
}

/// Signs out: removes the cookie.
pub(super) async fn sign_out() -> Response {
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], StatusCode::NO_CONTENT).into_response()
}

/// Returns an error as the pages and clients of the API read it.
pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

/// Returns whether a path shows something of requests: all but the page itself and signing in.
fn is_private(path: &str) -> bool {
    path.starts_with("/api/") && path != "/api/v1/session"
}

/// Returns whether only people who have signed in may look.
pub(super) fn must_sign_in(console: &config::Console) -> bool {
    !console.people.is_empty() || console.user_header.is_some()
}

fn signed_in(console: &config::Console, headers: &HeaderMap) -> Option<String> {
    if console.anyone_may_act && !must_sign_in(console) {
        return Some("dev".to_owned());
    }
    if let Some(header) = &console.user_header
        && let Some(name) = headers.get(header).and_then(|name| name.to_str().ok())
        && (1..=LONGEST_NAME).contains(&name.len())
    {
        return Some(name.to_owned());
    }
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let Some(key) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        return person(console, &proof(key.trim()));
    }
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, found) = pairs.find(|(name, _)| *name == COOKIE)?;
    person(console, found)
}

/// Returns what the cookie has of a key, so that the key itself is nowhere but with its owner.
fn proof(key: &str) -> String {
    hex(digest(&SHA256, format!("genflow console {key}").as_bytes()).as_ref())
}

/// Returns the person whose key has this proof. Compares with all, so that its time shows nothing.
fn person(console: &config::Console, found: &str) -> Option<String> {
    let mut name = None;
    for person in &console.people {
        let expected = proof(person.key.expose());
        if bool::from(expected.as_bytes().ct_eq(found.as_bytes())) {
            name = Some(person.name.clone());
        }
    }
    name
}

/// Returns whether the Host header may name this console. On a loopback address only this machine's names may: the page
/// of another site could have its own name resolve to this machine.
fn is_own_host(console: &config::Console, headers: &HeaderMap) -> bool {
    let is_open = |addr: SocketAddr| !addr.ip().is_loopback();
    // A proxy passes on the name that people use.
    if console.addr.is_some_and(is_open) || console.user_header.is_some() {
        return true;
    }
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    matches!(name, Some("localhost" | "[::1]"))
        || name.is_some_and(|name| {
            name.parse::<std::net::Ipv4Addr>()
                .is_ok_and(|ip| ip.is_loopback())
        })
}
