//! Mail, from an event to a mailbox: a real SMTP server, with its refusals and its encryption.

mod slow;
mod tenants;

use std::path::Path;

use genflow::contract::avro::EVENT;
use genflow::contract::receipt::Receipt;
use genflow::domain::{Event, EventType, RequestId, Targets};
use genflow::engines::kafka::Headers;
use serde_json::Value;

use crate::support::events::{self, completed, sealed};
use crate::support::mail::{Catcher, mail, mails};
use crate::support::process::Process;
use crate::support::requests::image;
use crate::support::{SOON, Space, within};

/// Publishes an event with the mail address `to` as target.
async fn publish_to(space: &Space, request: &str, to: &str) -> Event {
    let run = RequestId::try_from(request.to_owned()).unwrap().run(0);
    let mut event = Event {
        event_id: Event::id(&run, "run", 1),
        request_id: request.to_owned(),
        event_type: EventType::Cancelled,
        workflow_id: Some(request.to_owned()),
        run_id: Some("run".to_owned()),
        metadata: [("note".to_owned(), "a\r\nBcc: victim@example.org".to_owned())].into(),
        ..completed()
    };
    let targets = Targets::parse(None, Some(to), None).unwrap();
    event.notify = sealed(space, &event, &targets);
    let topic = &space.config.kafka.topics.events;
    let value = space.registry.encode(topic, &EVENT, &event).await.unwrap();
    space
        .produce(topic, request, Some(&value), Headers::new())
        .await;
    event
}

/// Waits for the receipt of the request.
async fn receipt(space: &Space, request: &str) -> Receipt {
    let mut receipts = space.read(&space.config.kafka.topics.notifications).await;
    loop {
        let receipt = events::receipt(&receipts.next().await);
        if receipt.request_id == request {
            return receipt;
        }
    }
}

fn outcome(receipt: &Receipt) -> (&'static str, Option<i32>, i32, &str) {
    let code = receipt.error.as_ref().map_or("", |error| &error.code);
    (
        receipt.outcome.as_str(),
        receipt.status,
        receipt.tries,
        code,
    )
}

fn notifier(space: &Space, smtp: &str, settings: &[(&str, &str)]) -> Process {
    let own = [
        ("SMTP_URL", smtp),
        ("EMAIL_FROM", "genflow <genflow@mail.test>"),
    ];
    space.start_with(&["notifier"], &[&own, settings].concat())
}

#[tokio::test]
async fn a_completed_image_is_notified_by_mail() {
    let space = Space::new().await;
    let smtp = space.engines.smtp.as_str();
    let settings = [("SMTP_URL", smtp), ("EMAIL_FROM", "genflow@mail.test")];
    let _all = space.start_with(&["all"], &settings);
    let mut request = image("mailed");
    let note = ("note".to_owned(), "needle".to_owned());
    request.metadata.extend([note]);
    let to = format!("{}@example.org", request.id);
    request.targets = Targets::parse(None, Some(&to), None).unwrap();

    space.send(&request).await;

    let caught = within(SOON, "the mail", mail(&space.engines.maildir, &to)).await;
    let events = space.story(request.id.as_str()).await;
    let completed = events.last().unwrap();
    let message = caught.parsed();
    assert_eq!(
        caught.header("Message-ID"),
        format!("<{}@mail.test>", completed.event_id)
    );
    let thread = format!("<{}@mail.test>", completed.thread_id());
    assert_eq!(caught.header("References"), thread);
    assert_eq!(caught.header("Auto-Submitted"), "auto-generated");
    assert_eq!(caught.header("To"), to);
    let headline = format!("Image completed: {}", request.id);
    assert_eq!(message.subject(), Some(headline.as_str()));
    let (text, html) = (message.body_text(0).unwrap(), message.body_html(0).unwrap());
    assert!(html.contains(request.id.as_str()));
    // A mail from the operator's domain must not contain text of the sender.
    assert!(!text.contains("needle") && !html.contains("needle"));
    let receipt = receipt(&space, request.id.as_str()).await;
    assert_eq!(outcome(&receipt), ("DELIVERED", Some(250), 1, ""));
    assert_eq!(receipt.target, "…@example.org");
}

#[tokio::test]
async fn a_mail_is_tried_again_after_4xx_and_given_up_after_5xx() {
    let space = Space::new().await;
    let _notifier = notifier(&space, &space.engines.smtp, &[]);
    let once = format!("reply-451-once@{}.test", space.name());

    let event = publish_to(&space, "later", &once).await;
    publish_to(&space, "never", "reply-550@example.org").await;

    let caught = within(SOON, "the mail", mail(&space.engines.maildir, &once)).await;
    assert_eq!(
        caught.header("Message-ID"),
        format!("<{}@mail.test>", event.event_id)
    );
    assert_eq!(caught.header("Bcc"), "");
    assert_eq!(
        outcome(&receipt(&space, "later").await),
        ("DELIVERED", Some(250), 2, "")
    );
    let never = receipt(&space, "never").await;
    assert_eq!(outcome(&never), ("GIVEN_UP", Some(550), 1, "refused"));
    // The server's answer contains the address; the receipt must not.
    assert!(!format!("{never:?}").contains("reply-550"));
    let mut given_up = space
        .read(&space.config.kafka.topics.notifications_dlq)
        .await;
    let record = given_up.next().await;
    assert_eq!(record.key.as_deref(), Some(b"never".as_slice()));
}

#[tokio::test]
async fn mails_share_one_connection() {
    let space = Space::new().await;
    let _notifier = notifier(&space, &space.engines.smtp, &[]);
    let to = format!("many@{}.test", space.name());

    for number in 0..10 {
        publish_to(&space, &format!("r{number}"), &to).await;
    }

    for number in 0..10 {
        let request = format!("r{number}");
        assert_eq!(
            receipt(&space, &request).await.outcome.as_str(),
            "DELIVERED"
        );
    }
    let caught = mails(&space.engines.maildir, &to);
    assert_eq!(caught.len(), 10);
    let connections: std::collections::BTreeSet<_> = caught
        .iter()
        .map(|mail| mail.header("X-Catcher-Connection"))
        .collect();
    assert_eq!(connections.len(), 1, "{connections:?}");
}

#[tokio::test]
async fn mail_goes_to_allowed_domains_and_to_addresses_only() {
    let space = Space::new().await;
    let allowed = [("EMAIL_ALLOWED_DOMAINS", "example.com,*.example.com")];
    let _notifier = notifier(&space, &space.engines.smtp, &allowed);

    for (request, to) in [
        ("elsewhere", "a@example.org"),
        ("number", "a@[127.0.0.1]"),
        ("dots", "a..b@example.com"),
        ("good", "a@eu.example.com"),
    ] {
        publish_to(&space, request, to).await;
    }

    for (request, ended) in [
        ("elsewhere", ("GIVEN_UP", None, 1, "address_refused")),
        ("number", ("GIVEN_UP", None, 1, "invalid_address")),
        ("dots", ("GIVEN_UP", None, 1, "invalid_address")),
        ("good", ("DELIVERED", Some(250), 1, "")),
    ] {
        let receipt = receipt(&space, request).await;
        assert_eq!(outcome(&receipt), ended, "{request}");
    }
}

#[tokio::test]
async fn nothing_is_sent_unencrypted_where_tls_is_required() {
    let space = Space::new().await;
    let to = format!("secret@{}.test", space.name());
    let plain = space.engines.smtp.replace("tls=none", "tls=required");
    let _notifier = notifier(&space, &plain, &[("NOTIFY_SCHEDULE", "100ms")]);

    publish_to(&space, "secret", &to).await;

    let receipt = receipt(&space, "secret").await;
    assert_eq!(outcome(&receipt), ("GIVEN_UP", None, 2, "not_encrypted"));
    assert!(mails(&space.engines.maildir, &to).is_empty());
}

#[tokio::test]
async fn a_servers_certificate_is_checked_before_anything_is_said() {
    let space = Space::new().await;
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/ca.pem");
    let authority = authority.display().to_string();
    for (option, scheme) in [("--starttls", "smtp"), ("--tls", "smtps")] {
        let catcher = Catcher::start(&space, option).await;
        let smtp = format!("{scheme}://ann:p%40ss@localhost:{}", catcher.port);
        let (unknown, known) = (format!("unknown{option}"), format!("known{option}"));
        let twice = ("NOTIFY_SCHEDULE", "100ms");

        // No authority that this machine trusts has signed the certificate.
        let mut without = notifier(&space, &smtp, &[twice]);
        publish_to(&space, &unknown, "a@example.org").await;
        let refused = receipt(&space, &unknown).await;
        stop(&mut without).await;
        let _with = notifier(&space, &smtp, &[twice, ("SSL_CERT_FILE", &authority)]);
        publish_to(&space, &known, "b@example.org").await;
        let taken = receipt(&space, &known).await;

        assert_eq!(outcome(&refused), ("GIVEN_UP", None, 2, "unreachable"));
        assert_eq!(outcome(&taken), ("DELIVERED", Some(250), 1, ""));
        assert!(mails(&catcher.maildir, "a@example.org").is_empty());
        let caught = mail(&catcher.maildir, "b@example.org").await;
        assert_eq!(caught.header("X-Catcher-Tls"), "yes");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_held_and_not_shown() {
    let space = Space::new().await;
    let address = space.engines.smtp.strip_prefix("smtp://").unwrap();
    let smtp = format!("smtp://ann:wrong@{address}");
    // The second attempt fails, and is not the last one.
    let settings = [("NOTIFY_SCHEDULE", "100ms,100ms"), ("LOG_LEVEL", "debug")];
    let notifier = notifier(&space, &smtp, &settings);

    publish_to(&space, "locked-out", "a@example.org").await;

    let receipt = receipt(&space, "locked-out").await;
    assert_eq!(
        outcome(&receipt),
        ("GIVEN_UP", Some(535), 3, "login_refused")
    );
    let output = notifier.output();
    assert!(output.contains("notification held"), "{output}");
    assert!(!output.contains("wrong"), "{output}");
    assert!(!output.contains("a@example.org"), "{output}");
}

#[tokio::test]
async fn a_broken_template_ends_the_start_and_doctor_names_it() {
    let space = Space::new().await;
    let folder = space.folder().join("templates");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("email.txt"), "{{ headlin }}").unwrap();
    let templates = [("NOTIFY_TEMPLATES", folder.to_str().unwrap())];

    let mut notifier = notifier(&space, &space.engines.smtp, &templates);
    let mut doctor = space.start_with(&["doctor", "--json"], &templates);

    assert_eq!(notifier.ended().await.code(), Some(64));
    let output = notifier.output();
    assert!(
        output.contains("NOTIFY_TEMPLATES: email.txt does not render"),
        "{output}"
    );
    doctor.ended().await;
    let report: Value = serde_json::from_str(&doctor.output()).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["check"] == "NOTIFY_TEMPLATES");
    assert_eq!(check.unwrap()["verdict"], "FAIL");
}

async fn stop(process: &mut Process) {
    process.signal(rustix::process::Signal::TERM);
    process.ended().await;
}
