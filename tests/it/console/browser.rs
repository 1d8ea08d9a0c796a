//! A real Chromium, driven through its WebDriver (W3C) by plain HTTP.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::eventually;

/// A browser with one page; it ends with the test.
pub(crate) struct Browser {
    /// Killed when it is dropped; the browser ends with it.
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

    async fn call(&self, path: &str, body: &Value) -> Value {
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
