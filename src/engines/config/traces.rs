//! Settings of traces, by the names and values that OpenTelemetry's SDKs use.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::vars::{Vars, has_login, without_login};
use crate::domain::parse_http_url;

/// Where spans are sent, and which.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The collector's URL for traces, with its path.
    pub endpoint: Url,
    /// Sent with each export; the values are secrets.
    pub headers: HeaderMap,
    /// Limit on one export.
    pub timeout: Duration,
    /// Whether exports are compressed.
    pub gzip: bool,
    pub sampler: Sampler,
    /// What produces the spans: names and values, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// Pause between two exports.
    pub pause: Duration,
}

/// Which traces are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// A span with a parent is kept if the parent is.
    pub follows_parent: bool,
    /// The part of the other traces that is kept, from 0 to 1.
    pub ratio: f64,
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// All variables as they are given. They are checked only if traces are on: platforms set some of them for every program.
struct Given {
    is_disabled: bool,
    exporter: Option<String>,
    endpoint: Option<String>,
    traces_endpoint: Option<String>,
    protocol: Option<(&'static str, String)>,
    headers: Option<String>,
    timeout: Option<String>,
    compression: Option<String>,
    service: Option<String>,
    resource: Option<String>,
    sampler: Option<String>,
    ratio: Option<String>,
    pause: Option<String>,
}

/// Reads the settings; `None`: traces are off.
pub(super) fn read(vars: &mut Vars<'_>) -> Option<Traces> {
    let given = given(vars);
    match given.exporter.as_deref() {
        Some("none") => return None,
        Some("otlp") | None => {}
        Some(other) if !given.is_disabled => {
            let problem = format!("is {other:?}, expected otlp or none");
            vars.fault("OTEL_TRACES_EXPORTER", &problem);
        }
        Some(_) => {}
    }
    if given.is_disabled {
        return None;
    }
    let endpoint = match (&given.traces_endpoint, &given.endpoint) {
        (Some(url), _) => endpoint(vars, TRACES_ENDPOINT, url, ""),
        (None, Some(url)) => endpoint(vars, ENDPOINT, url, "/v1/traces"),
        (None, None) => return None,
    };
    check_protocol(vars, given.protocol.as_ref());
    Some(Traces {
        endpoint: endpoint?,
        headers: headers(vars, given.headers.as_deref()),
        timeout: millis(
            vars,
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            given.timeout.as_deref(),
            10_000,
        ),
        gzip: gzip(vars, given.compression.as_deref()),
        sampler: sampler(vars, given.sampler.as_deref(), given.ratio.as_deref()),
        resource: resource(vars, given.service, given.resource.as_deref()),
        pause: millis(
            vars,
            "OTEL_BSP_SCHEDULE_DELAY",
            given.pause.as_deref(),
            5000,
        ),
    })
}

fn given(vars: &mut Vars<'_>) -> Given {
    let general = vars.optional("OTEL_EXPORTER_OTLP_PROTOCOL");
    let own = vars.optional("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    Given {
        is_disabled: vars.flag("OTEL_SDK_DISABLED", false),
        exporter: vars.optional("OTEL_TRACES_EXPORTER"),
        endpoint: vars.optional(ENDPOINT),
        traces_endpoint: vars.optional(TRACES_ENDPOINT),
        protocol: own
            .map(|protocol| ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol))
            .or_else(|| general.map(|protocol| ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol))),
        headers: vars.secret(HEADERS),
        timeout: vars.optional("OTEL_EXPORTER_OTLP_TIMEOUT"),
        compression: vars.optional("OTEL_EXPORTER_OTLP_COMPRESSION"),
        service: vars.optional("OTEL_SERVICE_NAME"),
        resource: vars.optional(RESOURCE),
        sampler: vars.optional("OTEL_TRACES_SAMPLER"),
        ratio: vars.optional("OTEL_TRACES_SAMPLER_ARG"),
        pause: vars.optional("OTEL_BSP_SCHEDULE_DELAY"),
    }
}

fn endpoint(vars: &mut Vars<'_>, name: &'static str, text: &str, path: &str) -> Option<Url> {
    // The URL of traces alone is used as it is.
    let base = if path.is_empty() {
        text
    } else {
        text.trim_end_matches('/')
    };
    let url = parse_http_url(&format!("{base}{path}"));
    let url = url.filter(|url| !has_login(url) && url.query().is_none());
    if url.is_none() {
        // A query may contain a key.
        let given = without_login(text.split(['?', '#']).next().unwrap_or_default());
        let problem = format!(
            "is {given:?}, expected an http or https URL without login and query, such as http://127.0.0.1:4318"
        );
        vars.fault(name, &problem);
    }
    url
}

fn check_protocol(vars: &mut Vars<'_>, given: Option<&(&'static str, String)>) {
    if let Some((name, protocol)) = given
        && protocol != "http/protobuf"
    {
        let problem = format!(
            "is {protocol:?}, expected http/protobuf, for which collectors usually listen on port 4318"
        );
        vars.fault(name, &problem);
    }
}

/// Reads `name=value[,name=value]`, the values percent-encoded; `None` if a pair is malformed.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(pair).collect()
}

fn headers(vars: &mut Vars<'_>, text: Option<&str>) -> HeaderMap {
    let read = |text: &str| {
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        pairs(text)?.into_iter().map(header).collect()
    };
    let Some(text) = text else {
        return HeaderMap::new();
    };
    let headers: Option<HeaderMap> = read(text);
    if headers.is_none() {
        vars.fault(
            HEADERS,
            "cannot be read, expected name=value[,name=value] of HTTP headers",
        );
    }
    headers.unwrap_or_default()
}

fn millis(vars: &mut Vars<'_>, name: &'static str, text: Option<&str>, default: u64) -> Duration {
    let read = |text: &str| {
        text.parse()
            .ok()
            .filter(|number| (1..=600_000).contains(number))
    };
    let Some(text) = text else {
        return Duration::from_millis(default);
    };
    let number: Option<u64> = read(text);
    if number.is_none() {
        let problem = format!("is {text:?}, expected milliseconds from 1 to 600000");
        vars.fault(name, &problem);
    }
    Duration::from_millis(number.unwrap_or(default))
}

fn gzip(vars: &mut Vars<'_>, text: Option<&str>) -> bool {
    match text {
        Some("gzip") => true,
        Some("none") | None => false,
        Some(other) => {
            let problem = format!("is {other:?}, expected gzip or none");
            vars.fault("OTEL_EXPORTER_OTLP_COMPRESSION", &problem);
            false
        }
    }
}

const SAMPLERS: &str = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio";

fn sampler(vars: &mut Vars<'_>, name: Option<&str>, ratio: Option<&str>) -> Sampler {
    let name = name.unwrap_or("parentbased_always_on");
    let own = name.strip_prefix("parentbased_");
    let kept = match own.unwrap_or(name) {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let read = |text: &str| text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
            ratio.map_or(Some(1.0), read).unwrap_or_else(|| {
                let given = ratio.unwrap_or_default();
                let problem = format!("is {given:?}, expected a number from 0 to 1");
                vars.fault("OTEL_TRACES_SAMPLER_ARG", &problem);
                1.0
            })
        }
        _ => {
            let problem = format!("is {name:?}, expected {SAMPLERS}");
            vars.fault("OTEL_TRACES_SAMPLER", &problem);
            1.0
        }
    };
    Sampler {
        follows_parent: own.is_some(),
        ratio: kept,
    }
}

fn resource(
    vars: &mut Vars<'_>,
    service: Option<String>,
    text: Option<&str>,
) -> Vec<(String, String)> {
    let given = text.map_or(Some(Vec::new()), pairs);
    if given.is_none() {
        vars.fault(
            RESOURCE,
            "cannot be read, expected name=value[,name=value], the values percent-encoded",
        );
    }
    let mut resource = given.unwrap_or_default();
    let is_name = |(name, _): &(String, String)| name == "service.name";
    if service.is_some() {
        resource.retain(|pair| !is_name(pair));
    }
    if !resource.iter().any(is_name) {
        let service = service.unwrap_or_else(|| "genflow".to_owned());
        resource.push(("service.name".to_owned(), service));
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

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
            (RESOURCE, "a", "expected name=value"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "expected milliseconds"),
            (
                "OTEL_EXPORTER_OTLP_COMPRESSION",
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
}
