//! Requests that wait before their first event: for intake, and for a worker.

use serde_json::{Value, json};

use super::browser::Browser;
use super::{Console, keys};
use crate::batch::batch;
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// Waits until this many records and runs wait.
async fn wait(console: &Console, records: u64, runs: u64) {
    let what = format!("{records} records and {runs} runs wait");
    eventually(&what, async || {
        let backlog = console.get("/backlog").await;
        let found = ["records", "runs"].map(|part| backlog[part]["value"].as_u64());
        (found == [Some(records), Some(runs)]).then_some(())
    })
    .await;
}

impl Browser {
    /// Waits until the tile *Waiting* shows this number and a text of this pattern.
    async fn waiting(&self, count: u64, why: &str) {
        let script = format!(
            "const tile = [...document.querySelectorAll('.tile')].find(tile => tile.querySelector('.l').textContent === 'Waiting'); \
             return tile !== undefined && tile.querySelector('.v').textContent === '{count}' && /^{why}$/.test(tile.querySelector('.s').textContent)"
        );
        self.until(&script).await;
    }
}

#[tokio::test]
async fn what_waits_is_counted_before_its_first_event() {
    let space = Space::new().await;
    let console = Console::start(&space, &keys()).await;
    let requests = [image("one"), batch("two", &[json!({})])];
    for request in &requests {
        space.send(request).await;
    }

    wait(&console, 2, 0).await;
    let browser = match Browser::open().await {
        Some(mut browser) => {
            browser.sign_in(&console).await;
            // Such as 3.2 s, or 1 m 05 s.
            browser
                .waiting(2, "2 for intake, oldest [0-9][0-9ms. ]* m?s")
                .await;
            Some(browser)
        }
        None => None,
    };
    let _intake = space.start(&["intake"]);
    wait(&console, 0, 2).await;
    let numbers = console.get("/stats").await["requests"].clone();
    assert_eq!(numbers["running"], 0, "no event says that they run");
    if let Some(browser) = &browser {
        browser.waiting(2, "2 for a worker").await;
    }

    let _worker = space.start(&["worker"]);
    for request in &requests {
        console.row(request, "completed").await;
    }
    wait(&console, 0, 0).await;
    if let Some(browser) = browser {
        browser.waiting(0, "none").await;
        assert_eq!(browser.faults().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_leaves_its_number_unknown() {
    let space = Space::new().await;
    let nowhere = crate::support::nowhere().to_string();
    let console = Console::start(&space, &[keys()[0], ("TEMPORAL_HOST", &nowhere)]).await;

    let backlog = console.get("/backlog").await;

    assert_eq!(backlog["records"], json!({"value": 0, "oldest": null}));
    assert_ne!(backlog["runs"]["error"], Value::Null, "{backlog}");
}
