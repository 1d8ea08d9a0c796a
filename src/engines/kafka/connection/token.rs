//! Gets tokens for OAUTHBEARER from a token server, by client credentials (RFC 6749, section 4.4).
//!
//! By our own HTTP client, and not by librdkafka's: one HTTP client and one TLS stack, and errors that name a setting.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use url::form_urlencoded;

use super::Refusal;
use crate::domain::error_chain::causes;
use crate::engines::config::kafka::security::OAuthClient;
use crate::engines::http;

/// How long the token server may take. Shorter than a call to the brokers that waits for the token, so that the call's
/// error can say why the token is missing.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The largest answer, in bytes; brokers accept no token that is nearly as large.
const LARGEST: usize = 256 * 1024;
/// How long a token lives whose server does not say so: RFC 6749 asks for the time, but does not require it.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);

const AWAY: &str = "the token server does not answer: check KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, and the server";
const REFUSES: &str = "the token server refuses genflow: check KAFKA_SASL_OAUTHBEARER_CLIENT_ID, KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET and KAFKA_SASL_OAUTHBEARER_SCOPE";
const NO_SERVER: &str =
    "no token server answers there: check KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL";
const EXPIRED: &str = "the token server of KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL gives tokens that have expired: check its clock and this machine's";

/// The token server, and our identity there.
pub(super) struct TokenServer(pub(super) OAuthClient);

/// A token response (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds.
    expires_in: Option<f64>,
}

/// An error response (RFC 6749, section 5.2). Only the code is shown: a description may repeat what was sent.
#[derive(Deserialize)]
struct Denied {
    error: String,
}

impl TokenServer {
    /// Gets a token. Blocks, on a thread with a runtime of its own: callbacks come on threads with and without one.
    pub(super) fn fetch_blocking(&self) -> Result<OAuthToken, Refusal> {
        let on_a_runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build();
            let runtime = runtime.map_err(|error| Refusal::no_token(AWAY, error, true))?;
            runtime.block_on(self.fetch())
        };
        std::thread::scope(|scope| match scope.spawn(on_a_runtime).join() {
            Ok(fetched) => fetched,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Gets a token.
    ///
    /// # Errors
    /// The server does not answer, refuses the client, or gives no usable token.
    pub(super) async fn fetch(&self) -> Result<OAuthToken, Refusal> {
        let (status, body) = match self.ask().await {
            Ok(answer) => answer,
            // The URL is part of reqwest's text, and may have a query.
            Err(error) => {
                let detail = causes(&error.without_url());
                return Err(Refusal::no_token(AWAY, detail, true));
            }
        };
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| {
            Refusal::no_token(NO_SERVER, "the answer is not a token response", false)
        })?;
        let now = SystemTime::now();
        let Some(until) = granted.lives_until(now) else {
            return Err(Refusal::no_token(EXPIRED, "exp is in the past", false));
        };
        let since_epoch = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(OAuthToken {
            token: granted.access_token,
            principal_name: self.0.id.clone(),
            lifetime_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
        })
    }

    async fn ask(&self) -> Result<(StatusCode, Vec<u8>), reqwest::Error> {
        let OAuthClient {
            token_endpoint,
            id,
            secret,
            scope,
        } = &self.0;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = scope {
            form.append_pair("scope", scope);
        }
        // Section 2.3.1: both are encoded as a form before they are encoded as basic authentication.
        let encoded =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let client = http::client().timeout(TIMEOUT).build()?;
        let mut answer = client
            .post(token_endpoint.clone())
            .basic_auth(encoded(id), Some(encoded(&secret.expose())))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish())
            .send()
            .await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                break;
            }
        }
        Ok((answer.status(), body))
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Refusal {
    let denied: Option<Denied> = serde_json::from_slice(body).ok();
    let code = denied.map(|denied| denied.error);
    let is_code =
        |code: &String| code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_graphic());
    let code = code.filter(is_code).map(|code| format!(", {code}"));
    let detail = format!("status {}{}", status.as_u16(), code.unwrap_or_default());
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Refusal::no_token(REFUSES, detail, false)
        }
        StatusCode::TOO_MANY_REQUESTS => Refusal::no_token(AWAY, detail, true),
        status if status.is_server_error() => Refusal::no_token(AWAY, detail, true),
        _ => Refusal::no_token(NO_SERVER, detail, false),
    }
}

impl Granted {
    /// Returns until when the token lives: as the server says, and not longer than the token itself says. `None` if that
    /// is over.
    fn lives_until(&self, now: SystemTime) -> Option<SystemTime> {
        let life = self.expires_in.map(Duration::try_from_secs_f64);
        let life = match life {
            Some(Ok(life)) => life,
            Some(Err(_)) => return None,
            None => DEFAULT_LIFE,
        };
        let said = now.checked_add(life)?;
        let until = self.expiry().map_or(said, |expiry| expiry.min(said));
        (until > now).then_some(until)
    }

    /// Reads the claim `exp` if the token is a JWT; the brokers verify it, we only read.
    fn expiry(&self) -> Option<SystemTime> {
        #[derive(Deserialize)]
        struct Claims {
            exp: f64,
        }
        let claims = self.access_token.split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let since_epoch = Duration::try_from_secs_f64(claims.exp).ok()?;
        UNIX_EPOCH.checked_add(since_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_lives_as_long_as_its_server_and_itself_say() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (token, expires_in, expected) in [
            ("opaque".to_owned(), Some(60.0), Some(1060)),
            ("opaque".to_owned(), None, Some(1300)),
            (jwt(r#"{"exp": 1050}"#), Some(60.0), Some(1050)),
            (jwt(r#"{"exp": 1090}"#), Some(60.0), Some(1060)),
            (jwt(r#"{"sub": "me"}"#), Some(60.0), Some(1060)),
            (jwt(r#"{"exp": 999}"#), Some(60.0), None),
            ("opaque".to_owned(), Some(-1.0), None),
            ("opaque".to_owned(), Some(0.0), None),
        ] {
            let granted = Granted {
                access_token: token.clone(),
                expires_in,
            };

            let until = granted.lives_until(now);

            let expected = expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(until, expected, "{token} {expires_in:?}");
        }
    }

    #[test]
    fn only_the_code_of_an_error_is_shown() {
        let body = br#"{"error": "invalid_client", "error_description": "needle"}"#;

        let client = refused(StatusCode::UNAUTHORIZED, body).to_string();
        let odd = refused(StatusCode::BAD_REQUEST, br#"{"error": "a\nneedle b"}"#).to_string();

        assert!(client.ends_with("(status 401, invalid_client)"), "{client}");
        assert!(odd.ends_with("(status 400)"), "{odd}");
        assert!(refused(StatusCode::BAD_GATEWAY, b"").is_passing);
        assert!(!refused(StatusCode::NOT_FOUND, b"").is_passing);
    }
}
