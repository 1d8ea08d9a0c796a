//! Which notifications a person means.

use super::*;
use crate::contract::receipt::NotificationOutcome;
use crate::domain::{EventType, Kind, RecordPosition};

fn event(id: &str, event_type: EventType) -> (Event, Record) {
    let text = format!(
        r#"{{"event_id": "{id}", "type": "{}", "request_id": "order-7", "user_id": "ann", "kind": "{}",
            "sequence": 0, "retry": 0, "occurred_at": 1, "metadata": {{}}}}"#,
        event_type.as_str(),
        Kind::Image.as_str()
    );
    let record = Record {
        position: RecordPosition {
            topic: "gen.events".into(),
            partition: 0,
            offset: 0,
        },
        key: None,
        value: Some(id.as_bytes().to_vec()),
        headers: Vec::new(),
        timestamp: None,
        stamped_by_broker: false,
    };
    (serde_json::from_str(&text).unwrap(), record)
}

fn receipt(event: &str, channel: Channel, hash: &str) -> Receipt {
    Receipt {
        receipt_id: format!("{event}/{hash}"),
        event_id: event.to_owned(),
        request_id: "order-7".to_owned(),
        channel,
        target: "https://example.com/…".to_owned(),
        target_hash: hash.to_owned(),
        outcome: NotificationOutcome::Delivered,
        status: Some(204),
        tries: 1,
        first_try_at: 1,
        ended_at: 2,
        error: None,
    }
}

fn notified() -> Notified {
    Notified {
        events: vec![
            event("began", EventType::Started),
            event("ended", EventType::Completed),
            event("unheard", EventType::Progress),
        ],
        receipts: vec![
            receipt("began", Channel::Webhook, "a"),
            receipt("ended", Channel::Webhook, "a"),
            receipt("ended", Channel::Email, "b"),
        ],
    }
}

fn chosen(chosen: &Chosen) -> Vec<String> {
    let notified = notified();
    let found = notified.chosen(chosen);
    let receipts = found.into_iter().flat_map(|(receipts, ..)| receipts);
    receipts.map(|receipt| receipt.receipt_id.clone()).collect()
}

#[test]
fn without_a_choice_it_is_the_newest_event_that_had_notifications() {
    assert_eq!(chosen(&Chosen::default()), ["ended/a", "ended/b"]);
}

#[test]
fn an_event_a_channel_and_a_target_can_be_chosen() {
    let of = |event: &str| Chosen {
        event: Some(event.to_owned()),
        ..Chosen::default()
    };
    let mail = Chosen {
        channel: Some(Channel::Email),
        ..Chosen::default()
    };
    let slack = Chosen {
        channel: Some(Channel::Slack),
        ..Chosen::default()
    };
    let target = Chosen {
        target_hash: Some("a".to_owned()),
        ..of("ended")
    };

    assert_eq!(chosen(&of("started")), ["began/a"]);
    assert_eq!(chosen(&of("began")), ["began/a"]);
    assert_eq!(chosen(&mail), ["ended/b"]);
    assert_eq!(chosen(&target), ["ended/a"]);
    assert_eq!(chosen(&slack), [""; 0]);
}

#[test]
fn a_repeat_has_the_event_the_target_and_so_the_id_of_the_first_time() {
    let notified = notified();
    let (event, record) = &notified.events[1];

    let again = again(&notified.receipts[2], event, record, "console:ann");

    assert_eq!(again.parcel.workflow(), "deliver/ended/EMAIL/b");
    assert_eq!(again.parcel.event, Raw(b"ended".to_vec()));
    assert_eq!(
        (again.user.as_str(), again.asked_by.as_deref()),
        ("ann", Some("console:ann"))
    );
}
