//! 100,000 requests in a real browser: only the rows around those that are seen are loaded and drawn.

use futures::future::join_all;
use serde_json::{Value, json};

use super::browser::Browser;
use super::{Console, keys, many};
use crate::notify::publisher;
use crate::support::Space;

const COUNT: usize = 100_000;
/// Parts that are published side by side.
const PARTS: usize = 100;
/// Rows that the page draws at most.
const DRAWN: u64 = 100;
/// More elements than the whole page has with these rows.
const ELEMENTS: u64 = 5_000;
/// More than the calls for a list that this story causes; page by page, it would be a thousand.
const CALLS: u64 = 20;

impl Browser {
    /// Waits until this request is drawn and can be seen.
    async fn sees(&self, id: &str) {
        let script = format!(
            "const row = document.querySelector('tr[data-id=\"{id}\"]')?.getBoundingClientRect(); \
             return row !== undefined && row.top >= 0 && row.bottom <= innerHeight"
        );
        self.until(&script).await;
        let drawn = "return [document.querySelectorAll('tr[data-id]').length, document.querySelectorAll('*').length]";
        let drawn = self.run(drawn).await;
        assert!(drawn[0].as_u64().unwrap() <= DRAWN, "{drawn} at {id}");
        assert!(drawn[1].as_u64().unwrap() < ELEMENTS, "{drawn} at {id}");
    }

    async fn scroll_to_end(&self) {
        self.run("window.scrollTo(0, document.documentElement.scrollHeight)")
            .await;
    }

    /// Waits until the page says how many match.
    async fn says(&self, scope: &str) {
        let script = format!("return document.querySelector('.scope')?.textContent === '{scope}'");
        self.until(&script).await;
    }
}

#[tokio::test]
async fn a_person_scrolls_through_100_000_requests_and_filters_them() {
    let space = Space::new().await;
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let publisher = publisher(&space);
    let all = many(&space, COUNT);
    let parts = all.chunks(COUNT / PARTS);
    for published in join_all(parts.map(|part| publisher.publish(part, None))).await {
        published.unwrap();
    }
    let console = Console::start(&space, &keys()).await;
    console.knows(COUNT).await;

    browser.resize(1440, 900).await;
    browser.sign_in(&console).await;
    browser.says("all 100,000").await;
    // The newest is the first, the oldest the last.
    browser
        .until("return document.querySelector('tr[data-id]')?.dataset.id === 'order-099999'")
        .await;
    browser.scroll_to_end().await;
    browser.sees("order-000000").await;
    browser
        .run("window.scrollTo(0, document.documentElement.scrollHeight / 2)")
        .await;
    let middle = "return document.elementFromPoint(700, 450).closest('tr[data-id]') !== null";
    browser.until(middle).await;

    // Every fourth has failed, and every five hundredth is this user's.
    browser.click(".tabs a[href*='state=failed']").await;
    browser.says("25,000 match").await;
    browser.scroll_to_end().await;
    browser.sees("order-000002").await;
    browser
        .run("const user = document.querySelector('input[placeholder=User]'); user.value = 'user-6'; user.dispatchEvent(new Event('change'))")
        .await;
    browser.says("200 match").await;
    browser.scroll_to_end().await;
    browser.sees("order-000006").await;
    let address = browser.run("return location.search").await;
    assert_eq!(address, "?state=failed&user=user-6");

    let calls = "return performance.getEntriesByType('resource').map(call => call.name).filter(name => name.includes('/api/v1/requests?'))";
    let calls: Value = browser.run(calls).await;
    let calls = calls.as_array().unwrap();
    assert!((calls.len() as u64) < CALLS, "{calls:?}");
    let is_bounded = |call: &Value| call.as_str().unwrap().contains("limit=100&");
    assert!(calls.iter().all(is_bounded), "{calls:?}");
    assert_eq!(browser.faults().await, Vec::<String>::new());
    assert_eq!(console.get("/stats").await["known"]["forgotten"], json!(0));
}
