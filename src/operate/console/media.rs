//! Serves the pictures and films of results, from the result store.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use super::access::refused;
use crate::domain::{RequestId, WorkflowId};
use crate::engines::storage::Part;

/// Nothing in a file may run or load anything, should a browser take it for a page.
const POLICY: &str =
    "sandbox; default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'";

/// Serves an output of a run by its number; a range of it if asked.
pub(super) async fn output(
    State(shared): State<Shared>,
    Path((run, number)): Path<(String, usize)>,
    headers: HeaderMap,
) -> Response {
    let Some(workflow) = workflow(&run) else {
        return refused(StatusCode::NOT_FOUND, "no such run, expected ID or ID~n");
    };
    let store = match &shared.store {
        Ok(store) => store,
        Err(why) => return refused(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let result = match store.result(&workflow).await {
        Ok(result) => result,
        Err(error) => return refused(StatusCode::BAD_GATEWAY, &error.to_string()),
    };
    let output = result
        .as_ref()
        .and_then(|result| result.outputs.get(number));
    let Some(output) = output else {
        return refused(StatusCode::NOT_FOUND, "the result store has no such output");
    };
    let range = headers
        .get(header::RANGE)
        .and_then(|value| range(value.to_str().ok()?));
    let partial = range.is_some();
    let opened = match store.open_output(&workflow, &output.uri, range).await {
        Ok(opened) => opened,
        Err(error) => return refused(StatusCode::NOT_FOUND, &error.to_string()),
    };
    let kind = &output.content_type;
    let is_media = kind.starts_with("image/") || kind.starts_with("video/");
    let kind = if is_media {
        kind
    } else {
        "application/octet-stream"
    };
    let length = opened.range.end - opened.range.start;
    let head = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        // A file never changes under its number: a retry is another run.
        (header::CACHE_CONTROL, "private, max-age=86400".to_owned()),
    ];
    let body = Body::from_stream(opened.pieces);
    if !partial {
        return (head, body).into_response();
    }
    let content_range = format!(
        "bytes {}-{}/{}",
        opened.range.start,
        opened.range.end.saturating_sub(1),
        opened.size
    );
    let partial = [(header::CONTENT_RANGE, content_range)];
    (StatusCode::PARTIAL_CONTENT, head, partial, body).into_response()
}

/// Reads `ID` or `ID~n`.
pub(super) fn workflow(run: &str) -> Option<WorkflowId> {
    let (request, retry) = run.split_once('~').unwrap_or((run, "0"));
    let request = RequestId::try_from(request.to_owned()).ok()?;
    Some(request.run(retry.parse().ok()?))
}

/// Reads one range of bytes; anything else counts as none, as RFC 9110 allows.
fn range(text: &str) -> Option<Part> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => Some(Part::Between(from..to.saturating_add(1))),
        (Ok(from), Err(_)) if to.is_empty() => Some(Part::From(from)),
        (Err(_), Ok(last)) if from.is_empty() => Some(Part::Last(last)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_read_and_anything_else_is_ignored() {
        assert_eq!(range("bytes=0-9"), Some(Part::Between(0..10)));
        assert_eq!(range("bytes=5-"), Some(Part::From(5)));
        assert_eq!(range("bytes=-4"), Some(Part::Last(4)));
        for odd in [
            "bytes=9-0",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=-",
            "bytes=a-b",
        ] {
            assert_eq!(range(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_run_is_named_by_request_and_retry() {
        assert_eq!(workflow("a").unwrap().as_str(), "a");
        assert_eq!(workflow("a~2").unwrap().as_str(), "a~2");
        for bad in ["", "a b", "a~x", "../a"] {
            assert!(workflow(bad).is_none(), "{bad}");
        }
    }
}
