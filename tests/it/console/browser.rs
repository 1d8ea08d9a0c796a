//! A real Chromium, driven through its WebDriver (W3C) by plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::eventually;

/// Returns the text of axe-core, which checks accessibility. Says so and returns `None` if npm cannot install it.
pub(crate) fn axe() -> Option<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let file = folder.join("node_modules/axe-core/axe.min.js");
    if !file.exists() {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        npm.arg(&folder).arg("axe-core@4.14.1");
        if !npm.status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: this story needs axe-core from npm");
            return None;
        }
    }
    Some(std::fs::read_to_string(file).unwrap())
}

/// A browser with one page; it ends with the test.
pub(crate) struct Browser {
    /// Killed when it is dropped, after the browser has ended.
    _driver: Child,
    client: Client,
    session: String,
}

impl Browser {
    /// Opens a browser. Says so and returns `None` if Debian's packages `chromium` and `chromium-driver` are not installed.
    pub(crate) async fn open() -> Option<Self> {
        let mut driver = Command::new("chromedriver");
        driver
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let Ok(mut driver) = driver.spawn() else {
            eprintln!("skipped: this story needs Debian's packages chromium and chromium-driver");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("chromedriver prints its port");
            if let Some(port) = line.split("successfully on port ").nth(1) {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let client = Client::builder()
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1440,900",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let driver_url = format!("http://127.0.0.1:{port}");
        let answer = client
            .post(format!("{driver_url}/session"))
            .json(&wanted)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let id = answer["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {answer}"));
        let session = format!("{driver_url}/session/{id}");
        Some(Self {
            _driver: driver,
            client,
            session,
        })
    }

    pub(crate) async fn call(&self, path: &str, body: &Value) -> Value {
        let answer = self
            .client
            .post(format!("{}/{path}", self.session))
            .json(body)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{answer}");
        answer["value"].clone()
    }

    pub(crate) async fn go(&mut self, url: &str) {
        self.call("url", &json!({ "url": url })).await;
    }

    pub(crate) async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height });
        self.call("window/rect", &size).await;
    }

    /// Chooses the theme that the next pages have.
    pub(crate) async fn dark(&mut self, dark: bool) {
        let theme = if dark { "dark" } else { "light" };
        self.run(&format!("localStorage.setItem('theme', '{theme}')"))
            .await;
    }

    /// Returns what axe finds on the page that is serious or worse.
    pub(crate) async fn serious(&self, axe: &str) -> Value {
        let script = format!(
            "{axe}; const done = arguments[arguments.length - 1]; \
             axe.run().then(found => done(found.violations.filter(one => ['serious', 'critical'].includes(one.impact)) \
             .map(one => [one.id, one.nodes.map(node => node.html)])), error => done(String(error)))"
        );
        let body = json!({ "script": script, "args": [] });
        self.call("execute/async", &body).await
    }

    /// Takes a picture of the page, without the path of the result store. `GENFLOW_RECORD` puts it among the docs.
    pub(crate) async fn picture(&self, name: &str, dark: bool, width: u32) {
        self.run(
            "for (const part of document.querySelectorAll('.mono')) \
             if (part.textContent.startsWith('file://')) part.textContent = part.textContent.replace(/^.*\\/results/, 'file:///srv/results')",
        )
        .await;
        let answer = self
            .client
            .get(format!("{}/screenshot", self.session))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let png = BASE64.decode(answer["value"].as_str().unwrap()).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = match std::env::var_os("GENFLOW_RECORD") {
            Some(_) => root.join("docs/console"),
            None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("console"),
        };
        std::fs::create_dir_all(&folder).unwrap();
        let (theme, device) = (
            if dark { "-dark" } else { "" },
            if width < 720 { "-phone" } else { "" },
        );
        std::fs::write(folder.join(format!("{name}{theme}{device}.png")), png).unwrap();
    }

    /// Runs a script in the page; returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.call("execute/sync", &json!({ "script": script, "args": [] }))
            .await
    }

    /// Waits until a script returns true.
    pub(crate) async fn until(&self, script: &str) {
        eventually(script, async || {
            (self.run(script).await == true).then_some(())
        })
        .await;
    }

    /// Returns what the browser has complained about: errors of scripts, and what the page's policy forbids. Answers of 401 before
    /// signing in are not among them.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let log = self.call("se/log", &json!({ "type": "browser" })).await;
        let entries = log.as_array().unwrap().iter();
        let severe = entries.filter(|entry| entry["level"] == "SEVERE");
        severe
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    /// Ends the browser, which would outlive its driver.
    fn drop(&mut self) {
        let (host, path) = self.session["http://".len()..].split_once('/').unwrap();
        let Ok(mut stream) = TcpStream::connect(host) else {
            return;
        };
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
        let request =
            format!("DELETE /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        // If it fails, the driver is gone already.
        if stream.write_all(request.as_bytes()).is_ok() {
            stream.read_to_end(&mut Vec::new()).ok();
        }
    }
}
