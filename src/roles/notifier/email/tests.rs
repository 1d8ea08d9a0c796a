//! Texts and headers of mails, for each type of event, and for hostile text.

mod examples;

use std::collections::BTreeMap;
use std::path::PathBuf;

use mail_parser::{Message, MessageParser, MimeHeaders};

use super::templates::Rendered;
use super::*;
use crate::contract::digest::tests::{failed, failures};
use crate::contract::digest::{FailedRequest, FailedRequests};
use crate::domain::{ErrorCode, Event, EventError, EventType, Progress};
use crate::roles::notifier::testing;

/// Returns the mail about an event as a mailbox gets it.
fn written(event: &Event) -> Vec<u8> {
    let from: FromAddress = "genflow <genflow@mail.test>".parse().unwrap();
    let to = email_address::recipient("alice@example.org").unwrap();
    let templates = Templates::load(None).unwrap();
    let notice = Notice {
        event,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
    let mail = message::about_event(&notice, &from, to, &templates).unwrap();
    mail.formatted()
}

/// Returns the mail about failures as a mailbox gets it.
fn written_to_operators(failures: &FailedRequests) -> Vec<u8> {
    let from = "genflow@mail.test".parse().unwrap();
    let to = email_address::recipient("ops@example.org").unwrap();
    let mail = message::about_failures(&DigestText::of(failures), &from, to).unwrap();
    mail.formatted()
}

fn parsed(raw: &[u8]) -> Message<'_> {
    MessageParser::default().parse(raw).unwrap()
}

fn header<'m>(mail: &'m Message<'_>, name: &'m str) -> &'m str {
    mail.header_raw(name).unwrap_or_default().trim()
}

/// Returns an event whose texts try to inject headers and HTML, in the fields of a failed request.
fn hostile() -> Event {
    let evil = "x\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script><img src=x onerror=y>";
    Event {
        request_id: evil.to_owned(),
        user_id: evil.to_owned(),
        batch_id: Some(evil.to_owned()),
        event_type: EventType::Failed,
        progress: Some(Progress {
            percent: 3,
            stage: evil.to_owned(),
            message: Some(evil.to_owned()),
        }),
        error: Some(EventError::new(ErrorCode::ProviderFailed, evil, true)),
        metadata: BTreeMap::from([(evil.to_owned(), evil.to_owned())]),
        ..testing::event()
    }
}

#[test]
fn a_mail_is_text_and_html_under_the_events_id() {
    let (_, event) = examples::all()
        .into_iter()
        .find(|(name, _)| *name == "completed")
        .unwrap();

    let raw = written(&event);

    let mail = parsed(&raw);
    assert!(raw.is_ascii());
    assert_eq!(
        header(&mail, "Message-ID"),
        format!("<{}@mail.test>", event.event_id)
    );
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(&mail, "X-Genflow-Request"), "hero-7");
    assert_eq!(
        header(&mail, "X-Genflow-Event"),
        "genflow.request.completed"
    );
    assert_eq!(header(&mail, "From"), "genflow <genflow@mail.test>");
    assert_eq!(header(&mail, "To"), "alice@example.org");
    assert_eq!(mail.subject(), Some("Image completed: hero-7"));
    assert!(header(&mail, "traceparent").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert!(mail.date().is_some());
    assert_eq!(mail.content_type().unwrap().subtype(), Some("alternative"));
    let text = mail.body_text(0).unwrap();
    assert!(text.contains("https://cdn.example.com/hero-7/0-9f86d081884c7d65.png?expires=3600"));
    assert!(
        !text.contains("s3://"),
        "a mail does not show where outputs are stored"
    );
    let html = mail.body_html(0).unwrap();
    let source = "src=\"https:&#x2f;&#x2f;cdn.example.com&#x2f;hero-7&#x2f;0-9f86d081884c7d65.png?expires=3600\"";
    assert_eq!(html.matches(source).count(), 1, "{html}");
}

#[test]
fn mails_of_one_request_are_one_thread() {
    let events: BTreeMap<_, _> = examples::all().into_iter().collect();
    let of = |event: &Event| {
        let raw = written(event);
        let mail = parsed(&raw);
        [header(&mail, "References"), header(&mail, "In-Reply-To")].map(ToOwned::to_owned)
    };
    let retried = Event {
        retry: 1,
        run_id: Some("another".to_owned()),
        ..events["failed"].clone()
    };

    let thread = format!("<{}@mail.test>", events["started"].thread_id());
    for event in [&events["started"], &events["failed"], &retried] {
        assert_eq!(of(event), [thread.clone(), thread.clone()]);
    }
    assert_ne!(of(&hostile())[0], thread);
}

#[test]
fn text_of_users_and_providers_adds_no_header_and_no_html() {
    let raw = written(&hostile());

    let mail = parsed(&raw);
    let names: Vec<_> = mail.headers().iter().map(|header| header.name()).collect();
    assert!(!names.contains(&"Bcc"), "{names:?}");
    let text = String::from_utf8(raw.clone()).unwrap();
    let (headers, _) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        !headers
            .lines()
            .any(|line| line.to_ascii_lowercase().starts_with("bcc:"))
    );
    let html = mail.body_html(0).unwrap();
    assert!(!html.contains("<script"), "{html}");
    assert!(!html.contains("<img"), "{html}");
    assert!(html.contains("&lt;script&gt;"));
    let text = mail.body_text(0).unwrap();
    assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
}

#[test]
fn many_failures_are_one_mail_of_counts_and_of_the_first() {
    let raw = written_to_operators(&failures(5000));

    let mail = parsed(&raw);
    assert_eq!(mail.subject(), Some("5000 requests failed"));
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(
        header(&mail, "X-Genflow-Event"),
        "genflow.operators.failures"
    );
    assert_eq!(header(&mail, "To"), "ops@example.org");
    assert!(header(&mail, "Message-ID").ends_with("@mail.test>"));
    for body in [mail.body_text(0).unwrap(), mail.body_html(0).unwrap()] {
        assert!(body.contains("content_policy") && body.contains("2500"));
        assert!(body.contains("order-19") && !body.contains("order-20"));
        assert!(body.contains("and 4980 more"), "{body}");
    }
}

#[test]
fn text_of_users_adds_no_header_and_no_html_to_a_mail_to_operators() {
    let evil = "x\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script>";
    let hostile = FailedRequest {
        request_id: evil.to_owned(),
        user_id: evil.to_owned(),
        message: evil.to_owned(),
        event_id: evil.to_owned(),
        ..failed(1, "timed_out")
    };

    let raw = written_to_operators(&hostile.into());

    let mail = parsed(&raw);
    assert!(mail.header_raw("Bcc").is_none());
    let html = mail.body_html(0).unwrap();
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
    let text = mail.body_text(0).unwrap();
    assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
}

#[test]
fn a_subject_is_short_and_one_line() {
    let event = Event {
        request_id: "ü".repeat(5000),
        ..testing::event()
    };

    let raw = written(&event);

    let subject = parsed(&raw).subject().unwrap().to_owned();
    assert!(subject.starts_with("Image completed: üü"), "{subject}");
    assert!(subject.chars().count() <= 150);
}

#[test]
fn an_event_of_a_later_version_is_mailed_too() {
    let event = Event {
        kind: crate::domain::Kind::Unknown,
        event_type: EventType::Unknown,
        ..testing::event()
    };

    let raw = written(&event);

    assert_eq!(parsed(&raw).subject(), Some("Request changed: order-7"));
}

/// A folder of templates, removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("genflow-mail-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_file_replaces_the_template_of_its_name_alone_and_html_stays_escaped() {
    let folder = Folder::with(&[
        (
            "email.html",
            "<p>{{ error.message if error else headline }}</p>",
        ),
        ("email.subject", "{{ request }}\n"),
        ("..data", "what Kubernetes puts there"),
    ]);

    let templates = Templates::load(Some(&folder.0)).unwrap();

    let rendered = templates.render(&hostile()).unwrap();
    assert!(rendered.html.starts_with("<p>x Bcc:"), "{}", rendered.html);
    assert!(rendered.html.contains("&lt;script&gt;"));
    assert!(rendered.text.starts_with("Image failed"));
}

#[test]
fn a_faulty_template_is_reported_with_its_name_before_it_is_used() {
    for (name, text, reported) in [
        ("email.txt", "{% if %}", "email.txt is not a valid template"),
        (
            "email.txt",
            "{{ headlin }}",
            "email.txt does not render an event with every field",
        ),
        (
            "email.txt",
            "{{ error.code }}",
            "email.txt does not render an event with few fields",
        ),
        (
            "email.txt",
            "{% if error %}{{ error.cod }}{% endif %}",
            "email.txt does not render an event with every field",
        ),
        (
            "email.subject",
            " \n\t",
            "email.subject is empty for an event with every field; expected one line of text",
        ),
        (
            "email.subject",
            "{% if error %}{{ request }} failed{% endif %}",
            "email.subject is empty for an event with few fields; expected one line of text",
        ),
        ("email.htm", "x", "matches no template"),
        ("digest.txt", "x", "matches no template"),
    ] {
        let folder = Folder::with(&[(name, text)]);

        let fault = check_templates(Some(&folder.0)).unwrap_err().to_string();

        assert!(fault.contains(reported), "{fault}");
    }
    let missing = check_templates(Some(Path::new("/nonexistent"))).unwrap_err();
    assert_eq!(missing.to_string(), "/nonexistent cannot be read");
}

fn shown(name: &str, subject: &str, text: &str) -> String {
    let text = text.trim_end();
    format!("\n### {name}\n\n```text\nSubject: {subject}\n\n{text}\n```\n")
}

/// Checks that the docs show what is rendered. To write it into them: `GENFLOW_WRITE_EXAMPLES=1 cargo test
/// --lib docs_show`.
#[test]
fn the_docs_show_every_example_as_it_is_rendered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/email.md");
    let docs = std::fs::read_to_string(&path).unwrap();
    let templates = Templates::load(None).unwrap();
    let (intro, _) = docs
        .split_once("<!-- examples: rendered, not written -->")
        .unwrap();
    let mut expected = format!("{intro}<!-- examples: rendered, not written -->\n");
    for (name, event) in examples::all() {
        let Rendered { subject, text, .. } = templates.render(&event).unwrap();
        expected.push_str(&shown(name, &subject, &text));
    }
    let raw = written_to_operators(&examples::failures());
    let mail = parsed(&raw);
    let (subject, text) = (mail.subject().unwrap(), mail.body_text(0).unwrap());
    expected.push_str(&shown("failures", subject, &text.replace("\r\n", "\n")));

    if std::env::var_os("GENFLOW_WRITE_EXAMPLES").is_some() {
        let html = templates.render(&examples::all()[2].1).unwrap().html;
        std::fs::write(&path, &expected).unwrap();
        std::fs::write(std::env::temp_dir().join("genflow-mail.html"), html).unwrap();
    }
    let docs = std::fs::read_to_string(&path).unwrap();
    assert!(
        docs == expected,
        "docs/email.md does not show what is rendered:\n{expected}"
    );
}
