//! The limits of mails to tenants: which addresses, how many, about which events.

use genflow::domain::{EventType, Single, Spec, Targets};
use serde_json::Value;

use super::{notifier, outcome, publish_to, receipt};
use crate::support::engines::elsewhere;
use crate::support::events;
use crate::support::mail::mails;
use crate::support::receiver::Receiver;
use crate::support::requests::image;
use crate::support::{Space, Watched};

#[tokio::test]
async fn outside_of_development_mail_goes_to_tenants_only_where_domains_are_set() {
    let space = Space::with(&elsewhere().await).await;
    let mut closed = notifier(&space, &space.engines.smtp, &[]);

    let to = format!("a@{}.test", space.name());
    publish_to(&space, "unserved", &to).await;

    let ended = receipt(&space, "unserved").await;
    assert_eq!(outcome(&ended), ("SKIPPED", None, 0, "channel_not_served"));
    super::stop(&mut closed).await;
    let _open = notifier(
        &space,
        &space.engines.smtp,
        &[("EMAIL_ALLOWED_DOMAINS", "*")],
    );
    publish_to(&space, "served", &to).await;
    let ended = receipt(&space, "served").await;
    assert_eq!(outcome(&ended), ("DELIVERED", Some(250), 1, ""));
    assert_eq!(mails(&space.engines.maildir, &to).len(), 1);
}

#[tokio::test]
async fn an_address_gets_no_more_mails_than_its_limit_and_others_theirs() {
    let space = Space::new().await;
    let (victim, other) = (
        format!("victim@{}.test", space.name()),
        format!("other@{}.test", space.name()),
    );
    let settings = [
        ("SMTP_URL", space.engines.smtp.as_str()),
        ("EMAIL_FROM", "genflow@mail.test"),
        ("EMAIL_ADDRESS_LIMIT", "2"),
        ("EMAIL_USER_LIMIT", "5"),
    ];
    let watched = Watched::start(&space, "notifier", &settings);
    let topic = &space.config.kafka.topics.events;

    for number in 0..4 {
        publish_to(&space, &format!("to-victim-{number}"), &victim).await;
    }
    space.caught_up("notifier", topic).await;
    for number in 0..2 {
        publish_to(&space, &format!("to-other-{number}"), &other).await;
    }
    space.caught_up("notifier", topic).await;

    // Two of the four are within the limit of the address. All four count toward the user's limit of five, so one
    // mail is left for the other address.
    assert_eq!(mails(&space.engines.maildir, &victim).len(), 2);
    assert_eq!(mails(&space.engines.maildir, &other).len(), 1);
    let handed = watched.sum("genflow_notifications_handed_over_total").await;
    assert_eq!(handed, 3.0, "the other mails wait in their workflows");
    assert_eq!(watched.sum("genflow_notification_circuits_open").await, 0.0);
}

#[tokio::test]
async fn an_invalid_request_is_answered_by_webhook_and_not_by_mail() {
    let space = Space::new().await;
    let smtp = space.engines.smtp.as_str();
    let settings = [("SMTP_URL", smtp), ("EMAIL_FROM", "genflow@mail.test")];
    let _all = space.start_with(&["all"], &settings);
    let receiver = Receiver::start(&[]).await;
    let mut request = image("invalid");
    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        image.width = Some(1);
    }
    let to = format!("a@{}.test", space.name());
    request.targets = Targets::parse(Some(&receiver.url), Some(&to), None).unwrap();

    space.send(&request).await;

    let reported = receiver.wait(1).await.remove(0);
    let body: Value = serde_json::from_slice(&reported.body).unwrap();
    assert_eq!(body["data"]["error"]["code"], "invalid");
    let mut receipts = space.read(&space.config.kafka.topics.notifications).await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let receipt = events::receipt(&receipts.next().await);
        ends.push(format!(
            "{:?} {}",
            receipt.channel,
            receipt.outcome.as_str()
        ));
    }
    ends.sort();
    assert_eq!(ends, ["Email SKIPPED", "Webhook DELIVERED"]);
    assert!(mails(&space.engines.maildir, &to).is_empty());
    let events = space.all_events(request.id.as_str()).await;
    assert_eq!(events[0].event_type, EventType::Rejected);
}
