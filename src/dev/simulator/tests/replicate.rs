//! Replicate's protocol, as a client sees it.

use std::collections::HashSet;

use serde_json::json;

use super::*;

fn is_a_timestamp(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|raw| chrono::DateTime::parse_from_rfc3339(raw).is_ok())
}

#[tokio::test]
async fn a_submit_answers_with_a_starting_prediction() {
    let sim = Sim::start().await;
    let input = json!({"prompt": "a cat", "genflow_id": "w1", "sim": {"seconds": 3600}});

    let prediction = sim.submit(input.clone()).await;

    let id = prediction["id"].as_str().unwrap();
    let url = format!("http://{}/v1/predictions/{id}", sim.address);
    assert_eq!(prediction["model"], "me/mine");
    assert_eq!(prediction["input"], input);
    assert_eq!(prediction["status"], "starting");
    assert_eq!(
        prediction["urls"],
        json!({"get": url, "cancel": format!("{url}/cancel")})
    );
    assert!(prediction["output"].is_null() && prediction["error"].is_null());
    assert!(is_a_timestamp(&prediction["created_at"]));
}

#[tokio::test]
async fn a_submit_by_version_names_its_model() {
    let sim = Sim::start().await;

    let body = json!({"version": "me/mine:abc123", "input": {"prompt": "a cat"}});
    let (status, prediction) = sim.post("/v1/predictions", body).await;
    assert_eq!((status, &prediction["model"]), (201, &json!("me/mine")));

    let (status, problem) = sim
        .post("/v1/predictions", json!({"input": {"prompt": "a cat"}}))
        .await;
    assert_eq!(
        (status, &problem["title"]),
        (422, &json!("Input validation failed"))
    );
}

#[tokio::test]
async fn urls_are_built_from_the_host_header() {
    let sim = Sim::start().await;

    let request = sim
        .request(Method::POST, MODEL)
        .header("host", "replicate.test:99");
    let (_, prediction) = json_of(request.json(&json!({"input": {"prompt": "a cat"}}))).await;

    assert!(
        prediction["urls"]["get"]
            .as_str()
            .unwrap()
            .starts_with("http://replicate.test:99/v1/")
    );
}

#[tokio::test]
async fn every_api_route_requires_a_good_token() {
    let sim = Sim::start().await;
    let routes = [
        (Method::POST, MODEL),
        (Method::POST, "/v1/predictions"),
        (Method::GET, "/v1/predictions"),
        (Method::GET, "/v1/predictions/x"),
        (Method::POST, "/v1/predictions/x/cancel"),
    ];

    for (method, path) in routes {
        for header in [
            None,
            Some("Bearer "),
            Some("Bearer bad"),
            Some("Basic eDp5"),
        ] {
            let mut request = sim.keyless(method.clone(), path);
            if let Some(header) = header {
                request = request.header("authorization", header);
            }

            let (status, problem) = json_of(request).await;

            assert_eq!(
                (status, &problem["title"]),
                (401, &json!("Unauthenticated")),
                "{method} {path} {header:?}"
            );
            assert_eq!(problem["status"], 401);
        }
    }
}

#[tokio::test]
async fn an_input_that_is_not_valid_is_refused_and_not_accepted() {
    let sim = Sim::start().await;
    let bodies = [
        json!({}),
        json!({"input": {"genflow_id": "w"}}),
        json!({"input": {"prompt": 7}}),
        json!({"input": {"prompt": "a cat", "width": "wide"}}),
        json!({"input": {"prompt": "a cat", "sim": {"no_such_fault": true}}}),
    ];

    for body in bodies {
        let request = sim
            .request(Method::POST, MODEL)
            .header("idempotency-key", "w")
            .json(&body);
        let (status, problem) = json_of(request).await;
        assert_eq!(
            (status, &problem["title"]),
            (422, &json!("Input validation failed")),
            "{body}"
        );
        assert_eq!(problem["status"], 422);
    }

    let (status, _) = json_of(sim.request(Method::POST, MODEL).body("{not json")).await;
    assert_eq!(status, 422);
    let entry = sim.entry("w").await;
    assert_eq!(
        (&entry["submits"], &entry["accepted"]),
        (&json!(5), &json!(0))
    );
}

#[tokio::test]
async fn a_job_processes_with_growing_logs_and_succeeds() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"seconds": 1.5}}))
        .await;

    let early = sim
        .until(&prediction, |read| read["status"] == "processing")
        .await;
    let later = sim
        .until(&prediction, |read| {
            read["logs"]
                .as_str()
                .unwrap()
                .contains(" 50%|█████     | 10/20")
        })
        .await;
    let done = sim
        .until(&prediction, |read| read["status"] == "succeeded")
        .await;

    assert!(later["logs"].as_str().unwrap().len() > early["logs"].as_str().unwrap().len());
    assert!(
        done["logs"]
            .as_str()
            .unwrap()
            .contains("100%|██████████| 20/20")
    );
    assert!(done["output"].is_array());
}

#[tokio::test]
async fn pictures_are_listed_one_by_one_and_can_be_fetched_without_a_token() {
    let sim = Sim::start().await;

    let input = json!({"prompt": "a cat", "width": 320, "height": 200, "num_outputs": 3});
    let done = sim.succeed(input).await;

    let urls: Vec<&str> = done["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| url.as_str().unwrap())
        .collect();
    let mut files = HashSet::new();
    for url in &urls {
        let response = sim.http.get(*url).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "image/png");
        let promised = response.content_length().unwrap();
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, promised);
        let info = png::Decoder::new(io::Cursor::new(&bytes))
            .read_info()
            .unwrap()
            .info()
            .size();
        assert_eq!(info, (320, 200));
        files.insert(bytes);
    }
    assert_eq!((urls.len(), files.len()), (3, 3));
    let (status, _) = sim.get(&urls[0].replace("0.png", "3.png")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_film_is_a_bare_url_of_a_playable_file() {
    let sim = Sim::start().await;

    let done = sim
        .succeed(json!({"prompt": "a cat", "duration": 2, "resolution": "1280x720", "fps": 24}))
        .await;

    let response = sim
        .http
        .get(done["output"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "video/mp4");
    let promised = response.content_length().unwrap();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, promised);
    let film = mp4::Mp4Reader::read_header(io::Cursor::new(&bytes), promised).unwrap();
    assert_eq!(
        (film.duration(), film.tracks()[&1].sample_count()),
        (Duration::from_secs(2), 20)
    );
}

#[tokio::test]
async fn a_file_does_not_exist_before_its_job_succeeded() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"stuck": true}}))
        .await;

    let (status, _) = sim
        .get(&format!(
            "/files/{}/0.png",
            prediction["id"].as_str().unwrap()
        ))
        .await;

    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_cancel_ends_a_running_job_and_may_be_repeated() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "genflow_id": "w", "sim": {"seconds": 3600}}))
        .await;
    let url = prediction["urls"]["cancel"].as_str().unwrap();

    for _ in 0..2 {
        let (status, canceled) = sim.post(url, json!({})).await;
        assert_eq!((status, &canceled["status"]), (200, &json!("canceled")));
        assert!(canceled["output"].is_null());
    }

    let job = &sim.entry("w").await["jobs"][0];
    assert_eq!(
        (&job["status"], &job["cancel_requests"]),
        (&json!("canceled"), &json!(2))
    );
}

#[tokio::test]
async fn a_cancel_comes_too_late_for_a_job_that_succeeded() {
    let sim = Sim::start().await;
    let done = sim.succeed(json!({"prompt": "a cat"})).await;

    let (status, after) = sim
        .post(done["urls"]["cancel"].as_str().unwrap(), json!({}))
        .await;

    assert_eq!((status, &after["status"]), (200, &json!("succeeded")));
}

#[tokio::test]
async fn the_list_has_every_prediction_newest_first_in_pages_of_a_hundred() {
    let sim = Sim::start().await;
    let mut submitted = Vec::new();
    for at in 0..103 {
        submitted.push(
            sim.submit(json!({"prompt": "a cat", "genflow_id": format!("w{at}")}))
                .await["id"]
                .clone(),
        );
    }
    submitted.reverse();

    let (_, first) = sim.get("/v1/predictions").await;
    let (_, second) = sim.get(first["next"].as_str().unwrap()).await;

    let ids = |page: &Value| -> Vec<Value> {
        page["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|read| read["id"].clone())
            .collect()
    };
    assert_eq!([ids(&first), ids(&second)].concat(), submitted);
    assert_eq!(ids(&first).len(), 100);
    assert!(second["next"].is_null());
    assert_eq!(first["results"][0]["input"]["genflow_id"], "w102");
}
