//! The page in a real browser, on the real system.

use genflow::contract::avro::{self, RECEIPT};
use genflow::contract::receipt::{Channel, DeliveryError, NotificationOutcome, Receipt};
use genflow::domain::{Request, Single, Spec, Targets};
use genflow::engines::clock::now;
use serde_json::json;
use uuid::Uuid;

use super::browser::Browser;
use super::{Console, KEY, keys};
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

impl Browser {
    /// Opens the console and signs in.
    pub(super) async fn sign_in(&mut self, console: &Console) {
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
    pub(super) async fn shows(&self, request: &Request, state: &str) {
        let script = format!(
            "const row = document.querySelector('tr[data-id=\"{}\"] .state'); return row !== null && row.textContent === '{state}'",
            request.id
        );
        self.until(&script).await;
    }

    pub(super) async fn click(&self, selector: &str) {
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

/// Sends a request for a large image with a webhook and a trace.
async fn poster(space: &Space, receiver: &Receiver) -> Request {
    let mut poster = script(image("poster"), &json!({"seconds": 2}));
    if let Spec::Single(Single::Image(image)) = &mut poster.spec {
        (image.width, image.height) = (Some(768), Some(512));
    }
    poster.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    let traceparent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = vec![("traceparent".to_owned(), Some(traceparent.to_vec()))];
    space.send_with(&poster, headers).await;
    poster
}

/// Publishes receipts of four more targets, over a day.
async fn a_day_of_endpoints(space: &Space) {
    let targets = [
        (Channel::Webhook, "https://shop.example/…", 23),
        (Channel::Webhook, "https://hooks.studio.example/…", 4),
        (Channel::Slack, "https://hooks.slack.com/…", 17),
        (Channel::Email, "…@agency.example", 9),
    ];
    let topic = &space.config.kafka.topics.notifications;
    for (which, (channel, target, share)) in targets.into_iter().enumerate() {
        for hour in (0..24).rev().filter(|hour| hour % 5 != which as i64) {
            let is_down = which == 1 && hour < 3;
            let receipt = Receipt {
                receipt_id: Uuid::new_v4().to_string(),
                event_id: Uuid::new_v4().to_string(),
                request_id: format!("order-{}", 4_000 + hour * share),
                channel,
                target: target.to_owned(),
                target_hash: format!("{which:016}"),
                outcome: match is_down {
                    true => NotificationOutcome::GivenUp,
                    false => NotificationOutcome::Delivered,
                },
                status: Some(if is_down { 503 } else { 200 }),
                tries: if is_down { 10 } else { 1 },
                first_try_at: now() - hour * 3_600_000,
                ended_at: now() - hour * 3_600_000,
                error: is_down.then(|| DeliveryError {
                    code: "target_failed".to_owned(),
                    message: "the target failed with status 503".to_owned(),
                }),
            };
            let datum = avro::write(&RECEIPT, &receipt).unwrap();
            let value = space.framed(topic, &RECEIPT, &datum).await;
            let key = &receipt.request_id;
            space.produce(topic, key, Some(&value), Vec::new()).await;
        }
    }
}

#[tokio::test]
async fn a_person_sends_a_notification_again_and_tests_the_endpoint_on_the_page() {
    let space = Space::new().await;
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let _roles = space.start(&["all"]);
    let traces = ("CONSOLE_TRACE_URL", "https://traces.example/{trace_id}");
    let console = Console::start(&space, &[keys()[0], traces]).await;
    let receiver = Receiver::start(&[]).await;
    let poster = poster(&space, &receiver).await;
    browser.resize(1440, 900).await;
    browser.sign_in(&console).await;
    browser.shows(&poster, "Completed").await;
    browser.click(&link(&poster)).await;

    browser
        .until("const picture = document.querySelector('.pics img'); return picture !== null && picture.complete && picture.naturalWidth > 0")
        .await;
    let trace = browser
        .run("return document.querySelector('a.trace').href")
        .await;
    assert_eq!(
        trace,
        "https://traces.example/4bf92f3577b34da6a3ce929d0e0e4736"
    );
    browser.click(".again").await;
    let question = "return document.querySelector('dialog h2').textContent";
    browser
        .until("return document.querySelector('dialog .pri') !== null")
        .await;
    assert_eq!(browser.run(question).await, "Send 1 notification again?");
    browser.click("dialog .pri").await;
    let got = receiver.wait(2).await;
    assert_eq!(got[0].header("webhook-id"), got[1].header("webhook-id"));
    browser
        .until("return document.querySelector('dialog') === null && document.querySelector('.again') !== null")
        .await;
    browser.picture("one-request", false, 1440).await;

    a_day_of_endpoints(&space).await;
    browser.go(&format!("{}/endpoints", console.url)).await;
    browser
        .until("return document.querySelectorAll('.hours').length === 5")
        .await;
    browser.picture("deliveries", false, 1440).await;
    browser
        .click("[aria-label='Test http://127.0.0.1/…']")
        .await;
    browser.click("dialog .pri").await;
    let got = receiver.wait(3).await;
    assert!(got[2].header("webhook-id").starts_with("test-"));
    browser
        .until("return document.getElementById('toast').textContent.startsWith('The endpoint answered 204')")
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
