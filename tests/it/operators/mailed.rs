//! Failure digests for operators by mail, on a real mail server.

use std::collections::BTreeSet;

use super::{failed, hash_of, history_of};
use crate::notify::publish;
use crate::replay::keep;
use crate::support::mail::{Catcher, Mail, mails};
use crate::support::{Space, eventually};

/// Returns a space whose operators get failures at the mailbox `to` of `smtp`; mail to tenants is allowed only at
/// another domain.
async fn watched(smtp: &str, to: &str) -> Space {
    Space::with(&[
        ("SMTP_URL", smtp),
        ("EMAIL_FROM", "genflow@mail.test"),
        ("EMAIL_ALLOWED_DOMAINS", "tenants.test"),
        ("OPS_EMAIL", to),
    ])
    .await
}

/// Returns how many failures a mail reports, by its counts.
fn reported(mail: &Mail) -> usize {
    let text = mail.parsed().body_text(0).unwrap().into_owned();
    let counts = text.lines().filter_map(|line| line.split_once(" x "));
    counts
        .map(|(count, _)| count.parse::<usize>().unwrap())
        .sum()
}

fn ids(mails: &[Mail]) -> BTreeSet<String> {
    mails.iter().map(|mail| mail.header("Message-ID")).collect()
}

#[tokio::test]
async fn operators_get_the_first_failure_by_mail_at_once_and_the_others_in_one_and_replays() {
    let engines = tokio::task::spawn_blocking(crate::support::engines::engines);
    let engines = engines.await.unwrap();
    let to = format!("ops@{}.test", uuid::Uuid::new_v4().simple());
    let space = watched(&engines.smtp, &to).await;
    let notifier = space.start(&["notifier"]);
    let first = failed(&space);

    publish(&space, std::slice::from_ref(&first)).await;
    let alone = eventually("the first mail arrives", async || {
        mails(&engines.maildir, &to).pop()
    })
    .await;
    let mut others: Vec<_> = (0..40).map(|_| failed(&space)).collect();
    others.push(first.clone());
    publish(&space, &others).await;

    let all = eventually("all failures are reported", async || {
        let mails = mails(&engines.maildir, &to);
        (mails.iter().map(reported).sum::<usize>() >= 41).then_some(mails)
    })
    .await;
    let subject = format!("Request failed: {}", first.request_id);
    assert_eq!(alone.parsed().subject(), Some(subject.as_str()));
    assert!(alone.header("Auto-Submitted") == "auto-generated" && alone.header("To") == to);
    let html = alone.parsed().body_html(0).unwrap().into_owned();
    assert!(html.contains("content_policy") && html.contains("no &lt;such&gt; thing"));
    assert_eq!(all.iter().map(reported).sum::<usize>(), 41, "none twice");
    // Failures within the minute are one mail; on a very slow machine they may be two.
    assert!((2..=3).contains(&all.len()), "{} mails", all.len());
    assert_eq!(ids(&all).len(), all.len());
    let history = history_of(&space, &format!("digest/EMAIL/{}", hash_of(&to))).await;
    assert!(!history.contains(&to), "the history contains the address");
    assert!(!notifier.output().contains(&to));
    keep("digest-mail", history.as_bytes()).await;
}

#[tokio::test]
async fn what_the_mail_server_did_not_take_operators_get_later() {
    let space = Space::new().await;
    let catcher = Catcher::start(&space, "--starttls").await;
    // Refused by the server the first time.
    let to = "reply-451-once+ops@example.org";
    let space = watched(&catcher.smtp(), to).await;
    let notifier = space.start(&["notifier"]);

    let first = failed(&space);
    publish(&space, std::slice::from_ref(&first)).await;

    let caught = eventually("the mail arrives", async || {
        mails(&catcher.maildir, to).pop()
    })
    .await;
    assert_eq!(reported(&caught), 1);
    let said = notifier.output();
    assert!(
        said.contains("operators will be notified of failures later"),
        "{said}"
    );
    assert!(!said.contains("reply-451"), "{said}");
}
