//! Attempts at real endpoints, within the limits that they share.

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::Url;

use super::*;
use crate::roles::notifier::plan::Target;
use crate::roles::notifier::testing::{NO_REGISTRY, deliverer, event};

/// Starts an HTTP server that answers 200; returns its URL.
async fn well() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async || "ok");
    tokio::spawn(async move { axum::serve(listener, router).await });
    url.parse().unwrap()
}

fn notice(event: &Event) -> Notice<'_> {
    Notice {
        event,
        traceparent: None,
    }
}

fn of(user: &str) -> Event {
    Event {
        user_id: user.to_owned(),
        ..event()
    }
}

fn is_delivered(attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Sent(Tried::Delivered(_)))
}

/// Accepts mails, each `pause` after its end, and reports their ids.
async fn takes_slowly(stream: TcpStream, pause: Duration, taken: mpsc::UnboundedSender<String>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut in_message) = (String::new(), false);
    stream.write_all(b"220 hello\r\n").await.unwrap();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if let Some(id) = line.strip_prefix("Message-ID:") {
            taken.send(id.trim().to_owned()).unwrap();
        }
        let answer = match line.trim_end() {
            "." => {
                tokio::time::sleep(pause).await;
                in_message = false;
                "250 OK\r\n"
            }
            _ if in_message => "",
            "DATA" => {
                in_message = true;
                "354 go on\r\n"
            }
            _ => "250 OK\r\n",
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

#[tokio::test]
async fn a_mail_that_waits_for_others_is_not_cut_in_the_middle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (taken, mut takes) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let pause = Duration::from_millis(300);
            tokio::spawn(takes_slowly(stream, pause, taken.clone()));
        }
    });
    // Together they take longer than one attempt may.
    let smtp = format!("smtp://{address}?tls=none");
    let settings = [("NOTIFY_TRY_TIMEOUT", "2s"), ("SMTP_URL", &smtp)];
    let deliverer = deliverer(NO_REGISTRY, &settings);
    let events = (0..12).map(|n| Event {
        event_id: format!("mail-{n}"),
        ..event()
    });
    let events: Vec<_> = events.collect();
    let to = Notification::new(Target::Email("a@example.org".to_owned()));

    let notices: Vec<_> = events.iter().map(notice).collect();
    let attempts = join_all(notices.iter().map(|notice| deliverer.first(notice, &to))).await;

    let mut sent = 0;
    for attempt in attempts {
        match attempt {
            Attempt::Sent(Tried::Delivered(250)) => sent += 1,
            // It waited too long for a slot.
            Attempt::Closed(Closed::Full) => {}
            other @ (Attempt::Sent(_) | Attempt::Closed(_) | Attempt::Unserved) => {
                panic!("{other:?}")
            }
        }
    }
    assert!(sent > 0);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..sent {
        assert!(ids.insert(takes.recv().await.unwrap()), "{ids:?}");
    }
    assert!(takes.try_recv().is_err(), "no mail came twice");
}

#[tokio::test]
async fn a_message_that_waits_for_its_second_holds_no_slot_at_slack() {
    // One slot at each endpoint.
    let deliverer = deliverer(NO_REGISTRY, &[("NOTIFY_CONCURRENCY", "10")]);
    let slack = well().await;
    let at = |path| Notification::new(Target::Slack(slack.join(path).unwrap()));
    let (event, one, other) = (event(), at("/services/T/B/one"), at("/services/T/B/other"));
    let notice = notice(&event);
    assert!(is_delivered(&deliverer.first(&notice, &one).await));

    let mut waiting = Box::pin(deliverer.first(&notice, &one));
    let elsewhere = tokio::select! {
        biased;
        early = &mut waiting => panic!("not within a second: {early:?}"),
        elsewhere = deliverer.later(&notice, &other) => elsewhere,
    };

    assert!(is_delivered(&elsewhere), "{elsewhere:?}");
    assert!(is_delivered(&waiting.await));
}

#[tokio::test]
async fn a_user_with_a_host_for_each_request_leaves_slots_to_others() {
    // Eight attempts for each user.
    let deliverer = deliverer(NO_REGISTRY, &[("NOTIFY_CONCURRENCY", "16")]);
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let urls = silent.iter().map(|listener| {
        let url = format!("http://{}/", listener.local_addr().unwrap());
        Notification::new(Target::Webhook(url.parse().unwrap()))
    });
    let (alice, bob, stuck) = (of("alice"), of("bob"), urls.collect::<Vec<_>>());
    let to = Notification::new(Target::Webhook(well().await));
    let (from_alice, from_bob) = (notice(&alice), notice(&bob));

    let mut trying = join_all(stuck.iter().map(|to| deliverer.first(&from_alice, to)));
    let (ninth, other) = tokio::select! {
        biased;
        ended = &mut trying => panic!("no endpoint answers: {ended:?}"),
        ended = async {
            let ninth = deliverer.first(&from_alice, &to).await;
            (ninth, deliverer.first(&from_bob, &to).await)
        } => ended,
    };

    assert!(matches!(ninth, Attempt::Closed(Closed::Full)), "{ninth:?}");
    assert!(is_delivered(&other), "{other:?}");
}

#[tokio::test]
async fn a_mail_that_is_not_sent_shows_nothing_about_the_mail_server() {
    // It accepts connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smtp = format!("smtp://{}?tls=none", listener.local_addr().unwrap());
    let settings = [
        ("NOTIFY_TRY_TIMEOUT", "50ms"),
        ("SMTP_URL", &smtp),
        ("EMAIL_ALLOWED_DOMAINS", "example.org"),
    ];
    let deliverer = deliverer(NO_REGISTRY, &settings);
    let event = event();
    let notice = notice(&event);
    let to = |address: &str| Notification::new(Target::Email(address.to_owned()));

    for _ in 0..4 {
        let silent = deliverer.later(&notice, &to("a@example.org")).await;
        assert!(
            matches!(silent, Attempt::Sent(Tried::Later { status: None, .. })),
            "{silent:?}"
        );
    }
    let unsent = deliverer.later(&notice, &to("a@example.com")).await;
    let fifth = deliverer.later(&notice, &to("a@example.org")).await;
    let next = deliverer.later(&notice, &to("a@example.org")).await;

    assert!(
        matches!(unsent, Attempt::Sent(Tried::Refused { status: None, .. })),
        "{unsent:?}"
    );
    assert!(
        matches!(fifth, Attempt::Sent(Tried::Later { .. })),
        "{fifth:?}"
    );
    assert!(
        matches!(next, Attempt::Closed(Closed::Circuit(_))),
        "{next:?}"
    );
}
