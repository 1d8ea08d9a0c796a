//! Settings of traces, and their faults.

use super::*;
use crate::engines::config::Config;

const ON: (&str, &str) = (ENDPOINT, "http://collector.test:4318/");

fn read(settings: &[(&str, &str)]) -> Result<Option<Traces>, String> {
    let config = Config::of(settings).map_err(|faults| faults.to_string());
    config.map(|config| config.traces)
}

fn on(settings: &[(&str, &str)]) -> Traces {
    read(&[&[ON], settings].concat()).unwrap().unwrap()
}

#[test]
fn traces_are_off_unless_an_endpoint_is_set_and_not_disabled() {
    assert!(read(&[]).unwrap().is_none());
    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        // A platform may set variables that genflow does not support for other programs.
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert!(read(&[ON, grpc, off]).unwrap().is_none());
    }
    assert_eq!(
        on(&[]).endpoint.as_str(),
        "http://collector.test:4318/v1/traces"
    );
    let own = (TRACES_ENDPOINT, "https://other.test/spans");
    assert_eq!(on(&[own]).endpoint.as_str(), "https://other.test/spans");
}

#[test]
fn the_resource_names_the_service_once() {
    let name = |text: &str| ("service.name".to_owned(), text.to_owned());
    assert_eq!(on(&[]).resource, [name("genflow")]);

    let attributes = (
        RESOURCE,
        "service.name=a,deployment.environment.name=on%2Coff",
    );
    let environment = (
        "deployment.environment.name".to_owned(),
        "on,off".to_owned(),
    );
    assert_eq!(on(&[attributes]).resource, [name("a"), environment.clone()]);
    let service = ("OTEL_SERVICE_NAME", "b");
    assert_eq!(
        on(&[attributes, service]).resource,
        [environment, name("b")]
    );
}

#[test]
fn samplers_are_read_by_their_names() {
    let sampler = |name, ratio| {
        on(&[
            ("OTEL_TRACES_SAMPLER", name),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ])
        .sampler
    };
    let of = |follows_parent, ratio| Sampler {
        follows_parent,
        ratio,
    };
    assert_eq!(on(&[]).sampler, of(true, 1.0));
    assert_eq!(sampler("always_on", ""), of(false, 1.0));
    assert_eq!(sampler("parentbased_always_off", ""), of(true, 0.0));
    assert_eq!(sampler("traceidratio", "0.25"), of(false, 0.25));
    assert_eq!(sampler("parentbased_traceidratio", ""), of(true, 1.0));
}

#[test]
fn what_is_not_supported_is_one_clear_fault() {
    for (name, value, reported) in [
        (ENDPOINT, "collector:4318", "expected an http or https URL"),
        (ENDPOINT, "http://needle:pw@c.test", "without login"),
        (ENDPOINT, "http://c.test/?key=needle", "without login"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "is \"grpc\", expected http/protobuf",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "http/json",
            "expected http/protobuf",
        ),
        ("OTEL_TRACES_EXPORTER", "zipkin", "expected otlp or none"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "expected always_on"),
        (HEADERS, "needle", "expected name=value"),
        (TRACES_HEADERS, "needle", "expected name=value"),
        (RESOURCE, "a", "expected name=value"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "expected milliseconds"),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "br",
            "expected gzip or none",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "0",
            "expected milliseconds",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "br",
            "expected gzip or none",
        ),
    ] {
        let faults = read(&[ON, (name, value)]).unwrap_err();

        assert_eq!(faults.lines().count(), 1, "{faults}");
        assert!(faults.starts_with(&format!("{name}: ")), "{faults}");
        assert!(faults.contains(reported), "{faults}");
        assert!(!faults.contains("needle"), "{faults}");
    }
    let half = ("OTEL_TRACES_SAMPLER", "traceidratio");
    let faults = read(&[ON, half, ("OTEL_TRACES_SAMPLER_ARG", "50%")]).unwrap_err();
    assert!(faults.contains("expected a number from 0 to 1"), "{faults}");
}

#[test]
fn headers_are_secrets_and_percent_encoded() {
    let traces = on(&[(HEADERS, "authorization=Bearer%20topsecret, x-tenant = a")]);

    assert_eq!(traces.headers["authorization"], "Bearer topsecret");
    assert_eq!(traces.headers["x-tenant"], "a");
    assert!(!format!("{traces:?}").contains("topsecret"));
}

#[test]
fn a_variable_for_traces_alone_wins_over_the_one_for_all_signals() {
    let general = [
        (HEADERS, "x-tenant=all,x-other=b"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
    ];
    let own = [
        (TRACES_HEADERS, "x-tenant=topsecret"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
    ];

    let of_all = on(&general);
    assert_eq!(of_all.headers["x-tenant"], "all");
    assert_eq!(of_all.timeout, Duration::from_secs(1));
    assert!(!of_all.gzip);
    for settings in [own.to_vec(), [own, general].concat()] {
        let traces = on(&settings);
        assert_eq!(traces.headers["x-tenant"], "topsecret");
        assert_eq!(traces.headers.len(), 1);
        assert_eq!(traces.timeout, Duration::from_secs(2));
        assert!(traces.gzip);
        assert!(!format!("{traces:?}").contains("topsecret"));
    }

    // What is not used is not checked.
    let unused = ("OTEL_EXPORTER_OTLP_COMPRESSION", "br");
    assert!(on(&[unused, own[2]]).gzip);
}
