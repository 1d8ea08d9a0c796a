//! Temporal with TLS, like hosted servers: with an https URL, and by default if there is a key.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::Space;
use crate::support::ledger::types;
use crate::support::requests::image;

/// Terminates TLS in front of a server, with the certificate of `tests/tls`.
struct Relay {
    port: u16,
    _process: Child,
}

impl Relay {
    async fn before(server: &str) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", include_str!("temporal_tls.py"), server])
            .current_dir(tls())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().unwrap();
        Self {
            port: port.parse().unwrap(),
            _process: process,
        }
    }
}

fn tls() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls"))
}

#[tokio::test]
async fn a_request_completes_by_a_server_that_speaks_tls_and_its_certificate_is_checked() {
    let space = Space::new().await;
    let relay = Relay::before(&space.engines.temporal).await;
    let (named, ca) = (format!("localhost:{}", relay.port), tls().join("ca.pem"));
    let url = format!("https://{named}");
    let known = ("SSL_CERT_FILE", ca.to_str().unwrap());
    let key = ("TEMPORAL_API_KEY", "needle-of-a-key");

    let (code, printed) = space.run_with(&["list"], &[("TEMPORAL_HOST", &url)]).await;
    assert_eq!(
        code, 69,
        "no trusted authority has signed the certificate: {printed}"
    );
    // A key and no scheme: without TLS, genflow would have sent the key in plain text.
    let by_key = [("TEMPORAL_HOST", &*named), key];
    let (code, printed) = space.run_with(&["list"], &by_key).await;
    assert_eq!(code, 69, "{printed}");
    assert!(!printed.contains(key.1), "{printed}");
    let (code, printed) = space.run_with(&["list"], &[by_key[0], key, known]).await;
    assert_eq!(code, 0, "{printed}");

    let _all = space.start_with(&["all"], &[("TEMPORAL_HOST", &url), known]);
    let request = image("by-tls");
    space.send(&request).await;
    let events = space.story(request.id.as_str()).await;
    assert_eq!(
        types(&events).last(),
        Some(&genflow::domain::EventType::Completed)
    );
}
