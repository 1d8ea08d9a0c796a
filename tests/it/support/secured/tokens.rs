//! A token server for OAUTHBEARER, and the key whose tokens the broker accepts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::certificates::openssl;

/// The client, and the principal of its tokens.
pub(crate) const CLIENT: &str = "genflow-client";
pub(crate) const SECRET: &str = "s3cr+t/needle";
pub(super) const ISSUER: &str = "https://issuer.test/";
pub(super) const AUDIENCE: &str = "kafka";

/// A key for tokens, of which the broker knows the public half.
#[derive(Clone)]
pub(crate) struct TokenKey {
    pair: Arc<KeyPair>,
    pub(super) jwks: PathBuf,
}

impl TokenKey {
    pub(super) fn create(folder: &Path) -> Self {
        let key = Self::of(folder, "jwks");
        let public: PublicKeyComponents<Vec<u8>> = key.pair.public().into();
        let [n, e] = [&public.n, &public.e].map(|number| BASE64_URL_SAFE_NO_PAD.encode(number));
        let keys = json!({"keys": [{"kty": "RSA", "kid": "test", "alg": "RS256", "use": "sig", "n": n, "e": e}]});
        std::fs::write(&key.jwks, keys.to_string()).unwrap();
        key
    }

    /// Creates a key that the broker does not know.
    pub(crate) fn foreign(folder: &Path) -> Self {
        Self::of(folder, "foreign-jwks")
    }

    fn of(folder: &Path, name: &str) -> Self {
        let made = format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {name}.pem");
        openssl(folder, &made);
        // `genpkey` writes DER in an older form, which ring does not read.
        let converted =
            format!("pkcs8 -topk8 -nocrypt -in {name}.pem -outform DER -out {name}.der");
        openssl(folder, &converted);
        let pkcs8 = std::fs::read(folder.join(format!("{name}.der"))).unwrap();
        Self {
            pair: Arc::new(KeyPair::from_pkcs8(&pkcs8).unwrap()),
            jwks: folder.join(format!("{name}.json")),
        }
    }

    /// Signs a token that expires `life` seconds from now, in the past if negative.
    pub(crate) fn token(&self, audience: &str, life: i64) -> String {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(since_epoch.as_secs()).unwrap();
        let claims = json!({"sub": CLIENT, "iss": ISSUER, "aud": audience, "iat": now - 7200, "exp": now + life});
        let header = json!({"alg": "RS256", "kid": "test"});
        let parts = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = parts.join(".");
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
            .unwrap();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What the server answers to a client that it knows.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// Tokens with that many seconds to live.
    Good(i64),
    /// This token.
    Token(String),
    Status(u16),
    /// Nothing, for longer than clients wait.
    Silence,
}

/// A token server, until it is dropped.
pub(crate) struct TokenServer {
    pub(crate) url: String,
    grant: Arc<Mutex<Grant>>,
    asked: Arc<AtomicUsize>,
    /// The server ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl TokenServer {
    pub(crate) fn start(key: TokenKey, grant: Grant) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (grant, asked) = (Arc::new(Mutex::new(grant)), Arc::<AtomicUsize>::default());
        let shared = (grant.clone(), asked.clone());
        let answer = move |headers: HeaderMap, body: String| {
            let (key, (grant, asked)) = (key.clone(), shared.clone());
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                let now = grant.lock().clone();
                answer(&key, now, &headers, &body).await
            }
        };
        let routes = Router::new().route("/token", post(answer));
        // On a thread of its own: a client of this process blocks the test's thread until it has its token.
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let serving = axum::serve(listener, routes).into_future();
                tokio::select! {
                    served = serving => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            url,
            grant,
            asked,
            _stop: stop,
        }
    }

    pub(crate) fn grant(&self, grant: Grant) {
        *self.grant.lock() = grant;
    }

    /// Returns how many tokens were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(key: &TokenKey, grant: Grant, headers: &HeaderMap, body: &str) -> Response<Body> {
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let login = BASE64_STANDARD.encode(format!("{CLIENT}:{encoded}"));
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let reply = |status: u16, body: serde_json::Value| {
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    if given != Some(&*format!("Basic {login}")) || !body.contains("grant_type=client_credentials")
    {
        return reply(401, json!({"error": "invalid_client"}));
    }
    match grant {
        Grant::Good(life) => reply(
            200,
            json!({"access_token": key.token(AUDIENCE, life), "token_type": "Bearer", "expires_in": life}),
        ),
        Grant::Token(token) => reply(200, json!({"access_token": token, "token_type": "Bearer"})),
        Grant::Status(status) => reply(status, json!({"error": "temporarily_unavailable"})),
        Grant::Silence => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            reply(500, json!({}))
        }
    }
}
