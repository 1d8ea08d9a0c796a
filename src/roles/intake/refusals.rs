//! Refuses records for their key, their age or their sender, whatever their values are.

use std::time::Duration;

use anyhow::anyhow;

use super::failures::reject;
use crate::contract::headers::{ACCEPT_OLD, FIRST_SEEN};
use crate::domain::{ErrorCode, RequestId};
use crate::engines::config::api_keys::Denied;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{Failure, Rejection};

/// Checks that the record key is the request id. Otherwise the records of one request could be on
/// two partitions, out of order, and many requests could share one key.
pub(super) fn check_key(record: &Record, id: &RequestId) -> Result<(), Failure> {
    if record.key.as_deref() == Some(id.as_str().as_bytes()) {
        return Ok(());
    }
    let is = match &record.key {
        Some(key) => format!(
            "{:?}",
            String::from_utf8_lossy(key)
                .chars()
                .take(LONGEST_SHOWN)
                .collect::<String>()
        ),
        None => "missing".to_owned(),
    };
    let problem = anyhow!("the record key is {is}, expected the request_id {id}");
    Err(reject(ErrorCode::Invalid, problem))
}

/// Limit on the characters of a key in an error.
const LONGEST_SHOWN: usize = 128;

/// Checks that a record is not older than the dedup window. Its age is that of its oldest time: its
/// timestamp, `requested_at`, or its first arrival if it was redriven.
///
/// Only a timestamp that the broker set can point to a fault of this system, such as a wrong clock
/// or window. The producer controls all other times, so they do not count for the DLQ fuse.
pub(super) fn check_age(
    record: &Record,
    requested_at: Option<i64>,
    window: Duration,
    now: i64,
) -> Result<(), Failure> {
    if record.header(ACCEPT_OLD) == Some("true") {
        return Ok(());
    }
    let is_past = |millis: i64| {
        u128::try_from(now.saturating_sub(millis)).is_ok_and(|age| age > window.as_millis())
    };
    let first_seen = record.header(FIRST_SEEN).and_then(|text| text.parse().ok());
    let times = record.timestamp.into_iter().chain(requested_at);
    if !times.chain(first_seen).any(is_past) {
        return Ok(());
    }
    let error = anyhow!("the window is {} s", window.as_secs())
        .context("the request is older than the dedup window");
    let rejection = Rejection::new(ErrorCode::TooOld, error);
    let by_broker = record.timestamp.filter(|_| record.stamped_by_broker);
    Err(Failure::Reject(match by_broker.is_some_and(is_past) {
        true => rejection,
        false => rejection.by_producer(),
    }))
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let rejection = Rejection::new(ErrorCode::Unauthorized, denied);
        Self::Reject(match denied {
            // A missing or unknown key may also mean that `API_KEYS` is wrong.
            Denied::Missing | Denied::Unknown => rejection,
            Denied::OtherUser => rejection.by_producer(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::kafka::consumer::RejectionFault;

    const NOW: i64 = 1_000_000;
    const OLD: i64 = NOW - 10_001;
    const WINDOW: Duration = Duration::from_secs(10);

    fn record(timestamp: i64, stamped_by_broker: bool, headers: &[(&str, &str)]) -> Record {
        Record {
            key: Some(b"order-7".to_vec()),
            timestamp: Some(timestamp),
            stamped_by_broker,
            ..Record::of(0, headers)
        }
    }

    fn fault(record: &Record, requested_at: Option<i64>) -> Option<RejectionFault> {
        match check_age(record, requested_at, WINDOW, NOW) {
            Ok(()) => None,
            Err(Failure::Reject(rejection)) => Some(rejection.fault),
            Err(Failure::Retry(..)) => panic!("it can never succeed"),
        }
    }

    #[test]
    fn only_a_timestamp_of_the_broker_says_that_the_system_may_be_at_fault() {
        let by_broker = record(OLD, true, &[]);
        assert_eq!(fault(&by_broker, None), Some(RejectionFault::Unclear));
        assert_eq!(fault(&by_broker, Some(OLD)), Some(RejectionFault::Unclear));
        let by_producer = record(OLD, false, &[]);
        assert_eq!(fault(&by_producer, None), Some(RejectionFault::Producer));
        let young = record(NOW, true, &[]);
        assert_eq!(fault(&young, Some(OLD)), Some(RejectionFault::Producer));
        let redriven = record(NOW, true, &[(FIRST_SEEN, &OLD.to_string())]);
        assert_eq!(fault(&redriven, None), Some(RejectionFault::Producer));
    }

    #[test]
    fn a_record_as_old_as_the_window_is_taken_and_an_older_one_if_an_operator_accepts_it() {
        assert_eq!(fault(&record(NOW - 10_000, true, &[]), Some(NOW)), None);
        let accepted = record(OLD, true, &[(ACCEPT_OLD, "true")]);
        assert_eq!(fault(&accepted, Some(OLD)), None);
    }

    #[test]
    fn a_good_key_of_another_user_is_the_producers_fault_and_a_missing_one_may_not_be() {
        for (denied, wanted) in [
            (Denied::OtherUser, RejectionFault::Producer),
            (Denied::Missing, RejectionFault::Unclear),
            (Denied::Unknown, RejectionFault::Unclear),
        ] {
            let Failure::Reject(rejection) = denied.into() else {
                panic!("it can never succeed");
            };
            assert_eq!(rejection.fault, wanted, "{denied:?}");
        }
    }

    #[test]
    fn the_key_of_a_record_is_its_requests_id() {
        let id = |text: &str| RequestId::try_from(text.to_owned()).unwrap();
        let mut record = record(NOW, true, &[]);
        assert!(check_key(&record, &id("order-7")).is_ok());
        assert!(check_key(&record, &id("order-8")).is_err());
        record.key = None;
        assert!(check_key(&record, &id("order-7")).is_err());
    }
}
