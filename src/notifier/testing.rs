//! Values for the notifier's tests.

use std::collections::BTreeMap;

use crate::domain::{Event, EventType, Kind};

/// An event that completed and tells nobody.
pub(super) fn event() -> Event {
    Event {
        event_id: "92f851a0-b346-56ba-a96a-2664761e241d".to_owned(),
        request_id: "order-7".to_owned(),
        retry: 0,
        sequence: 2,
        batch_id: None,
        user_id: "alice".to_owned(),
        kind: Kind::Image,
        kind_of_event: EventType::Completed,
        occurred_at: 1_700_000_000_123,
        workflow_id: Some("order-7".to_owned()),
        run_id: Some("run".to_owned()),
        progress: None,
        result: None,
        batch: None,
        error: None,
        record: None,
        notify: None,
        metadata: BTreeMap::new(),
    }
}
