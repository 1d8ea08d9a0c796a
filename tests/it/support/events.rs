//! Events for the notifier, and its receipts.

use apache_avro::reader::datum::GenericDatumReader;
use genflow::contract::avro;
use genflow::contract::avro::RECEIPT;
use genflow::contract::receipt::Receipt;
use genflow::contract::seal;
use genflow::contract::seal::Sealer;
use genflow::domain::{Event, EventType, Kind, Notify, Targets};
use genflow::engines::kafka::Record;
use uuid::Uuid;

use super::Space;

/// Returns the outcome of a new request, without targets.
pub(crate) fn completed() -> Event {
    Event {
        event_id: Uuid::new_v4().to_string(),
        request_id: format!("told-{}", &Uuid::new_v4().simple().to_string()[..8]),
        retry: 0,
        sequence: 1,
        batch_id: None,
        user_id: "ann".to_owned(),
        kind: Kind::Image,
        event_type: EventType::Completed,
        occurred_at: genflow::engines::clock::now(),
        workflow_id: None,
        run_id: None,
        progress: None,
        result: None,
        batch: None,
        error: None,
        record: None,
        notify: None,
        metadata: Default::default(),
        tried: Vec::new(),
    }
}

/// Returns the field `notify` of `event` for these targets.
pub(crate) fn sealed(space: &Space, event: &Event, targets: &Targets) -> Option<Notify> {
    let sealer = Sealer::new(&space.config.notify_keys).unwrap();
    Some(Notify {
        on: vec![event.event_type],
        sealed: sealer.seal(targets, seal::context(event)).unwrap(),
    })
}

/// Decodes a receipt.
pub(crate) fn receipt(record: &Record) -> Receipt {
    let (_, mut datum) = avro::unframe(record.value.as_deref().unwrap()).unwrap();
    let reader = GenericDatumReader::builder(&RECEIPT.schema)
        .build()
        .unwrap();
    apache_avro::from_value(&reader.read_value(&mut datum).unwrap()).unwrap()
}
