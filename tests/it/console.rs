//! The console: what its API and its page show of requests that run through the real system.

mod browser;
mod figures;
mod letters;
mod many;
mod notifications;
mod page;
mod schema;
mod waiting;

use std::time::Duration;

use genflow::domain::{ErrorCode, Event, EventError, EventType, Request};
use genflow::engines::clock::now;
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::notify::{event, publisher};
use crate::support::process::Process;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually, eventually_within};

const KEY: &str = "ann-key-0123456789";

/// A console on the engines of a space.
pub(crate) struct Console {
    process: Process,
    url: String,
    client: Client,
    /// What the API promises.
    document: Value,
}

impl Console {
    pub(crate) async fn start(space: &Space, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("CONSOLE_ADDR", "127.0.0.1:0")];
        all.extend_from_slice(settings);
        let process = space.start_with(&["console"], &all);
        let url = eventually("the console prints its address", async || {
            let output = process.output();
            let at = output.split("console at ").nth(1)?;
            Some(at.split_whitespace().next()?.to_owned())
        })
        .await;
        let mut console = Self {
            process,
            url,
            client: Client::new(),
            document: Value::Null,
        };
        console.document = console.answer("/openapi.json").await;
        console
    }

    async fn answer(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}/api/v1{path}", self.url));
        let answer = request.bearer_auth(KEY).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Returns an answer, which must be as the document of the API describes it.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.answer(path).await;
        let segments = |path: &str| {
            path.split('?')
                .next()
                .unwrap()
                .split('/')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let asked = segments(path);
        let is_asked = |template: &&String| {
            let template = segments(template);
            template.len() == asked.len()
                && template
                    .iter()
                    .zip(&asked)
                    .all(|(part, asked)| part.starts_with('{') || part == asked)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let template = paths
            .keys()
            .find(is_asked)
            .unwrap_or_else(|| panic!("{path}"));
        let promised =
            &paths[template]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let fault = schema::fits(&self.document, promised, &answer);
        assert_eq!(fault, Ok(()), "{path}: {answer}");
        answer
    }

    /// Sends a body that must be as the document of the API describes it, as must be the answer.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let promised = &self.document["paths"][path]["post"];
        let wanted = &promised["requestBody"]["content"]["application/json"]["schema"];
        let fault = schema::fits(&self.document, wanted, body);
        assert_eq!(fault, Ok(()), "{path}: {body}");
        let request = self.client.post(format!("{}/api/v1{path}", self.url));
        let request = request
            .bearer_auth(KEY)
            .header("x-genflow-console", "1")
            .json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let answer = answer.json().await.unwrap();
        let promised = &promised["responses"][status.to_string()]["content"]["application/json"];
        let fault = schema::fits(&self.document, &promised["schema"], &answer);
        assert_eq!(fault, Ok(()), "{path}: {answer}");
        (status, answer)
    }

    /// Waits until all events are read, of this many requests.
    async fn knows(&self, count: usize) {
        let limit = Duration::from_secs(300);
        eventually_within(limit, "all requests are known", async || {
            let known = self.answer("/stats").await["known"].clone();
            (known["requests"] == count && known["events"]["state"] == "live").then_some(())
        })
        .await;
    }

    /// Waits until a request has this state; returns its row.
    pub(crate) async fn row(&self, request: &Request, state: &str) -> Value {
        let what = format!("{} is {state}", request.id);
        eventually(&what, async || {
            let found = self.get(&format!("/requests?q={}", request.id)).await;
            let row = found["items"][0].clone();
            (row["state"] == state).then_some(row)
        })
        .await
    }
}

/// Returns the settings of a space whose console knows one person.
pub(crate) fn keys() -> [(&'static str, &'static str); 1] {
    [("CONSOLE_KEYS", "ann:ann-key-0123456789")]
}

#[tokio::test]
async fn a_request_is_shown_from_its_start_to_its_files() {
    let space = Space::new().await;
    let _roles = space.start(&["all"]);
    let console = Console::start(&space, &keys()).await;
    let request = image("shown");
    space.send(&request).await;

    let row = console.row(&request, "completed").await;
    assert_eq!(
        (&row["kind"], &row["user"], &row["percent"]),
        (&json!("IMAGE"), &json!(request.user.as_str()), &json!(100))
    );
    // The workflow closes a moment after its last event.
    let found = eventually("all steps are done", async || {
        let found = console.get(&format!("/requests/{}", request.id)).await;
        let steps = found["timeline"]["value"]["steps"].as_array()?;
        let is_done = |step: &Value| step["outcome"] == "done";
        (!steps.is_empty() && steps.iter().all(is_done)).then_some(found)
    })
    .await;
    let types: Vec<_> = found["events"]["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        (types.first(), types.last()),
        (Some(&"STARTED"), Some(&"COMPLETED"))
    );
    // Targets, sealed or not, are nobody's business here.
    assert!(found["events"]["value"][0]["notify"].is_null());
    let timeline = &found["timeline"]["value"];
    assert!(
        timeline["spec"].to_string().contains("prompt"),
        "{timeline}"
    );

    let output =
        &found["events"]["value"].as_array().unwrap().last().unwrap()["result"]["outputs"][0];
    let at = format!("{}/api/v1/media/{}/0", console.url, request.id);
    let file = console
        .client
        .get(&at)
        .bearer_auth(KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(
        file.headers()["content-type"],
        output["content_type"].as_str().unwrap()
    );
    assert!(
        file.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("sandbox")
    );
    let whole = file.bytes().await.unwrap();
    assert_eq!(json!(whole.len()), output["bytes"]);
    let part = console
        .client
        .get(&at)
        .bearer_auth(KEY)
        .header("range", "bytes=2-5")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status().as_u16(), 206);
    assert_eq!(
        part.headers()["content-range"],
        format!("bytes 2-5/{}", whole.len()).as_str()
    );
    assert_eq!(part.bytes().await.unwrap(), whole.slice(2..6));
}

#[tokio::test]
async fn a_person_cancels_and_retries_what_a_dry_run_has_shown() {
    let space = Space::new().await;
    let _roles = space.start(&["all"]);
    let console = Console::start(&space, &keys()).await;
    let slow = script(image("slow"), &json!({"seconds": 600}));
    space.send(&slow).await;
    console.row(&slow, "generating").await;

    let filter = json!({"verb": "cancel", "filter": {"state": "open"}});
    let with = |name: &str, value: Value| {
        let mut body = filter.clone();
        body[name] = value;
        body
    };
    let (status, plan) = console
        .post("/actions", &with("dry_run", json!(true)))
        .await;
    assert_eq!(
        (status, &plan["would"], &plan["ids"]),
        (200, &json!(1), &json!([slow.id.to_string()]))
    );
    // More than the person has seen is not sent.
    assert_eq!(
        console.post("/actions", &with("expect", json!(0))).await.0,
        409
    );
    assert_eq!(
        console.post("/actions", &with("expect", json!(1))).await,
        (200, json!({"sent": 1}))
    );
    console.row(&slow, "cancelled").await;

    let retry = json!({"verb": "retry", "ids": [slow.id.to_string()], "expect": 1});
    assert_eq!(
        console.post("/actions", &retry).await,
        (200, json!({"sent": 1}))
    );
    let again = console.row(&slow, "generating").await;
    assert_eq!(again["retry"], 1);
    let running = json!({"verb": "retry", "ids": [slow.id.to_string()], "dry_run": true});
    let (_, plan) = console.post("/actions", &running).await;
    assert_eq!(plan["left"], json!({"is running": 1}));
}

#[tokio::test]
async fn dead_letters_are_listed_opened_and_redriven() {
    let space = Space::new().await;
    let _roles = space.start(&["intake"]);
    let console = Console::start(&space, &keys()).await;
    let topic = space.config.kafka.topics.requests.clone();
    space
        .produce(&topic, "odd", Some(b"no avro, ann@example.org"), Vec::new())
        .await;

    let list = eventually("the dead letter is listed", async || {
        let list = console.get("/dead-letters").await;
        (list["total"] == 1).then_some(list)
    })
    .await;
    let position = list["items"][0]["position"].as_str().unwrap().to_owned();
    let one = console
        .get(&format!("/dead-letters/requests/{position}"))
        .await;
    assert_eq!(one["begins"], "no avro, …@example.org");
    let redrive =
        json!({"verb": "redrive", "topic": "requests", "ids": [position], "dry_run": true});
    let (status, plan) = console.post("/actions", &redrive).await;
    assert_eq!((status, &plan["would"]), (200, &json!(1)), "{plan}");
}

/// The events of requests that the console has never seen run: one each, of every state.
fn many(space: &Space, count: usize) -> Vec<Event> {
    let like = event(space, "https://target.example");
    let types = [
        EventType::Completed,
        EventType::Completed,
        EventType::Failed,
        EventType::Started,
    ];
    let one = |number: usize| Event {
        event_id: Uuid::new_v4().to_string(),
        request_id: format!("order-{number:06}"),
        run_id: Some(Uuid::new_v4().to_string()),
        user_id: format!("user-{}", number % 500),
        event_type: types[number % types.len()],
        error: (number % types.len() == 2)
            .then(|| EventError::new(ErrorCode::ProviderFailed, "it failed", true)),
        occurred_at: now() - i64::try_from(count - number).unwrap(),
        notify: None,
        ..like.clone()
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn many_requests_are_read_at_the_start_and_listed() {
    const COUNT: usize = 6_000;
    let space = Space::new().await;
    let publisher = publisher(&space);
    for some in many(&space, COUNT).chunks(2_000) {
        publisher.publish(some, None).await.unwrap();
    }

    let console = Console::start(&space, &keys()).await;
    console.knows(COUNT).await;

    let page = console.get("/requests?state=failed&limit=100").await;
    assert_eq!(
        (&page["total"], &page["items"][99]["state"]),
        (&json!(COUNT / 4), &json!("failed"))
    );
    let last = console
        .get(&format!("/requests?limit=100&q=order-{:06}", 7))
        .await;
    assert_eq!(last["items"][0]["id"], "order-000007");
}
