//! Dead letters that a person redrives: by a filter, first as a dry run, and on the page.

use futures::future::join_all;
use genflow::engines::kafka::Headers;
use serde_json::{Value, json};

use super::browser::Browser;
use super::{Console, keys};
use crate::dlq::{dead_letter, wait_dead_lettered};
use crate::support::Space;
use crate::support::requests::image;

/// Redrives what a filter selects, and returns the status and the answer.
async fn redrive(console: &Console, filter: &Value, more: Value) -> (u16, Value) {
    let mut body = json!({"verb": "redrive", "topic": "requests", "filter": filter});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    console.post("/actions", &body).await
}

async fn requests(space: &Space) -> usize {
    let topic = &space.config.kafka.topics.requests;
    space.read(topic).await.all().await.len()
}

#[tokio::test]
async fn a_redrive_by_filter_sends_what_its_dry_run_has_counted() {
    let space = Space::new().await;
    let console = Console::start(&space, &keys()).await;
    let names = [
        ("a", "unauthorized"),
        ("b", "unauthorized"),
        ("c", "invalid"),
        ("d", "too_old"),
    ];
    let letters = names.map(|(name, reason)| (image(name), reason));
    for (request, reason) in &letters {
        dead_letter(&space, request, reason, &[]).await;
    }

    let too_old = "too old: if they never ran, send them with --accept-old";
    let key = letters[2].0.id.as_str();
    for (filter, would, left) in [
        (json!({}), 3, json!({ too_old: 1 })),
        (json!({"reason": "unauthorized"}), 2, json!({})),
        (json!({"reason": "too_old"}), 0, json!({ too_old: 1 })),
        (json!({"key": key}), 1, json!({})),
        (json!({"key": key, "reason": "unauthorized"}), 0, json!({})),
        (json!({"until": 1}), 0, json!({})),
        (json!({"since": 1}), 3, json!({ too_old: 1 })),
    ] {
        let plan = redrive(&console, &filter, json!({"dry_run": true})).await;
        let expected = json!({"would": would, "left": left});
        assert_eq!(plan, (200, expected), "{filter}");
        // The list shows the same.
        let query = filter.as_object().unwrap().iter();
        let query = query.map(|(name, value)| format!("{name}={value}").replace('"', ""));
        let query = query.collect::<Vec<_>>().join("&");
        let list = console.get(&format!("/dead-letters?{query}")).await;
        let left = left.as_object().unwrap().len();
        assert_eq!(list["total"], would + left, "{filter}");
    }
    // A misspelt filter would select all.
    for filter in [json!({"reasons": "invalid"}), json!({"q": "a"})] {
        let (status, answer) = redrive(&console, &filter, json!({"dry_run": true})).await;
        assert_eq!(status, 400, "{answer}");
    }
    assert_eq!(requests(&space).await, 0, "a dry run sends nothing");

    let unauthorized = json!({"reason": "unauthorized"});
    let (status, answer) = redrive(&console, &unauthorized, json!({"expect": 1})).await;
    assert_eq!(
        (status, requests(&space).await),
        (409, 0),
        "more than was seen is not sent: {answer}"
    );
    let sent = redrive(&console, &unauthorized, json!({"expect": 2})).await;
    assert_eq!(
        (sent, requests(&space).await),
        ((200, json!({"sent": 2})), 2)
    );
}

#[tokio::test]
async fn a_redrive_from_the_console_is_of_a_thousand_dead_letters_at_most() {
    let space = Space::new().await;
    let console = Console::start(&space, &keys()).await;
    let topics = &space.config.kafka.topics;
    let header = |name: &str, text: &str| (name.to_owned(), Some(text.as_bytes().to_vec()));
    let headers: Headers = vec![
        header("dlq.reason", "invalid"),
        header("dlq.original.topic", &topics.requests),
    ];
    let names: Vec<_> = (0..1_001).map(|number| format!("r-{number}")).collect();
    let sends = names
        .iter()
        .map(|name| space.produce(&topics.dlq, name, Some(b"value"), headers.clone()));
    join_all(sends).await;

    let (status, answer) = redrive(&console, &json!({}), json!({"dry_run": true})).await;

    assert_eq!(
        (status, &answer["error"]),
        (
            400,
            &json!(
                "1001 match, expected at most 1000; use a narrower filter, or genflow dlq redrive"
            )
        )
    );
}

#[tokio::test]
async fn a_person_redrives_the_dead_letters_of_one_reason_on_the_page() {
    let space = Space::new().await;
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let keyed = [("REQUIRE_API_KEY", "true"), ("API_KEYS", "a-secret-key")];
    let mut keyed = space.start_with(&["intake"], &keyed);
    let request = image("refused");
    space.send(&request).await;
    let topic = space.config.kafka.topics.requests.clone();
    space
        .produce(&topic, "odd", Some(b"no avro"), Headers::new())
        .await;
    wait_dead_lettered(&space, 2).await;
    keyed.terminate().await;
    // The cause is fixed: intake asks for no key.
    let _roles = space.start(&["all"]);
    let console = Console::start(&space, &keys()).await;
    browser.sign_in(&console).await;
    browser.shows(&request, "Rejected").await;

    browser.click("a.nav[href='/dead-letters']").await;
    let rows = "return document.querySelectorAll('main td .tag').length";
    browser.until(&format!("{rows} === 2")).await;
    browser.click("a.tag[href*='reason=unauthorized']").await;
    browser.until(&format!("{rows} === 1")).await;
    browser.click("main .act:not([disabled])").await;
    browser
        .until("return document.querySelector('dialog .pri') !== null")
        .await;
    let question = "return document.querySelector('dialog h2').textContent";
    assert_eq!(browser.run(question).await, "Redrive 1 dead letter?");
    assert_eq!(requests(&space).await, 2, "nothing is sent yet");
    browser.click("dialog .pri").await;
    browser
        .until("return document.getElementById('toast').textContent === '1 dead letter sent again'")
        .await;
    browser.click("a.nav[href='/']").await;
    browser.shows(&request, "Completed").await;

    assert_eq!(requests(&space).await, 3);
    assert_eq!(browser.faults().await, Vec::<String>::new());
}
