//! Test values for the notifier.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::Deliverer;
use super::plan::{Notification, Target};
use crate::contract::avro;
use crate::contract::avro::EVENT;
use crate::contract::delivery::{Parcel, Raw};
use crate::contract::seal;
use crate::contract::seal::Sealer;
use crate::domain::{Event, EventType, Notify, Targets};
use crate::engines::config::Config;
use crate::engines::kafka::producer::Producer;
use crate::engines::registry::Registry;

/// An address at which no registry answers.
pub(super) const NO_REGISTRY: &str = "http://127.0.0.1:9";

/// Returns these settings, plus those that allow targets on this machine.
pub(super) fn config(settings: &[(&str, &str)]) -> Config {
    let here = [
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
    ];
    Config::of(&[&here, settings].concat()).unwrap()
}

/// Returns a deliverer with these settings that may call this machine.
pub(super) fn deliverer(registry: &str, settings: &[(&str, &str)]) -> Deliverer {
    let config = config(&[&[("SCHEMA_REGISTRY_URL", registry)], settings].concat());
    let registry = Arc::new(Registry::new(&config.schema_registry));
    let producer = Arc::new(Producer::new(&config.kafka, "test").unwrap());
    let sealer = Sealer::new(&config.notify_keys).unwrap();
    Deliverer::new(&config, registry, producer, sealer).unwrap()
}

/// Starts a registry that answers every schema id with the schema of events; returns its address.
pub(super) async fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = async || json!({ "schema": EVENT.text }).to_string();
    let router = Router::new().route("/schemas/ids/{id}", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Returns [`event`] with these targets sealed into it.
pub(super) fn asking(targets: &Targets) -> Event {
    let mut event = event();
    let sealer = Sealer::new(&config(&[]).notify_keys).unwrap();
    event.notify = Some(Notify {
        on: vec![EventType::Completed],
        sealed: sealer.seal(targets, seal::context(&event)).unwrap(),
    });
    event
}

/// Returns the parcel of an event for one target.
pub(super) fn parcel(event: &Event, target: Target) -> Parcel {
    let notification = Notification::new(target);
    Parcel {
        event: Raw(avro::frame(7, &avro::write(&EVENT, event).unwrap())),
        event_id: event.event_id.clone(),
        request_id: event.request_id.clone(),
        occurred_at: event.occurred_at,
        traceparent: None,
        channel: notification.channel(),
        target_hash: notification.hash,
    }
}

/// Returns a `COMPLETED` event without targets.
pub(super) fn event() -> Event {
    Event {
        event_id: "92f851a0-b346-56ba-a96a-2664761e241d".to_owned(),
        request_id: "order-7".to_owned(),
        user_id: "alice".to_owned(),
        event_type: EventType::Completed,
        occurred_at: 1_700_000_000_123,
        workflow_id: Some("order-7".to_owned()),
        run_id: Some("run".to_owned()),
        ..Event::for_test(0, 2)
    }
}
