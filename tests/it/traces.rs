//! Traces: one request through all hops, over a worker's death and a webhook's second attempt.

use std::time::{Duration, Instant};

use genflow::domain::{Request, Targets};
use genflow::engines::kafka::Headers;
use genflow::workflows::generation;

use crate::support::collector::{Collector, Span};
use crate::support::receiver::Receiver;
use crate::support::requests::image;
use crate::support::{Space, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";
/// Kinds of spans.
const INTERNAL: i32 = 1;
const CLIENT: i32 = 3;
const SENDS: i32 = 4;
const PROCESSES: i32 = 5;

/// The spans of a story, all of one trace.
struct Tree(Vec<Span>);

impl Tree {
    fn named(&self, name: &str) -> Vec<&Span> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    /// Returns the only span with this name that `is_meant`.
    fn one(&self, name: &str, is_meant: impl Fn(&Span) -> bool) -> &Span {
        let mut found = self.named(name);
        found.retain(|span| is_meant(span));
        let [one] = found[..] else {
            panic!("{name}: {found:#?} of {:#?}", self.0)
        };
        one
    }

    /// Returns the span above another one; `None` if it died with its worker.
    fn above(&self, span: &Span) -> Option<&Span> {
        self.0.iter().find(|it| it.id == span.parent)
    }

    fn parent(&self, span: &Span) -> &Span {
        let parent = self.above(span);
        parent.unwrap_or_else(|| panic!("no parent of {span:#?} in {:#?}", self.0))
    }
}

fn headers(flags: &str) -> Headers {
    let trace = format!("00-{TRACE}-{PRODUCER}-{flags}");
    vec![("traceparent".to_owned(), Some(trace.into_bytes()))]
}

async fn space(collector: &Collector) -> Space {
    Space::with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=story"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ])
    .await
}

fn with_webhook(receiver: &Receiver) -> Request {
    let mut request = image("traced");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    request
}

#[tokio::test]
async fn one_trace_follows_a_request_over_a_workers_death_and_a_second_delivery() {
    let (collector, receiver) = (Collector::start().await, Receiver::start(&[500]).await);
    let space = space(&collector).await;
    let _intake = space.start(&["intake"]);
    let _notifier = space.start(&["notifier"]);
    // By then the spans of submit are exported.
    let kill = ("GENFLOW_FAILPOINT", "fetch.storing=kill");
    let mut first = space.start_with(&["worker"], &[kill]);
    let request = with_webhook(&receiver);

    space.send_with(&request, headers("01")).await;
    first.ended().await;
    let mut second = space.start(&["worker"]);
    space.story(request.id.as_str()).await;
    receiver.wait(2).await;
    assert!(second.terminate().await.success(), "{}", second.output());

    let tree = eventually("the last span is exported", async || {
        let tree = Tree(collector.spans());
        let is_there = |name| !tree.named(name).is_empty();
        (is_there("RunActivity:deliver.v1") && is_there("RunActivity:finish.v1")).then_some(tree)
    })
    .await;
    for span in &tree.0 {
        assert_eq!(
            (&*span.trace, &*span.service),
            (TRACE, "story"),
            "{span:#?}"
        );
    }
    check_intake(&space, &tree, &request);
    check_worker(&space, &tree, &request);
    check_delivery(&space, &tree, &receiver);
    for (_, export) in collector.exports() {
        let text = String::from_utf8_lossy(&export);
        for secret in ["secret-token", "a red fox", "/v1/"] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
}

fn check_intake(space: &Space, tree: &Tree, request: &Request) {
    let topic = &space.config.kafka.topics.requests;
    let taken = tree.one(&format!("process {topic}"), |_| true);
    assert_eq!((&*taken.parent, taken.kind), (PRODUCER, PROCESSES));
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", topic),
        ("messaging.kafka.offset", "0"),
        ("genflow.request_id", request.id.as_str()),
    ] {
        assert_eq!(taken.attribute(name), value, "{name}");
    }
    let start = tree.one(&format!("StartWorkflow:{}", generation::NAME), |_| true);
    assert_eq!((&start.parent, start.kind), (&taken.id, CLIENT));
    assert_eq!(start.attribute("temporalWorkflowID"), request.id.as_str());
    assert!(start.took <= taken.took);
}

fn check_worker(space: &Space, tree: &Tree, request: &Request) {
    let start = tree.one(&format!("StartWorkflow:{}", generation::NAME), |_| true);
    let attempt = |name: &str, number: &str| {
        let name = format!("RunActivity:{name}");
        let attempt = tree.one(&name, |span| span.attribute("genflow.attempt") == number);
        assert_eq!((&attempt.parent, attempt.kind), (&start.id, INTERNAL));
        assert_eq!(attempt.attribute("temporalWorkflowID"), request.id.as_str());
        assert_eq!(attempt.attribute("genflow.request_id"), request.id.as_str());
        attempt
    };
    // The first attempt died with its worker, before it ended.
    let (submit, fetch) = (attempt("submit.v1", "1"), attempt("fetch.v1", "2"));
    let finish = attempt("finish.v1", "1");

    let calls = |of: &Span, method: &str| {
        let is_below = |call: &&Span| {
            let step = tree.above(call);
            step.and_then(|step| tree.above(step))
                .is_some_and(|it| it.id == of.id)
        };
        let calls = tree.named(method).into_iter().filter(is_below);
        calls.cloned().collect::<Vec<_>>()
    };
    let [posted] = &calls(submit, "POST")[..] else {
        panic!("{:#?}", tree.0)
    };
    assert_eq!(posted.kind, CLIENT);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "201"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(posted.attribute(name), value, "{posted:#?}");
    }
    let step = tree.parent(posted);
    assert!(step.name.starts_with("submit "), "{step:#?}");
    assert!(!calls(fetch, "GET").is_empty());

    let stored = tree.one("store put", |_| true);
    assert_eq!(stored.parent, fetch.id);
    assert_eq!(stored.attribute("genflow.store.place"), "disk");
    let events = &space.config.kafka.topics.events;
    let sent = tree.one(&format!("send {events}"), |span| span.parent == finish.id);
    assert_eq!(sent.kind, SENDS);
    assert_eq!(sent.attribute("genflow.event.type"), "COMPLETED");
}

fn check_delivery(space: &Space, tree: &Tree, receiver: &Receiver) {
    let events = &space.config.kafka.topics.events;
    let delivery = |status: &str| {
        let is_meant = |span: &Span| span.attribute("http.response.status_code") == status;
        tree.one("deliver WEBHOOK", is_meant)
    };
    let (refused, taken) = (delivery("500"), delivery("204"));
    assert!(refused.has_failed && !taken.has_failed);
    assert_eq!(refused.attribute("error.type"), "target_failed");
    let record = tree.parent(refused);
    assert_eq!(record.name, format!("process {events}"));
    let sent = tree.parent(record);
    assert_eq!(sent.name, format!("send {events}"));
    assert_eq!(sent.attribute("genflow.event.type"), "COMPLETED");
    let later = tree.parent(taken);
    assert_eq!(later.name, "RunActivity:deliver.v1");
    assert_eq!(later.parent, record.id);
    let sent_on: Vec<_> = receiver.got();
    let sent_on: Vec<_> = sent_on.iter().map(|it| it.header("traceparent")).collect();
    let of = |span: &Span| format!("00-{TRACE}-{}-01", span.id);
    assert_eq!(sent_on, [of(refused), of(taken)]);
}

#[tokio::test]
async fn a_trace_that_its_producer_does_not_keep_is_sent_on_and_not_exported() {
    let (collector, receiver) = (Collector::start().await, Receiver::start(&[]).await);
    let space = space(&collector).await;
    let mut all = space.start(&["all"]);
    let request = with_webhook(&receiver);

    space.send_with(&request, headers("00")).await;
    space.story(request.id.as_str()).await;
    receiver.wait(1).await;
    assert!(all.terminate().await.success(), "{}", all.output());

    let sent_on = receiver.got()[0].header("traceparent").to_owned();
    assert!(sent_on.starts_with(&format!("00-{TRACE}-")), "{sent_on}");
    assert!(
        sent_on.ends_with("-00") && !sent_on.contains(PRODUCER),
        "{sent_on}"
    );
    assert_eq!(collector.spans(), []);
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_keep_a_role_beyond_its_grace() {
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", hangs.local_addr().unwrap());
    let space = Space::with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("SHUTDOWN_GRACE", "2s"),
    ])
    .await;
    let mut intake = space.start(&["intake"]);
    space.send(&image("hangs")).await;
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    let began = Instant::now();

    let ended = intake.terminate().await;

    assert!(ended.success(), "{}", intake.output());
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}
