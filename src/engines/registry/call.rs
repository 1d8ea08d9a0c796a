//! One call of the registry: with TLS files and credentials, and what its failure means.
//!
//! No error shows a credential: those that concern one name its variable.

use std::error::Error as StdError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, Identity, Method, StatusCode};
use rustls::{AlertDescription, CertificateError};
use serde_json::Value as Json;

use crate::engines::config::{Credentials, Fault, SchemaRegistry};
use crate::engines::http;

/// The media type of requests and answers; all registries accept it.
const JSON: &str = "application/vnd.schemaregistry.v1+json";
/// Limit on the part of an answer's message that an error shows, in characters.
const LONGEST_MESSAGE: usize = 300;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer arrived.
    #[error("the schema registry is unavailable")]
    Unavailable(#[source] reqwest::Error),
    /// The registry, or a server in front of it, answered with a failure, or with something that is no JSON.
    #[error("the schema registry answers with status {}{}", status.as_u16(), shown(message.as_deref()))]
    Answered {
        status: StatusCode,
        /// The registry's own error code.
        code: Option<i64>,
        message: Option<String>,
    },
    /// The registry does not accept this client, or this client not the registry. Only an operator can change that.
    #[error(transparent)]
    Denied(#[from] Denied),
}

fn shown(message: Option<&str>) -> String {
    message.map_or_else(
        || ", without an error message of a registry".to_owned(),
        |message| format!(": {message}"),
    )
}

/// Why client and registry do not accept each other. The text names the variable to change.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error(
        "the schema registry requires a login (status 401): set SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD, or \
         SCHEMA_REGISTRY_TOKEN"
    )]
    NoCredentials,
    #[error(
        "the schema registry refuses the login of SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD (status 401): \
         expected a user that it knows, with the user's password"
    )]
    Login,
    #[error(
        "the schema registry refuses SCHEMA_REGISTRY_TOKEN (status 401): expected a token that has not expired and \
         is meant for this registry"
    )]
    Token,
    #[error("the schema registry forbids {call} (status 403): allow it to {who}")]
    Forbidden {
        /// Method and path.
        call: String,
        who: &'static str,
    },
    #[error(
        "no trusted authority signed the certificate of the schema registry: set SCHEMA_REGISTRY_CA_FILE to the \
         certificate of the authority that did"
    )]
    UnknownAuthority,
    #[error(
        "the certificate of the schema registry is not made for the host of SCHEMA_REGISTRY_URL: set a host that it \
         names"
    )]
    OtherHost,
    #[error(
        "the certificate of the schema registry at SCHEMA_REGISTRY_URL is not valid ({0}): replace it there"
    )]
    Certificate(CertificateError),
    #[error(
        "the schema registry requires a client certificate: set SCHEMA_REGISTRY_CERT_FILE and SCHEMA_REGISTRY_KEY_FILE"
    )]
    NoIdentity,
    #[error(
        "the schema registry refuses the client certificate of SCHEMA_REGISTRY_CERT_FILE ({0:?}): expected one that \
         has not expired and that an authority of the registry signed"
    )]
    Identity(AlertDescription),
    #[error(
        "the schema registry closed the connection: if it requires a client certificate, set SCHEMA_REGISTRY_CERT_FILE \
         and SCHEMA_REGISTRY_KEY_FILE"
    )]
    ClosedWithout,
    #[error(
        "the schema registry closed the connection: expected in SCHEMA_REGISTRY_CERT_FILE a client certificate that has \
         not expired and that an authority of the registry signed"
    )]
    ClosedWith,
    #[error(
        "SCHEMA_REGISTRY_URL is https, but the server at its port does not speak TLS: set an http URL or another port"
    )]
    NoTls,
    /// A file that was good when the process started.
    #[error("{variable}: {problem}", variable = .0.variable, problem = .0.problem)]
    File(Fault),
    #[error(
        "SCHEMA_REGISTRY_TOKEN_FILE holds a control character or a line break inside the token, expected the token alone"
    )]
    Unsendable,
}

/// Returns an HTTP client with the TLS files of the settings as they are now; makes no call.
pub(super) fn connect(registry: &SchemaRegistry, timeout: Duration) -> Result<Client, CallError> {
    let mut builder = http::client().timeout(timeout);
    if let Some(pem) = registry.tls.authorities().map_err(Denied::File)? {
        let trusted = Certificate::from_pem_bundle(&pem).map_err(CallError::Unavailable)?;
        builder = builder.tls_certs_only(trusted);
    }
    if let Some(pem) = registry.tls.identity().map_err(Denied::File)? {
        let identity = Identity::from_pem(&pem).map_err(CallError::Unavailable)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(CallError::Unavailable)
}

/// Makes a call and returns the answer's JSON.
pub(super) async fn call(
    client: &Client,
    registry: &SchemaRegistry,
    method: Method,
    path: &[&str],
    body: Option<&Json>,
) -> Result<Json, CallError> {
    let mut url = registry.url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    let mut request = client.request(method.clone(), url).header(ACCEPT, JSON);
    if let Some(credentials) = &registry.credentials {
        request = request.header(AUTHORIZATION, authorization(credentials)?);
    }
    if let Some(body) = body {
        // The header first, because `json` keeps a type that is set.
        request = request.header(CONTENT_TYPE, JSON).json(body);
    }
    let failed = |error| unanswered(registry, error);
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(failed)?;
    let body = serde_json::from_slice::<Json>(&body);
    match status {
        StatusCode::UNAUTHORIZED => Err(unauthorized(registry).into()),
        StatusCode::FORBIDDEN => Err(Denied::Forbidden {
            call: format!("{method} /{}", path.join("/")),
            who: who(registry),
        }
        .into()),
        status if status.is_success() => body.map_err(|_| answered(status, &Json::Null)),
        status => Err(answered(status, &body.unwrap_or_default())),
    }
}

fn answered(status: StatusCode, body: &Json) -> CallError {
    let message = body["message"].as_str();
    CallError::Answered {
        status,
        code: body["error_code"].as_i64(),
        message: message.map(|message| message.chars().take(LONGEST_MESSAGE).collect()),
    }
}

fn authorization(credentials: &Credentials) -> Result<HeaderValue, Denied> {
    let text = match credentials {
        Credentials::Login { user, password } => {
            let login = format!("{user}:{}", password.expose());
            format!("Basic {}", BASE64.encode(login))
        }
        Credentials::Token(token) => format!("Bearer {}", token.expose()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| Denied::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}

fn unauthorized(registry: &SchemaRegistry) -> Denied {
    match &registry.credentials {
        None => Denied::NoCredentials,
        Some(Credentials::Login { .. }) => Denied::Login,
        Some(Credentials::Token(_)) => Denied::Token,
    }
}

/// Names the client as the operator knows it.
fn who(registry: &SchemaRegistry) -> &'static str {
    match &registry.credentials {
        Some(Credentials::Login { .. }) => "the user of SCHEMA_REGISTRY_USER",
        Some(Credentials::Token(_)) => "the subject of SCHEMA_REGISTRY_TOKEN",
        None if registry.tls.has_identity() => "the subject of SCHEMA_REGISTRY_CERT_FILE",
        None => "clients without credentials, or set SCHEMA_REGISTRY_USER or SCHEMA_REGISTRY_TOKEN",
    }
}

/// Finds out whether TLS prevented the answer.
fn unanswered(registry: &SchemaRegistry, error: reqwest::Error) -> CallError {
    match tls_denial(registry, &error) {
        Some(denied) => denied.into(),
        None => CallError::Unavailable(error.without_url()),
    }
}

fn tls_denial(registry: &SchemaRegistry, error: &reqwest::Error) -> Option<Denied> {
    let has_identity = registry.tls.has_identity();
    if let Some(found) = tls_error(error) {
        if let rustls::Error::InvalidCertificate(invalid) = found {
            return Some(of_certificate(invalid));
        }
        if let rustls::Error::InvalidMessage(_) = found {
            return Some(Denied::NoTls);
        }
        if let rustls::Error::AlertReceived(alert) = found {
            use AlertDescription::{BadCertificate, CertificateRequired, HandshakeFailure};
            let is_missing = matches!(
                alert,
                CertificateRequired | BadCertificate | HandshakeFailure
            );
            let no_identity = is_missing.then_some(Denied::NoIdentity);
            return has_identity
                .then_some(Denied::Identity(*alert))
                .or(no_identity);
        }
    }
    was_closed(registry, error).then_some(match has_identity {
        true => Denied::ClosedWith,
        false => Denied::ClosedWithout,
    })
}

/// Returns whether the server closed the connection after the handshake. With TLS 1.3 it judges the client certificate only
/// then, and what it answers is lost if the request reaches a connection that is closed already.
fn was_closed(registry: &SchemaRegistry, error: &reqwest::Error) -> bool {
    let early = error.is_connect() || error.is_timeout();
    registry.url.scheme() == "https" && error.is_request() && !early
}

fn of_certificate(invalid: &CertificateError) -> Denied {
    if matches!(invalid, CertificateError::UnknownIssuer) {
        return Denied::UnknownAuthority;
    }
    let is_other_host = matches!(
        invalid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    );
    if is_other_host {
        return Denied::OtherHost;
    }
    Denied::Certificate(invalid.clone())
}

/// Returns the error of TLS among the causes.
fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        // `source` of an I/O error skips the error that it wraps.
        let wrapped = cause.downcast_ref::<std::io::Error>();
        next = match wrapped.and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    None
}
