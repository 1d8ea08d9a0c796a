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
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// A variable with its value.
type Named = (&'static str, String);

/// All variables as they are given. They are checked only if traces are on: platforms set some of them for every program.
/// Of those that exist twice, the one for traces alone wins, and the one for all signals is not checked.
struct Given {
    is_disabled: bool,
    exporter: Option<String>,
    endpoint: Option<String>,
    traces_endpoint: Option<String>,
    protocol: Option<Named>,
    headers: Option<Named>,
    timeout: Option<Named>,
    compression: Option<Named>,
    service: Option<String>,
    resource: Option<String>,
    sampler: Option<String>,
    ratio: Option<String>,
    pause: Option<Named>,
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
        headers: headers(vars, given.headers.as_ref()),
        timeout: millis(vars, given.timeout.as_ref(), 10_000),
        gzip: gzip(vars, given.compression.as_ref()),
        sampler: sampler(vars, given.sampler.as_deref(), given.ratio.as_deref()),
        resource: resource(vars, given.service, given.resource.as_deref()),
        pause: millis(vars, given.pause.as_ref(), 5000),
    })
}

fn given(vars: &mut Vars<'_>) -> Given {
    let own_headers = vars.secret(TRACES_HEADERS).map(|it| (TRACES_HEADERS, it));
    let headers = vars.secret(HEADERS).map(|it| (HEADERS, it));
    let mut of = |name| vars.optional(name).map(|value| (name, value));
    let protocol = of("OTEL_EXPORTER_OTLP_PROTOCOL");
    let timeout = of("OTEL_EXPORTER_OTLP_TIMEOUT");
    let compression = of("OTEL_EXPORTER_OTLP_COMPRESSION");
    Given {
        protocol: of("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or(protocol),
        headers: own_headers.or(headers),
        timeout: of("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or(timeout),
        compression: of("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION").or(compression),
        pause: of("OTEL_BSP_SCHEDULE_DELAY"),
        is_disabled: vars.flag("OTEL_SDK_DISABLED", false),
        exporter: vars.optional("OTEL_TRACES_EXPORTER"),
        endpoint: vars.optional(ENDPOINT),
        traces_endpoint: vars.optional(TRACES_ENDPOINT),
        service: vars.optional("OTEL_SERVICE_NAME"),
        resource: vars.optional(RESOURCE),
        sampler: vars.optional("OTEL_TRACES_SAMPLER"),
        ratio: vars.optional("OTEL_TRACES_SAMPLER_ARG"),
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

fn check_protocol(vars: &mut Vars<'_>, given: Option<&Named>) {
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

fn headers(vars: &mut Vars<'_>, given: Option<&Named>) -> HeaderMap {
    let read = |text: &str| {
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        pairs(text)?.into_iter().map(header).collect()
    };
    let Some((name, text)) = given else {
        return HeaderMap::new();
    };
    let headers: Option<HeaderMap> = read(text);
    if headers.is_none() {
        vars.fault(
            name,
            "cannot be read, expected name=value[,name=value] of HTTP headers",
        );
    }
    headers.unwrap_or_default()
}

fn millis(vars: &mut Vars<'_>, given: Option<&Named>, default: u64) -> Duration {
    let read = |text: &str| {
        text.parse()
            .ok()
            .filter(|number| (1..=600_000).contains(number))
    };
    let Some((name, text)) = given else {
        return Duration::from_millis(default);
    };
    let number: Option<u64> = read(text);
    if number.is_none() {
        let problem = format!("is {text:?}, expected milliseconds from 1 to 600000");
        vars.fault(name, &problem);
    }
    Duration::from_millis(number.unwrap_or(default))
}

fn gzip(vars: &mut Vars<'_>, given: Option<&Named>) -> bool {
    let Some((name, text)) = given else {
        return false;
    };
    if text != "gzip" && text != "none" {
        vars.fault(name, &format!("is {text:?}, expected gzip or none"));
    }
    text == "gzip"
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
mod tests;
