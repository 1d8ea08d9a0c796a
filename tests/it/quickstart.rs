//! The README and the tutorial, followed literally: their commands and programs are run in order, as a person types them,
//! with the engines of the tests in place of those of the page, and the simulator in place of the paid provider. A command
//! is run, or [`NOT_RUN`] says why not.

mod page;
mod walk;

use genflow::domain::EventType;

use self::page::{blocks, commands};
use self::walk::{Instead, Walk};
use crate::support::eventually;
use crate::support::ledger::types;
use crate::support::mail::mails;
use crate::support::receiver::Receiver;

/// The commands that are not run, each with the reason.
const NOT_RUN: [(&str, &str); 4] = [
    (
        "cargo dev",
        "would build everything and start engines anew; `dev` runs the same program, and here `genflow all` takes its place",
    ),
    ("cargo test", "is what runs this"),
    ("cargo test --test it crashes::", "is run beside this"),
    (
        "IMAGE_API_KEY=r8_... cargo dev --real image",
        "needs a key that is paid for; `dev` runs it with the simulator",
    ),
];

/// How a command ends that is expected to print something, or to fail.
struct Outcome {
    /// The first that a command begins with counts.
    begins: &'static str,
    code: i32,
    prints: &'static [&'static str],
}

const OUTCOMES: [Outcome; 9] = [
    of(
        "genflow submit image --id fox-1 --prompt \"a blue fox\"",
        2,
        &["REJECTED", "request_id_conflict"],
    ),
    of("genflow submit image", 0, &["COMPLETED"]),
    of("genflow submit batch", 0, &["COMPLETED"]),
    of("genflow submit video", 0, &[]),
    of("genflow dlq list", 0, &["request_id_conflict", "fox-1"]),
    of("genflow doctor", 0, &["warn"]),
    of("genflow status fox-1", 0, &["fox-1", "completed"]),
    of("genflow costs", 0, &["flux-schnell"]),
    of("genflow health --ready", 0, &["answers 200"]),
];

const fn of(begins: &'static str, code: i32, prints: &'static [&'static str]) -> Outcome {
    Outcome {
        begins,
        code,
        prints,
    }
}

#[tokio::test]
async fn the_readme_works_as_written() {
    let receiver = Receiver::start(&[]).await;
    let mut walk = Walk::new().await;
    let engines = walk.space.engines;
    let instead: Instead = vec![
        ("https://example.com/hook", receiver.url.clone()),
        (
            "http://127.0.0.1:8081/apis/ccompat/v7",
            engines.registry.clone(),
        ),
        ("127.0.0.1:9092", engines.kafka.clone()),
        (
            "gen.requests",
            walk.space.config.kafka.topics.requests.clone(),
        ),
    ];

    walk.follow("README.md", &instead).await;

    for request in ["fox-1", "fox-2"] {
        assert_eq!(walk.paid(request).await, Some(1), "{request}");
    }
    receiver.wait(1).await;
    // Without Python, its packages or a way to them, nothing was sent.
    if walk.folder.join("send.py").exists() {
        let events = walk.space.story("order-7").await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
        assert_eq!(events[0].user_id, "alice");
    }
}

#[tokio::test]
async fn the_tutorial_works_as_written() {
    let mut walk = Walk::new().await;

    walk.follow("docs/tutorial.md", &Instead::new()).await;

    // fox-1 was sent twice, and another time with another content.
    for request in ["fox-1", "fox-2", "fox-3"] {
        assert_eq!(walk.paid(request).await, Some(1), "{request}");
        assert!(walk.folder.join("pictures").is_dir());
    }
    let maildir = &walk.space.engines.maildir;
    eventually("the mail about the batch", async || {
        let mails = mails(maildir, "you@example.com");
        let is_ours = |subject: &str| subject.contains("zoo-1");
        mails
            .iter()
            .any(|mail| is_ours(&mail.header("Subject")))
            .then_some(())
    })
    .await;
}

#[test]
fn each_command_that_is_not_run_is_still_on_a_page() {
    let pages = ["README.md", "docs/tutorial.md"].into_iter();
    let shell = pages
        .flat_map(blocks)
        .filter(|block| block.language == "sh");
    let written: Vec<_> = shell.flat_map(|block| commands(&block.text)).collect();

    for (command, _) in NOT_RUN {
        assert!(written.iter().any(|it| it == command), "{command}");
    }
    for Outcome { begins, .. } in OUTCOMES {
        assert!(written.iter().any(|it| it.starts_with(begins)), "{begins}");
    }
}
