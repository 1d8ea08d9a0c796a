//! Compares the catalogue with what events emit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::events::*;
use super::metrics::{CATALOGUE, MetricKind};
use super::*;
use crate::domain::{
    Action, Cost, CostSource, ErrorCode, EventType, Kind, ProviderName, RecordPosition, RequestId,
};

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
    let provider = ProviderName::REPLICATE;
    let error = &io::Error::other("no luck");

    request_started(position, request_id, Kind::Image, elapsed, Some(elapsed));
    request_decoded(elapsed);
    request_repeated(position, request_id, Kind::Image);
    command_handled(position, Action::Cancel, "cancelled");
    record_rejected(position, ErrorCode::Undecodable, error);
    record_truncated(position);
    record_held(position, "temporal_unavailable", error, 1);
    record_handled(topic, elapsed);
    records_in_flight(topic, 3);
    consumer_lag(topic, 1, 9);
    consumer_paused(topic, "full", true);
    oldest_unfinished(topic, elapsed);
    rebalanced(topic, 6);
    event_published(EventType::Completed);
    provider_called(provider, "submit", "ok", elapsed);
    provider_state_unknown(provider, "pondering");
    run_declined(provider, ErrorCode::ProviderAuth);
    callback_taken(provider, "woken");
    callback_missed(provider);
    run_began(Kind::Video, elapsed);
    let code = Some(ErrorCode::ProviderFailed);
    let outcome = EventType::Completed;
    run_ended(
        "order-7",
        false,
        Kind::Video,
        outcome,
        code,
        elapsed,
        Some(elapsed),
    );
    run_swept("order-7", false);
    sweep_whole("runs", std::time::SystemTime::now());
    output_stored(1024);
    store_failed("disk", "full", error);
    let cost = Cost {
        usd: 0.25,
        source: CostSource::Metered,
    };
    generation_priced(provider, "flux", "HIGH", cost);
    money_at_risk(provider, "resent");
    generation_failed(provider, ErrorCode::StoreFailed);
    generation_failed(provider, ErrorCode::SubmitAmbiguous);
    budget_asked("user", "refused");
    slot_taken("main");
    slot_taken("fetch");
    slot_freed("fetch");
    memory_measured(1 << 24, 1 << 30);
    memory_limit_out_of_reach(1, 2, 3);
    temp_swept(2);
    temp_limited(1 << 30);
    temp_reserved(1024.0);
    kafka_client_reported("producer", KafkaClientReport::default());
    dead_letters("gen.requests.dlq", 3);
    runs_open("under_1m", 3);
    deliveries_open("under_1m", 3);
    version_reported("1.0.0");
    spans_lost("queue_full", 1);
    emit_of_notifications(elapsed, error);
    call_refused("webhook", "address");
    role_started("intake");
    role_stopped("intake");
    readiness_changed("intake", true, "");
}

fn emit_of_notifications(elapsed: Duration, error: &io::Error) {
    notification_ended("WEBHOOK", "DELIVERED", elapsed, 1);
    notification_retried("WEBHOOK", error, 1);
    operators_notified("SLACK", 1, "delivered", None);
    notification_tried("WEBHOOK", "later", elapsed);
    tries_in_flight(3);
    notification_handed_over("WEBHOOK", "not_delivered", true);
    notification_lost("deliver/event/WEBHOOK/hash", error);
    circuits_open(1);
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
fn events_change_exactly_the_metrics_of_the_catalogue() {
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
fn metric_names_show_their_kind_and_buckets_rise() {
    for (name, kind, _) in process::PROCESS {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    }
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
        "genflow_provider_cost_usd_sum{provider=\"replicate\",model=\"flux\",source=\"METERED\"} 0.25",
        "genflow_spent_usd_sum{model=\"flux\",priority=\"HIGH\"} 0.25",
        "genflow_money_at_risk_total{provider=\"replicate\",cause=\"not_stored\"} 1",
        "genflow_money_at_risk_total{provider=\"replicate\",cause=\"ambiguous\"} 1",
        "genflow_request_start_delay_seconds_sum{kind=\"IMAGE\"} 1.5",
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
fn metrics_of_a_library_are_named_as_prometheus_recommends_and_have_buckets() {
    use foreign::{Instrument, Kind};

    let recorder = metrics::recorder().unwrap();
    let handle = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        let labels = [("task_queue".to_owned(), "main".to_owned())];
        let polls = Instrument::new(Kind::Counter, "polls", "Polls.");
        polls.counter(&labels).add(3);
        let slots = Instrument::new(Kind::Gauge, "task-slots", "Slots.");
        slots.gauge(&labels).set(7.0);
        slots.gauge(&labels).change(-2.0);
        let latency = Instrument::new(Kind::Seconds, "latency", "Latency.");
        latency.histogram(&labels).record(0.2);
    });

    let page = handle.render();
    for line in [
        "# HELP temporal_polls_total Polls.",
        "# TYPE temporal_polls_total counter",
        "temporal_polls_total{task_queue=\"main\"} 3",
        "temporal_task_slots{task_queue=\"main\"} 5",
        "# TYPE temporal_latency_seconds histogram",
        "temporal_latency_seconds_bucket{task_queue=\"main\",le=\"0.1\"} 0",
        "temporal_latency_seconds_bucket{task_queue=\"main\",le=\"0.25\"} 1",
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

    let first = init(&log, None).unwrap();
    let second = init(&log, None).unwrap();
    ::metrics::counter!("twice").increment(1);

    assert!(first.render().contains("twice 1"));
    assert!(second.render().contains("twice 1"));
    assert!(second.render().contains("genflow_build_info{version=\""));
    assert!(
        second
            .render()
            .contains("# TYPE process_cpu_seconds_total counter\n")
    );
}

#[test]
fn a_log_file_is_appended_to_a_line_of_json_each() {
    let path = std::env::temp_dir().join(format!("genflow-log-{}", std::process::id()));
    std::fs::write(&path, "before\n").unwrap();
    let log = config::Log {
        filter: "warn,genflow=info".to_owned(),
        json: true,
        file: Some(config::LogFile::at(path.clone())),
    };
    let subscriber = Registry::default().with(lines(&log).unwrap());

    tracing::subscriber::with_default(subscriber, || {
        role_started("intake");
        event_published(EventType::Started);
        for tries in 1..=5 {
            notification_retried("EMAIL", &io::Error::other("no luck"), tries);
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
        .map(|line| line["message"].as_str().unwrap())
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
    assert_eq!(lines[1]["error"], "no luck");
    assert_eq!(lines[3]["tries"], 4);
}

#[test]
fn a_log_file_is_for_this_user_alone_and_no_link_is_followed() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let folder = std::env::temp_dir().join(format!("genflow-logs-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let log = |file: &str| config::Log {
        filter: "off".to_owned(),
        json: true,
        file: Some(config::LogFile::at(folder.join(file))),
    };
    symlink(folder.join("other"), folder.join("link")).unwrap();

    writer(&log("new")).unwrap();
    let linked = check(&log("link")).unwrap_err();

    let mode = std::fs::metadata(folder.join("new")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(matches!(linked, Error::File { .. }), "{linked}");
    assert!(!folder.join("other").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn no_metric_or_label_of_a_version_is_gone() {
    let names = include_str!("../../../tests/fixtures/names-0.1.txt");
    let released = names
        .lines()
        .filter_map(|line| line.strip_prefix("metric "));
    let now: BTreeSet<_> = CATALOGUE
        .iter()
        .map(|metric| [&[metric.name], metric.labels].concat().join(" "))
        .collect();

    // A label more makes other series of a metric, so the labels are equal.
    let gone: Vec<_> = released.filter(|metric| !now.contains(*metric)).collect();
    assert!(gone.is_empty(), "docs/versioning.md: {gone:#?}");
    assert!(names.contains("metric genflow_requests_total outcome kind"));
}

#[test]
fn a_line_is_flat_json_with_the_ids_of_the_spans_around_it() {
    let path = std::env::temp_dir().join(format!("genflow-flat-{}", std::process::id()));
    let log = config::Log {
        filter: "warn,genflow=warn".to_owned(),
        json: true,
        file: Some(config::LogFile::at(path.clone())),
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let attempt = spans::ActivityAttempt {
        activity: "submit.v1",
        workflow: "order-7~1",
        number: 2,
        request_id: Some("order-7"),
        traceparent: Some(trace),
        ..spans::ActivityAttempt::default()
    };

    tracing::subscriber::with_default(Registry::default().with(lines(&log).unwrap()), || {
        spans::attempt(&attempt).in_scope(|| {
            tracing::warn!(target = "a field", workflow = "its own", "said \"so\"\n");
            tracing::info!("not logged");
        });
    });

    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with(r#"{"timestamp":"20"#), "{text}");
    let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(timestamp.as_str().unwrap()).is_ok());
    let expected = serde_json::json!({
        "level": "WARN",
        "target": "genflow::engines::telemetry::tests",
        "message": "said \"so\"\n",
        "field.target": "a field",
        "activity": "submit.v1",
        "workflow": "its own",
        "attempt": 2,
        "request_id": "order-7",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    });
    assert_eq!(line, expected);
}
