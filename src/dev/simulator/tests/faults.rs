//! Faults on demand, as a client sees them.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

impl Sim {
    /// Submits over a bare socket.
    async fn raw(&self, input: Value) -> TcpStream {
        let body = json!({ "input": input }).to_string();
        let head = format!(
            "POST {MODEL} HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer good\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        socket
    }

    /// Waits until the ledger has `submits` and `accepted` for `key`.
    async fn counted(&self, key: &str, submits: u64, accepted: u64) {
        within(async {
            loop {
                let (_, ledger) = self.get(&format!("/_sim/ledger?key={key}")).await;
                let entry = &ledger["entries"][0];
                if entry["submits"] == submits && entry["accepted"] == accepted {
                    break;
                }
            }
        })
        .await;
    }
}

/// Returns all bytes from `socket` until its end, which may be a reset.
async fn received(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(async { socket.read_to_end(&mut bytes).await.ok() }).await;
    bytes
}

#[tokio::test]
async fn a_refused_submit_is_not_accepted_and_the_next_one_works() {
    let sim = Sim::start().await;
    let body = json!({"input": {"prompt": "a cat", "genflow_id": "w", "sim": {"submit": [429, 503, 400]}}});

    for status in [429, 503, 400] {
        let response = sim
            .request(Method::POST, MODEL)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        let pause = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(pause.as_deref(), (status != 400).then_some("1"));
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status);
    }
    assert_eq!(sim.entry("w").await["accepted"], 0);

    assert_eq!(sim.post(MODEL, body).await.0, 201);
    sim.counted("w", 4, 1).await;
}

#[tokio::test]
async fn a_cut_submit_sends_no_byte_and_is_not_accepted() {
    let sim = Sim::start().await;

    let socket = sim
        .raw(json!({"prompt": "a cat", "genflow_id": "w", "sim": {"submit": ["cut"]}}))
        .await;

    assert_eq!(received(socket).await, b"");
    sim.counted("w", 1, 0).await;
}

#[tokio::test]
async fn an_accepted_submit_can_be_cut_without_a_byte() {
    let sim = Sim::start().await;

    let socket = sim
        .raw(json!({"prompt": "a cat", "genflow_id": "w", "sim": {"submit": ["accept_cut"]}}))
        .await;

    assert_eq!(received(socket).await, b"");
    sim.counted("w", 1, 1).await;
    let (_, list) = sim.get("/v1/predictions").await;
    assert_eq!(list["results"][0]["input"]["genflow_id"], "w");
}

#[tokio::test]
async fn a_cut_ends_its_own_connection_only() {
    let sim = Sim::start().await;
    let waiting = sim
        .raw(json!({"prompt": "a cat", "genflow_id": "a", "sim": {"submit": ["accept_hang"]}}))
        .await;
    sim.counted("a", 1, 1).await;

    received(
        sim.raw(json!({"prompt": "a cat", "genflow_id": "b", "sim": {"submit": ["cut"]}}))
            .await,
    )
    .await;

    let error = waiting.try_read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn an_http_client_sees_a_cut_as_a_failed_request() {
    let sim = Sim::start().await;
    let body = json!({"input": {"prompt": "a cat", "genflow_id": "w", "sim": {"submit": ["cut", "accept_cut"]}}});

    for _ in 0..2 {
        let error = sim
            .request(Method::POST, MODEL)
            .json(&body)
            .send()
            .await
            .unwrap_err();
        assert!(error.is_request(), "{error:?}");
    }

    assert_eq!(sim.post(MODEL, body).await.0, 201);
    sim.counted("w", 3, 2).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_hung_or_idle_connections() {
    let sim = Sim::start().await;
    let hung = sim
        .raw(json!({"prompt": "a cat", "genflow_id": "w", "sim": {"submit": ["accept_hang"]}}))
        .await;
    let delayed = sim
        .raw(json!({"prompt": "a cat", "genflow_id": "d", "sim": {"delay_submit_ms": 3_600_000}}))
        .await;
    let idle = TcpStream::connect(sim.address).await.unwrap();
    sim.counted("w", 1, 1).await;
    sim.counted("d", 1, 0).await;

    drop(sim.stop);

    within(sim.served).await.unwrap().unwrap();
    for socket in [hung, delayed, idle] {
        assert_eq!(received(socket).await, b"");
    }
    assert!(TcpStream::connect(sim.address).await.is_err());
}

#[tokio::test]
async fn garbage_is_not_json_but_the_job_is_accepted() {
    let sim = Sim::start().await;
    let body = json!({"input": {"prompt": "a cat", "genflow_id": "w", "sim": {"submit": ["accept_garbage"]}}});

    let response = sim
        .request(Method::POST, MODEL)
        .json(&body)
        .send()
        .await
        .unwrap();

    assert_eq!(response.status(), 201);
    assert!(response.json::<Value>().await.is_err());
    sim.counted("w", 1, 1).await;
}

#[tokio::test]
async fn a_delayed_submit_is_accepted_after_the_delay() {
    let sim = Sim::start().await;
    let begun = Instant::now();

    sim.submit(json!({"prompt": "a cat", "sim": {"delay_submit_ms": 120}}))
        .await;

    assert!(begun.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_job_fails_with_the_text_it_was_given() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"seconds": 0, "fail": "CUDA out of memory"}}))
        .await;

    let failed = sim
        .until(&prediction, |read| read["status"] == "failed")
        .await;

    assert_eq!(failed["error"], "CUDA out of memory");
    assert!(failed["output"].is_null());
}

#[tokio::test]
async fn a_stuck_job_runs_on_past_its_time() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"seconds": 0, "stuck": true}}))
        .await;

    let read = sim
        .until(&prediction, |read| {
            read["logs"].as_str().unwrap().contains("95%")
        })
        .await;

    assert_eq!(read["status"], "processing");
}

#[tokio::test]
async fn an_unknown_state_is_reported_while_the_job_runs() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"seconds": 1, "state": "queued"}}))
        .await;

    sim.until(&prediction, |read| read["status"] == "queued")
        .await;
    sim.until(&prediction, |read| read["status"] == "succeeded")
        .await;
}

#[tokio::test]
async fn reads_and_cancels_are_refused_as_often_as_the_script_says() {
    let sim = Sim::start().await;
    let script = json!({"seconds": 3600, "poll": [500, 404], "cancel": [503]});
    let prediction = sim
        .submit(json!({"prompt": "a cat", "genflow_id": "w", "sim": script}))
        .await;
    let [get, cancel] = ["get", "cancel"].map(|name| prediction["urls"][name].as_str().unwrap());

    let reads = [
        sim.get(get).await.0,
        sim.get(get).await.0,
        sim.get(get).await.0,
    ];
    let first = sim.post(cancel, json!({})).await;
    let running = sim.get(get).await;
    let second = sim.post(cancel, json!({})).await;

    assert_eq!(reads, [500, 404, 200]);
    assert_eq!(first.0, 503);
    assert_ne!(running.1["status"], "canceled");
    assert_eq!((second.0, &second.1["status"]), (200, &json!("canceled")));
    assert_eq!(sim.entry("w").await["jobs"][0]["cancel_requests"], 2);
}

#[tokio::test]
async fn a_file_can_be_a_page_or_missing_or_empty() {
    let sim = Sim::start().await;
    let wants = [
        ("html", 200, "text/html"),
        ("missing", 404, "application/json"),
        ("empty", 200, "image/png"),
    ];

    for (fault, status, kind) in wants {
        let done = sim
            .succeed(json!({"prompt": "a cat", "sim": {"output": fault}}))
            .await;
        let response = sim
            .http
            .get(done["output"][0].as_str().unwrap())
            .send()
            .await
            .unwrap();

        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], kind);
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes.is_empty(), fault == "empty");
    }
}

#[tokio::test]
async fn a_padded_file_is_followed_by_as_many_zeros() {
    let sim = Sim::start().await;
    let mut files = Vec::new();
    for padding in [0, 100_000] {
        let done = sim
            .succeed(json!({"prompt": "a cat", "sim": {"padding": padding}}))
            .await;
        let file = sim.http.get(done["output"][0].as_str().unwrap());
        files.push(file.send().await.unwrap().bytes().await.unwrap());
    }

    assert_eq!(files[1], [&files[0][..], &[0; 100_000]].concat());
}

#[tokio::test]
async fn a_truncated_file_breaks_off_half_way() {
    let sim = Sim::start().await;
    let done = sim
        .succeed(json!({"prompt": "a cat", "duration": 5, "sim": {"output": "truncated"}}))
        .await;

    let mut response = sim
        .http
        .get(done["output"].as_str().unwrap())
        .send()
        .await
        .unwrap();

    let promised = response.content_length().unwrap();
    let mut sent = 0;
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => sent += chunk.expect("the body ended without an error").len() as u64,
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(sent, promised / 2);
}

#[tokio::test]
async fn an_answer_can_be_cut_within_its_head_or_body() {
    let sim = Sim::start().await;
    for fault in ["accept_cut_head", "accept_cut_body"] {
        let body = json!({"prompt": "a cat", "seconds": "4", "sim": {"submit": [fault]}});
        let request = sim.request(Method::POST, "/v1/videos");
        let request = request.header("idempotency-key", fault).json(&body);

        let answer = async { request.send().await?.bytes().await };

        assert!(within(answer).await.is_err(), "{fault}");
        assert_eq!(sim.entry(fault).await["accepted"], 1, "{fault}");
    }
}
