//! The schema registry of `genflow dev` once more, with TLS and with a login.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use genflow::dev::engines::Existing;

use super::broker::find;
use super::engines::{Running, extra};
use super::{eventually, tls};

/// The only user of the registry, and the password.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "needle-of-a-password";

/// A registry that is stopped when it is dropped.
pub(crate) struct SecureApicurio {
    /// Base URL of Confluent's API, by the host of the certificate.
    pub(crate) url: String,
    child: Child,
    data: PathBuf,
}

impl SecureApicurio {
    /// Starts it as `genflow dev` starts its registry, and then again with further settings.
    pub(crate) async fn start(engines: &Running) -> Self {
        let existing = Existing {
            schema_registry_url: None,
            ..engines.existing()
        };
        let (plain, data) = extra("registry", existing).await;
        let (_, mut command) = find(&data, "quarkus-run.jar");
        plain.stop().await;
        let at = command.iter().position(|word| word == "-jar").unwrap();
        command.splice(at..at, settings().map(Into::into));
        let log = data.join("secured.log");
        let out = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_genflow"))
            .args(["guard", "--parent", &std::process::id().to_string(), "--"])
            .args(command)
            .current_dir(data.join("registry"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut registry = Self {
            url: String::new(),
            child,
            data,
        };
        let (port, health) = eventually("the registry listens", async || {
            listening(&std::fs::read_to_string(&log).ok()?)
        })
        .await;
        eventually("the registry is ready", async || {
            let answer = reqwest::get(format!("http://127.0.0.1:{health}/health/ready")).await;
            answer.ok()?.status().is_success().then_some(())
        })
        .await;
        registry.url = format!("https://localhost:{port}/apis/ccompat/v7");
        registry
    }
}

impl Drop for SecureApicurio {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.data).ok();
        }
    }
}

/// The settings of TLS and of a login. Whether a client certificate is required is fixed when Apicurio is built.
fn settings() -> [String; 10] {
    let file = |name: &str| tls(name).display().to_string();
    [
        ("http.ssl-port", "0".to_owned()),
        ("http.insecure-requests", "disabled".to_owned()),
        ("http.ssl.certificate.files", file("server.pem")),
        ("http.ssl.certificate.key-files", file("server.key")),
        ("http.auth.basic", "true".to_owned()),
        ("security.users.embedded.enabled", "true".to_owned()),
        ("security.users.embedded.plain-text", "true".to_owned()),
        (
            &*format!("security.users.embedded.users.{USER}"),
            PASSWORD.to_owned(),
        ),
        ("http.auth.permission.api.paths", "/apis/*".to_owned()),
        (
            "http.auth.permission.api.policy",
            "authenticated".to_owned(),
        ),
    ]
    .map(|(name, value)| format!("-Dquarkus.{name}={value}"))
}

/// Reads the ports of the API and of the health page from the log.
fn listening(log: &str) -> Option<(u16, u16)> {
    let (_, rest) = log.split_once("Listening on: https://127.0.0.1:")?;
    let (api, rest) = rest.split_once(". Management interface listening on http://127.0.0.1:")?;
    let (health, _) = rest.split_once(".\n")?;
    Some((api.parse().ok()?, health.parse().ok()?))
}
