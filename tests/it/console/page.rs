//! The page in a real browser, on the real system.

use genflow::domain::Request;
use serde_json::json;

use super::browser::Browser;
use super::{Console, KEY, keys};
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

impl Browser {
    /// Opens the console and signs in.
    async fn sign_in(&mut self, console: &Console) {
        self.go(&console.url).await;
        self.until("return document.querySelector('input[type=password]') !== null")
            .await;
        let sign = format!(
            "document.querySelector('input[type=password]').value = '{KEY}'; document.querySelector('.sign button').click()"
        );
        self.run(&sign).await;
        self.until("return document.querySelector('.reqs') !== null")
            .await;
    }

    /// Waits until the list shows a request in this state.
    async fn shows(&self, request: &Request, state: &str) {
        let script = format!(
            "const row = document.querySelector('tr[data-id=\"{}\"] .state'); return row !== null && row.textContent === '{state}'",
            request.id
        );
        self.until(&script).await;
    }

    async fn click(&self, selector: &str) {
        let selector = json!(selector);
        self.until(&format!(
            "return document.querySelector({selector}) !== null"
        ))
        .await;
        self.run(&format!("document.querySelector({selector}).click()"))
            .await;
    }
}

fn link(request: &Request) -> String {
    format!("tr[data-id=\"{}\"] a", request.id)
}

#[tokio::test]
async fn a_person_watches_a_request_opens_it_cancels_another_and_retries_it() {
    let space = Space::new().await;
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let _roles = space.start(&["all"]);
    let console = Console::start(&space, &keys()).await;
    browser.sign_in(&console).await;

    let quick = image("quick");
    let slow = script(image("slow"), &json!({"seconds": 600}));
    space.send(&quick).await;
    space.send(&slow).await;
    // The page is not loaded again: the stream brings both.
    browser.shows(&quick, "Completed").await;
    browser.shows(&slow, "Generating").await;

    browser.click(&link(&quick)).await;
    browser
        .until("const picture = document.querySelector('.pics img'); return picture !== null && picture.complete && picture.naturalWidth > 0")
        .await;
    let path = browser.run("return location.pathname").await;
    assert_eq!(path, json!(format!("/requests/{}", quick.id)));
    browser.run("history.back()").await;
    browser.shows(&slow, "Generating").await;
    browser.click(&link(&slow)).await;
    browser.click(".acts .act").await;
    browser
        .until("return document.querySelector('dialog .danger') !== null")
        .await;
    let focused = browser
        .run("return document.activeElement.textContent")
        .await;
    assert_eq!(focused, "Do nothing", "the safe button has the focus");
    browser.click("dialog .danger").await;
    browser
        .until("return document.querySelector('.dh .st').textContent === 'Cancelled'")
        .await;
    browser.click(".acts .act:not([disabled])").await;
    browser.click("dialog .pri").await;
    browser
        .until("return document.querySelector('.dh .st').textContent === 'Generating'")
        .await;

    assert_eq!(browser.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn every_view_is_accessible_in_light_and_dark_and_on_a_phone() {
    let space = Space::new().await;
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let Some(axe) = super::browser::axe() else {
        return;
    };
    let _roles = space.start(&["all"]);
    let console = Console::start(&space, &keys()).await;
    let (done, slow) = (
        image("done"),
        script(image("slow"), &json!({"seconds": 600})),
    );
    let refused = script(image("refused"), &json!({"fail": "NSFW content detected"}));
    for request in [&done, &slow, &refused] {
        space.send(request).await;
    }
    let topic = space.config.kafka.topics.requests.clone();
    space
        .produce(&topic, "odd", Some(b"no avro"), Vec::new())
        .await;
    browser.sign_in(&console).await;
    browser.shows(&done, "Completed").await;
    browser.shows(&refused, "Failed").await;
    browser.shows(&slow, "Generating").await;

    let detail = format!("/requests/{}", done.id);
    let views = [
        "/",
        &detail,
        "/batches",
        "/dead-letters",
        "/endpoints",
        "/doctor",
    ];
    for (dark, width, height) in [(false, 1440, 760), (true, 1440, 760), (false, 390, 844)] {
        browser.resize(width, height).await;
        browser.dark(dark).await;
        for view in views {
            browser.go(&format!("{}{view}", console.url)).await;
            browser
                .until("return document.querySelector('main h1') !== null && document.querySelector('[aria-busy]') === null")
                .await;
            assert_eq!(
                browser.serious(&axe).await,
                json!([]),
                "{view}, dark: {dark}, width {width}"
            );
            let sideways = "const width = document.documentElement.clientWidth; \
                if (document.documentElement.scrollWidth <= width) return []; \
                return [...document.querySelectorAll('main *')].filter(part => part.getBoundingClientRect().right > width) \
                .map(part => part.getAttribute('class') ?? part.tagName)";
            assert_eq!(
                browser.run(sideways).await,
                json!([]),
                "{view} scrolls sideways at {width}"
            );
            let name = match view.split('/').nth(1) {
                Some("") | None => "requests",
                Some("requests") => "request",
                Some(other) => other,
            };
            browser.picture(name, dark, width).await;
        }
    }
    eventually("nothing was complained about", async || {
        browser.faults().await.is_empty().then_some(())
    })
    .await;
}
