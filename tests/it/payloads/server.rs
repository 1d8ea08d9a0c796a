//! `genflow codec-server`, called by Temporal's own command line.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use genflow::dev::engines::default_cache;
use genflow::domain::EventType;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{KEYS, ONE, outcome};
use crate::support::requests::{common, image};
use crate::support::{Space, eventually, nowhere};

/// Returns the server's own command line, which is installed with it.
fn temporal() -> PathBuf {
    let folders = std::fs::read_dir(default_cache()).unwrap().flatten();
    let mut programs = folders
        .filter(|folder| {
            folder
                .file_name()
                .to_string_lossy()
                .starts_with("temporal-")
        })
        .map(|folder| folder.path().join("package/bin/temporal"))
        .filter(|program| program.exists());
    programs.next().expect("the engines have installed it")
}

/// Returns the texts of all payloads in what `temporal workflow show` prints: it prints their bytes in base64.
fn payloads(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let own = fields.get("data").and_then(Value::as_str);
            let own = own.and_then(|data| BASE64.decode(data).ok());
            let own = String::from_utf8_lossy(&own.unwrap_or_default()).into_owned();
            own + &fields.values().map(payloads).collect::<String>()
        }
        Value::Array(items) => items.iter().map(payloads).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => String::new(),
    }
}

/// Returns what `temporal workflow show` prints, with these arguments, and the texts of the payloads in it.
async fn show(space: &Space, id: &str, arguments: &[&str]) -> (bool, String) {
    let shown = Command::new(temporal())
        .args(["workflow", "show", "--output", "json", "--workflow-id", id])
        .args(["--address", space.config.temporal.url.authority()])
        .args(arguments)
        .env("HOME", space.folder())
        .output()
        .await
        .unwrap();
    let history = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    let text = [shown.stdout, shown.stderr].concat();
    let text = String::from_utf8(text).unwrap() + &payloads(&history);
    (shown.status.success(), text)
}

#[tokio::test]
async fn temporals_command_line_shows_a_history_through_the_codec_server() {
    let space = Space::with(&[(KEYS, ONE)]).await;
    let _all = space.start(&["all"]);
    let mut request = image("shown");
    common(&mut request).prompt = "a needle of a prompt".to_owned();
    space.send(&request).await;
    assert_eq!(outcome(&space, &request).await, EventType::Completed);
    let address = nowhere().to_string();
    let settings = [
        ("CODEC_SERVER_ADDR", address.as_str()),
        ("CODEC_SERVER_TOKEN", "token"),
    ];
    let mut server = space.start_with(&["codec-server"], &settings);
    eventually("the codec server listens", async || {
        TcpStream::connect(&address).await.ok()
    })
    .await;

    let (id, endpoint) = (request.id.as_str(), format!("http://{address}"));
    let remote = ["--codec-endpoint", &endpoint];
    let guarded = [&remote[..], &["--codec-auth", "Bearer token"]].concat();
    let (_, plain) = show(&space, id, &[]).await;
    assert!(!plain.contains("needle"), "{plain}");
    let (shown, decoded) = show(&space, id, &guarded).await;
    assert!(
        shown && decoded.contains("a needle of a prompt"),
        "{decoded}"
    );
    assert!(!decoded.contains("binary/encrypted"), "{decoded}");
    let (_, refused) = show(&space, id, &remote).await;
    assert!(!refused.contains("needle of a prompt"), "{refused}");
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn a_codec_server_for_other_machines_needs_a_token() {
    let space = Space::with(&[(KEYS, ONE)]).await;

    let public = [("CODEC_SERVER_ADDR", "0.0.0.0:0")];
    let (code, said) = space.run_with(&["codec-server"], &public).await;

    assert_eq!(code, 64, "{said}");
    assert!(
        said.contains("CODEC_SERVER_ADDR") && said.contains("CODEC_SERVER_TOKEN"),
        "{said}"
    );
}
