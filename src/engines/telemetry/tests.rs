//! Compares the catalogue with what events emit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::events::*;
use super::metrics::{CATALOGUE, MetricKind};
use super::*;
use crate::domain::{Action, ErrorCode, EventType, Kind, ProviderName, RecordPosition, RequestId};

mod grafana;

/// Emits every event once and returns the metrics page.
fn page_of_all_events() -> String {
    let recorder = metrics::recorder().unwrap();
    let handle = recorder.handle();
    ::metrics::with_local_recorder(&recorder, emit_all);
    handle.render()
}

fn emit_all() {
    let position = &RecordPosition {
        topic: "gen.requests".to_owned(),
        partition: 1,
        offset: 7,
    };
    let request_id = &RequestId::try_from("order-7".to_owned()).unwrap();
    let topic = position.topic.as_str();
    let elapsed = Duration::from_millis(1500);
    let provider = ProviderName::Replicate;
    let error = &io::Error::other("no luck");

    RequestStarted {
        position,
        request_id,
        kind: Kind::Image,
        elapsed,
    }
    .emit();
    RequestDecoded { elapsed }.emit();
    RequestRepeated {
        position,
        request_id,
        kind: Kind::Image,
    }
    .emit();
    CommandHandled {
        position,
        action: Action::Cancel,
        outcome: "cancelled",
    }
    .emit();
    RecordRejected {
        position,
        reason: ErrorCode::Undecodable,
        error,
    }
    .emit();
    RecordTruncated { position }.emit();
    RecordHeld {
        position,
        cause: "temporal_unavailable",
        error,
        tries: 1,
    }
    .emit();
    RecordHandled { topic, elapsed }.emit();
    RecordsInFlight { topic, count: 3 }.emit();
    ConsumerLag {
        topic,
        partition: 1,
        records: 9,
    }
    .emit();
    ConsumerPaused {
        topic,
        cause: "full",
        paused: true,
    }
    .emit();
    OldestUnfinished {
        topic,
        age: elapsed,
    }
    .emit();
    Rebalanced {
        topic,
        partitions: 6,
    }
    .emit();
    EventPublished {
        event_type: EventType::Completed,
    }
    .emit();
    ProviderCalled {
        provider,
        step: "submit",
        outcome: "ok",
        elapsed,
    }
    .emit();
    ProviderStateUnknown {
        provider,
        state: "pondering",
    }
    .emit();
    RunBegan {
        kind: Kind::Video,
        waited: elapsed,
    }
    .emit();
    RunEnded {
        request_id: request_id.as_str(),
        kind: Kind::Video,
        outcome: EventType::Completed,
        code: Some(ErrorCode::ProviderFailed),
        elapsed,
        worked: Some(elapsed),
    }
    .emit();
    RunSwept {
        workflow: "order-7",
        timed_out: false,
    }
    .emit();
    SweepWhole {
        sweep: "runs",
        at: std::time::SystemTime::now(),
    }
    .emit();
    OutputStored { bytes: 1024 }.emit();
    StoreFailed {
        place: "disk",
        cause: "full",
        error,
    }
    .emit();
    ProviderCost {
        provider,
        usd: 0.25,
    }
    .emit();
    SlotTaken { queue: "main" }.emit();
    SlotTaken { queue: "fetch" }.emit();
    SlotFreed { queue: "fetch" }.emit();
    MemoryMeasured {
        process: 1 << 24,
        measured: 1 << 30,
    }
    .emit();
    MemoryLimitOutOfReach {
        limit: 1,
        used: 2,
        total: 3,
    }
    .emit();
    TempSwept { folders: 2 }.emit();
    NotificationEnded {
        channel: "WEBHOOK",
        outcome: "DELIVERED",
        elapsed,
        tries: 1,
    }
    .emit();
    NotificationRetried {
        channel: "WEBHOOK",
        error,
        tries: 1,
    }
    .emit();
    OpsTold {
        channel: "SLACK",
        failures: 1,
        outcome: "delivered",
        error: None,
    }
    .emit();
    NotificationTried {
        channel: "WEBHOOK",
        outcome: "later",
        elapsed,
    }
    .emit();
    TriesInFlight { count: 3 }.emit();
    NotificationHandedOver {
        channel: "WEBHOOK",
        why: "not_delivered",
        is_new: true,
    }
    .emit();
    NotificationLost {
        workflow: "deliver/event/WEBHOOK/hash",
        error,
    }
    .emit();
    CircuitsOpen { count: 1 }.emit();
    CallRefused {
        caller: "webhook",
        reason: "address",
    }
    .emit();
    RoleStarted { role: "intake" }.emit();
    RoleStopped { role: "intake" }.emit();
    ReadinessChanged {
        role: "intake",
        ready: true,
        why: "",
    }
    .emit();
}

/// Returns the labels of each series on a metrics page, histogram parts under the histogram's name.
fn labels(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for line in page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let names = labels
            .split("\",")
            .filter_map(|label| label.split_once('='));
        let names = names
            .map(|(label, _)| label.to_owned())
            .filter(|label| label != "le");
        all.entry(base(name).to_owned()).or_default().extend(names);
    }
    all
}

/// Strips the suffix that Prometheus appends to the name of a histogram.
fn base(series: &str) -> &str {
    let histogram = |name: &&str| {
        CATALOGUE
            .iter()
            .any(|metric| metric.name == *name && matches!(metric.kind, MetricKind::Histogram(_)))
    };
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|part| series.strip_suffix(part).filter(histogram))
        .unwrap_or(series)
}

#[test]
fn the_events_count_what_the_catalogue_says_and_nothing_else() {
    let page = page_of_all_events();

    let catalogue: BTreeMap<String, BTreeSet<String>> = CATALOGUE
        .iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned());
            (metric.name.to_owned(), labels.collect())
        })
        .collect();
    assert_eq!(labels(&page), catalogue);
    for metric in CATALOGUE {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        };
        assert!(
            page.contains(&format!("# TYPE {} {kind}\n", metric.name)),
            "{}",
            metric.name
        );
        assert!(
            page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{}",
            metric.name
        );
    }
}

#[test]
fn names_tell_their_unit_and_buckets_rise() {
    for metric in CATALOGUE {
        assert!(metric.name.starts_with("genflow_"), "{}", metric.name);
        let total = metric.name.ends_with("_total");
        assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
        if let MetricKind::Histogram(bounds) = metric.kind {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
        }
    }
}

#[test]
fn values_are_in_base_units() {
    let page = page_of_all_events();

    for line in [
        "genflow_run_seconds_sum{kind=\"VIDEO\",outcome=\"COMPLETED\"} 1.5",
        "genflow_run_seconds_bucket{kind=\"VIDEO\",outcome=\"COMPLETED\",le=\"2.5\"} 1",
        "genflow_run_seconds_bucket{kind=\"VIDEO\",outcome=\"COMPLETED\",le=\"1\"} 0",
        "genflow_runs_failed_total{kind=\"VIDEO\",code=\"provider_failed\"} 1",
        "genflow_provider_cost_usd_sum{provider=\"replicate\"} 0.25",
        "genflow_stored_bytes_total 1024",
        "genflow_oldest_unfinished_record_seconds{topic=\"gen.requests\"} 1.5",
        "genflow_requests_total{outcome=\"duplicate\",kind=\"IMAGE\"} 1",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is not in\n{page}"
        );
    }
}

#[test]
fn a_second_init_gives_the_same_handle() {
    let log = config::Log {
        filter: "off".to_owned(),
        json: true,
        file: None,
    };

    let first = init(&log).unwrap();
    let second = init(&log).unwrap();
    ::metrics::counter!("twice").increment(1);

    assert!(first.render().contains("twice 1"));
    assert!(second.render().contains("twice 1"));
}

#[test]
fn a_log_file_is_appended_to_a_line_of_json_each() {
    let path = std::env::temp_dir().join(format!("genflow-log-{}", std::process::id()));
    std::fs::write(&path, "before\n").unwrap();
    let log = config::Log {
        filter: "warn,genflow=info".to_owned(),
        json: true,
        file: Some(path.clone()),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.filter))
        .with_writer(writer(&log).unwrap())
        .json()
        .finish();

    tracing::subscriber::with_default(subscriber, || {
        RoleStarted { role: "intake" }.emit();
        EventPublished {
            event_type: EventType::Started,
        }
        .emit();
        for tries in 1..=5 {
            let error = &io::Error::other("no luck");
            NotificationRetried {
                channel: "EMAIL",
                error,
                tries,
            }
            .emit();
        }
    });

    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("before"));
    let lines: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line["fields"]["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "role started",
            "notification held",
            "notification held",
            "notification held"
        ]
    );
    assert_eq!(lines[1]["fields"]["error"], "no luck");
    assert_eq!(lines[3]["fields"]["tries"], 4);
}

#[test]
fn a_log_file_is_for_this_user_alone_and_no_link_is_followed() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let folder = std::env::temp_dir().join(format!("genflow-logs-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let log = |file: &str| config::Log {
        filter: "off".to_owned(),
        json: true,
        file: Some(folder.join(file)),
    };
    symlink(folder.join("other"), folder.join("link")).unwrap();

    check(&log("new")).unwrap();
    let linked = check(&log("link")).unwrap_err();

    let mode = std::fs::metadata(folder.join("new")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(matches!(linked, Error::File { .. }), "{linked}");
    assert!(!folder.join("other").exists());
    std::fs::remove_dir_all(folder).unwrap();
}
