//! What operators need of librdkafka's statistics.

use std::time::Duration;

use rdkafka::statistics::{Broker, Statistics, Window};

use crate::engines::telemetry::events::{KafkaClientReport, KafkaTotals};

/// Returns the state of a client, and what it has done since the report before, whose `totals` become those of this one.
pub(super) fn report(statistics: &Statistics, totals: &mut KafkaTotals) -> KafkaClientReport {
    let brokers = || statistics.brokers.values();
    let slowest = |window: fn(&Broker) -> Option<&Window>| {
        let values = brokers().filter_map(window).map(|window| window.p99);
        values.max().and_then(|value| u64::try_from(value).ok())
    };
    let up = brokers().filter(|broker| broker.state == "UP");
    let round_trip = slowest(|broker| broker.rtt.as_ref());
    let throttle = slowest(|broker| broker.throttle.as_ref());
    let now = totals_of(statistics);
    KafkaClientReport {
        // A broker has a second connection, for the group or for nothing but its first contact, without an id of its own.
        brokers_up: up.filter(|broker| broker.nodeid >= 0).count(),
        queued: statistics.msg_cnt,
        round_trip: Duration::from_micros(round_trip.unwrap_or_default()),
        throttle: Duration::from_millis(throttle.unwrap_or_default()),
        done: since(now, std::mem::replace(totals, now)),
    }
}

fn totals_of(statistics: &Statistics) -> KafkaTotals {
    let count = |total: i64| u64::try_from(total).unwrap_or_default();
    let sum = |errors: fn(&Broker) -> u64| statistics.brokers.values().map(errors).sum();
    KafkaTotals {
        sent: count(statistics.txmsgs),
        received: count(statistics.rxmsgs),
        sent_bytes: count(statistics.tx_bytes),
        received_bytes: count(statistics.rx_bytes),
        send_errors: sum(|broker| broker.txerrs),
        receive_errors: sum(|broker| broker.rxerrs),
        timeouts: sum(|broker| broker.req_timeouts),
        retries: sum(|broker| broker.txretries),
    }
}

/// Returns what was added. A total that fell is that of a new client, which counts from zero.
fn since(now: KafkaTotals, before: KafkaTotals) -> KafkaTotals {
    let added = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
    KafkaTotals {
        sent: added(now.sent, before.sent),
        received: added(now.received, before.received),
        sent_bytes: added(now.sent_bytes, before.sent_bytes),
        received_bytes: added(now.received_bytes, before.received_bytes),
        send_errors: added(now.send_errors, before.send_errors),
        receive_errors: added(now.receive_errors, before.receive_errors),
        timeouts: added(now.timeouts, before.timeouts),
        retries: added(now.retries, before.retries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(nodeid: i32, state: &str, p99: i64) -> Broker {
        Broker {
            nodeid,
            state: state.to_owned(),
            req_timeouts: 1,
            rtt: Some(Window {
                p99,
                ..Window::default()
            }),
            ..Broker::default()
        }
    }

    #[test]
    fn a_report_counts_what_was_added_and_a_new_client_counts_from_zero() {
        let mut totals = KafkaTotals::default();
        let mut statistics = Statistics {
            txmsgs: 5,
            ..Statistics::default()
        };
        assert_eq!(report(&statistics, &mut totals).done.sent, 5);
        statistics.txmsgs = 7;
        assert_eq!(report(&statistics, &mut totals).done.sent, 2);
        statistics.txmsgs = 1;
        assert_eq!(report(&statistics, &mut totals).done.sent, 1);
    }

    #[test]
    fn the_slowest_broker_counts_and_only_brokers_with_an_id_are_up() {
        let brokers = [
            broker(-1, "UP", 0),
            broker(1, "UP", 900),
            broker(2, "DOWN", 2500),
        ];
        let brokers = brokers.into_iter().enumerate();
        let statistics = Statistics {
            brokers: brokers.map(|(at, one)| (at.to_string(), one)).collect(),
            ..Statistics::default()
        };

        let report = report(&statistics, &mut KafkaTotals::default());

        assert_eq!(report.brokers_up, 1);
        assert_eq!(report.round_trip, Duration::from_micros(2500));
        assert_eq!(report.done.timeouts, 3);
    }
}
