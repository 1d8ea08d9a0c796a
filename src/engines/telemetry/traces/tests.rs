//! Spans as a collector receives them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use prost::Message as _;
use tokio::net::TcpListener;
use tracing::{Dispatch, Instrument as _, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::otlp::{Export, Exported, Partial};
use super::{Attribute, Exporter, Kind, Sampler, Traces, otlp, traceparent};
use crate::domain::{Event, RecordPosition};
use crate::engines::config;
use crate::engines::http;
use crate::engines::telemetry::{metrics, spans};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector that answers with these statuses, then 200; and a page `/echo` that returns the request's `traceparent`.
struct Server {
    url: String,
    exports: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Server {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let exports = Arc::<Mutex<Vec<_>>>::default();
        let (taken, statuses) = (exports.clone(), statuses.to_vec());
        let take = async move |headers: HeaderMap, body: Bytes| {
            let mut taken = taken.lock().unwrap();
            taken.push((headers, body));
            let status = statuses.get(taken.len() - 1).copied().unwrap_or(200);
            StatusCode::from_u16(status).unwrap()
        };
        let echo = async |headers: HeaderMap| {
            let trace = headers.get("traceparent").map(|it| it.to_str().unwrap());
            trace.unwrap_or_default().to_owned()
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .route("/echo", get(echo));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, exports }
    }

    fn exporter(&self, more: &[(&str, &str)]) -> Exporter {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", self.url.as_str());
        let variables = [&[endpoint, ("OTEL_BSP_SCHEDULE_DELAY", "10")], more].concat();
        let settings = config::Config::of(&variables).unwrap().traces.unwrap();
        Exporter::start(&settings).unwrap()
    }

    fn spans(&self) -> Vec<otlp::Span> {
        let exports = self.exports.lock().unwrap().clone().into_iter();
        let exports = exports.map(|(_, body)| Export::decode(body).unwrap());
        let resources = exports.flat_map(|export| export.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

const ALL: Sampler = Sampler {
    follows_parent: true,
    ratio: 1.0,
};

/// Calls `f` with this layer as the only one.
fn traced<T>(sampler: Sampler, exporter: &Exporter, f: impl FnOnce() -> T) -> T {
    let layer = Traces::new(sampler, exporter.clone()).with_filter(Traces::filter());
    tracing::subscriber::with_default(Registry::default().with(layer), f)
}

fn record(trace: Option<&str>) -> Span {
    let position = RecordPosition {
        topic: "t".to_owned(),
        partition: 1,
        offset: 7,
    };
    spans::record(&position, "g", trace)
}

#[tokio::test]
async fn a_span_is_below_the_remote_one_or_the_one_around_it() {
    let server = Server::start(&[]).await;
    let exporter = server.exporter(&[]);

    traced(ALL, &exporter, || {
        record(Some(PARENT)).in_scope(|| {
            spans::of_request("order-7");
            let other = tracing::error_span!("of another library");
            other.in_scope(|| spans::store("put", "disk").in_scope(|| spans::failed("full")));
        });
    });
    exporter.flush().await;

    let [store, record] = &server.spans()[..] else {
        panic!("{:?}", server.spans())
    };
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect::<String>()
    };
    assert_eq!(hex(&record.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&record.parent_span_id), "b7ad6b7169203331");
    assert_eq!(
        (&*record.name, record.kind()),
        ("process t", Kind::Consumer)
    );
    assert!(
        record
            .attributes
            .contains(&Attribute::new("messaging.kafka.offset", 7))
    );
    assert!(
        record
            .attributes
            .contains(&Attribute::new("genflow.request_id", "order-7"))
    );
    assert_eq!(record.status, None);
    assert_eq!(
        (&store.parent_span_id, &store.trace_id),
        (&record.span_id, &record.trace_id)
    );
    assert_eq!(
        store.status.as_ref().unwrap().code(),
        super::StatusCode::Error
    );
    assert!(
        store
            .attributes
            .contains(&Attribute::new("error.type", "full"))
    );
}

#[tokio::test]
async fn the_sampler_follows_the_parent_or_keeps_a_part() {
    let server = Server::start(&[]).await;
    let exporter = server.exporter(&[]);
    let is_kept = |sampler, parent: Option<&str>| {
        let trace = traced(sampler, &exporter, || traceparent(&record(parent)));
        trace.unwrap().ends_with("-01")
    };
    let none = |follows_parent| Sampler {
        follows_parent,
        ratio: 0.0,
    };
    let dropped = PARENT.replace("-01", "-00");

    assert!(is_kept(ALL, None) && is_kept(ALL, Some(PARENT)));
    assert!(!is_kept(ALL, Some(&dropped)));
    assert!(is_kept(none(true), Some(PARENT)) && !is_kept(none(true), None));
    assert!(!is_kept(none(false), Some(PARENT)));
    let half = Sampler {
        follows_parent: true,
        ratio: 0.5,
    };
    let kept = (0..400).filter(|_| is_kept(half, None)).count();
    assert!((100..300).contains(&kept), "{kept}");
}

#[tokio::test]
async fn an_export_is_repeated_while_the_collector_is_busy_and_dropped_if_it_refuses() {
    let recorder = metrics::recorder().unwrap();
    let _recorded = ::metrics::set_default_local_recorder(&recorder);
    let server = Server::start(&[503, 200, 400]).await;
    let exporter = server.exporter(&[
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a"),
    ]);

    for _ in 0..2 {
        traced(ALL, &exporter, || drop(record(None)));
        exporter.flush().await;
    }

    let lost = "genflow_spans_lost_total{cause=\"not_exported\"} 1\n";
    let page = recorder.handle().render();
    assert!(page.contains(lost), "{page}");
    let exports = server.exports.lock().unwrap();
    assert_eq!(exports.len(), 3);
    assert_eq!(exports[0].1, exports[1].1);
    for (headers, body) in &*exports {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["content-encoding"], "gzip");
        assert_eq!(headers["x-tenant"], "a");
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&**body), &mut plain).unwrap();
        assert_eq!(Export::decode(&*plain).unwrap().resource_spans.len(), 1);
    }
}

#[tokio::test]
async fn spans_that_the_collector_refuses_are_counted() {
    let recorder = metrics::recorder().unwrap();
    let _recorded = ::metrics::set_default_local_recorder(&recorder);
    let answer = Exported {
        partial: Some(Partial {
            rejected_spans: 2,
            error_message: "too long".to_owned(),
        }),
    };
    let answer = answer.encode_to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        url: format!("http://{}", listener.local_addr().unwrap()),
        exports: Arc::default(),
    };
    let router = Router::new().route("/v1/traces", post(async move || answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let exporter = server.exporter(&[]);

    traced(ALL, &exporter, || {
        for _ in 0..3 {
            drop(record(None));
        }
    });
    exporter.flush().await;

    let page = recorder.handle().render();
    let lost = "genflow_spans_lost_total{cause=\"refused\"} 2\n";
    assert!(page.contains(lost), "{page}");
}

#[tokio::test]
async fn a_collector_that_hangs_delays_no_work_and_no_flush_for_long() {
    let recorder = metrics::recorder().unwrap();
    let _recorded = ::metrics::set_default_local_recorder(&recorder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        url: format!("http://{}", listener.local_addr().unwrap()),
        exports: Arc::default(),
    };
    let exporter = server.exporter(&[]);
    let began = std::time::Instant::now();

    traced(ALL, &exporter, || {
        for _ in 0..20_000 {
            drop(record(None));
        }
    });

    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // The task has not run yet, so the queue takes as many as it has places.
    let page = recorder.handle().render();
    let lost = "genflow_spans_lost_total{cause=\"queue_full\"} 15904\n";
    assert!(page.contains(lost), "{page}");
    let flushed = tokio::time::timeout(Duration::from_secs(8), exporter.flush());
    assert!(flushed.await.is_ok());
}

#[tokio::test]
async fn an_http_call_sends_its_own_span_on_and_none_without_traces() {
    let server = Server::start(&[]).await;
    let exporter = server.exporter(&[]);
    let layer = Traces::new(ALL, exporter.clone()).with_filter(Traces::filter());
    let subscriber = Dispatch::new(Registry::default().with(layer));
    let client = http::client().build().unwrap();
    let call = async || {
        let url = format!("{}/echo?key=topsecret", server.url);
        let request = client.get(url).build().unwrap();
        spans::http(&client, request)
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };

    let untraced = call().await;
    let sent_on = {
        let _default = tracing::dispatcher::set_default(&subscriber);
        call().instrument(record(Some(PARENT))).await
    };
    exporter.flush().await;

    assert_eq!(untraced, "");
    let spans = server.spans();
    let get = spans.iter().find(|span| span.name == "GET").unwrap();
    let id = u64::from_be_bytes(get.span_id.clone().try_into().unwrap());
    assert_eq!(
        sent_on,
        format!("{}{id:016x}-01", PARENT.get(..36).unwrap())
    );
    assert_eq!(get.kind(), Kind::Client);
    assert!(
        get.attributes
            .contains(&Attribute::new("http.response.status_code", 200))
    );
    assert!(!format!("{spans:?}").contains("topsecret"));
}

#[test]
fn without_a_collector_there_are_no_spans_but_those_of_the_log() {
    tracing::subscriber::with_default(Registry::default(), || {
        let all = [
            spans::store("put", "disk"),
            spans::publish("t", &Event::for_test(0, 0)),
            spans::start_workflow("w", "id"),
        ];
        assert!(all.iter().all(Span::is_none));
        let given = record(Some(PARENT)).in_scope(|| spans::traceparent(Some("given")));
        assert!(matches!(given, Some(std::borrow::Cow::Borrowed("given"))));
    });
}
