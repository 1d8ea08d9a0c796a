//! `genflow status`: prints the state of a request, and who reported it.

use std::io::Write;
use std::time::Duration;

use anyhow::anyhow;

use super::text::plain;
use super::{Error, watch};
use crate::domain::RequestId;
use crate::engines::config;
use crate::engines::config::Config;
use crate::engines::temporal::client;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::status::{RunStatus, Source};

/// How long the server may take, including two seconds for a worker.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// How long the server may take for a list or a history: many thousands of entries take some seconds, and a server that
/// hangs must not hold up the command longer.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// The note if no worker answered.
const NO_WORKER: &str = "no worker answered: this is what the Temporal server knows";

/// Asks Temporal for the state of a request and prints it; the exit code is 1 if there is no such request.
///
/// `ID` is its newest run, `ID~n` its n-th retry, `ID~0` its first run.
///
/// # Errors
/// The id is invalid, or Temporal does not answer.
pub async fn show(config: &Config, id: &str, json: bool, out: &mut dyn Write) -> Result<u8, Error> {
    let (request, retry) = named(id)?;
    let asked = Box::pin(async {
        let temporal = Temporal::connect(&config.temporal).await?;
        let run = match retry {
            Some(retry) => Some(request.run(retry)),
            None => temporal.newest(&request).await?,
        };
        let found = match run {
            Some(run) => temporal.status(&run).await?,
            None => None,
        };
        if found.is_none() {
            temporal.has_namespace().await?;
        }
        Ok(found)
    });
    let found = within(PATIENCE, &config.temporal, asked).await?;
    match found {
        Some(found) => print(&found, json, out).map(|()| 0),
        None => nobody(id).map(|()| 1),
    }
}

/// Reports an unknown request on standard error, so that standard output has only states.
pub(super) fn nobody(id: &str) -> Result<(), Error> {
    Ok(writeln!(
        std::io::stderr().lock(),
        "request {id} not found"
    )?)
}

/// Waits for the server, but no longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    temporal: &config::Temporal,
    asked: impl Future<Output = Result<T, client::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, asked).await {
        Ok(answered) => answered.map_err(|error| Error::Unavailable(error.into())),
        Err(_) => Err(Error::Unavailable(anyhow!(
            "the Temporal server at {} did not answer within {limit:?}",
            temporal.url
        ))),
    }
}

/// Reads `ID` or `ID~n`.
pub(super) fn named(id: &str) -> Result<(RequestId, Option<u32>), Error> {
    let (request, retry) = match id.split_once('~') {
        None => (id, None),
        Some((request, retry)) => (request, Some(retry)),
    };
    let request = RequestId::try_from(request.to_owned());
    let request = request.map_err(|error| Error::Usage(format!("request id {error}")))?;
    let retry = retry.map(str::parse).transpose();
    let retry = retry.map_err(|_| {
        Error::Usage(format!(
            "{id:?} is not the id of a run, expected ID or ID~n"
        ))
    })?;
    Ok((request, retry))
}

fn print(status: &RunStatus, json: bool, out: &mut dyn Write) -> Result<(), Error> {
    if json {
        let line = serde_json::to_string(status).map_err(anyhow::Error::from)?;
        writeln!(out, "{line}")?;
        return Ok(());
    }
    for (name, text) in facts(status) {
        writeln!(out, "{name:<16} {text}")?;
    }
    Ok(())
}

/// Returns what is known, in the order in which it is printed.
fn facts(status: &RunStatus) -> Vec<(&'static str, String)> {
    let error = status.error.as_ref();
    let note = match status.source {
        Source::Worker | Source::History => None,
        Source::Server => Some(NO_WORKER.to_owned()),
    };
    let run = (status.workflow_id != status.request_id).then(|| status.workflow_id.clone());
    let all = [
        ("request id", Some(status.request_id.clone())),
        ("run", run),
        ("user", status.user_id.clone()),
        ("kind", status.kind.clone()),
        ("batch id", status.batch_id.clone()),
        ("state", Some(status.state.to_string())),
        ("note", note),
        ("stage", status.stage.clone()),
        (
            "percent",
            status.percent.map(|percent| format!("{percent}%")),
        ),
        ("items", status.batch.as_ref().map(watch::items)),
        ("provider job id", status.provider_job_id.clone()),
        ("attempts", status.attempts.map(|sent| sent.to_string())),
        ("started at", Some(watch::time(status.started_at))),
        ("submitted at", status.submitted_at.map(watch::time)),
        ("updated at", status.updated_at.map(watch::time)),
        (
            "error",
            error.map(|error| format!("{}: {}", error.code.as_str(), error.message)),
        ),
    ];
    let known = all.into_iter();
    let mut facts: Vec<_> = known
        .filter_map(|(name, text)| Some((name, plain(&text?))))
        .collect();
    for output in status.result.iter().flat_map(|result| &result.outputs) {
        facts.push(("output", plain(&output.uri)));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::run::RunState;
    use crate::domain::{ErrorCode, EventError};

    fn found(source: Source) -> RunStatus {
        RunStatus {
            request_id: "a".to_owned(),
            workflow_id: "a~2".to_owned(),
            run_id: "r".to_owned(),
            kind: Some("IMAGE".to_owned()),
            user_id: Some("ann\nlee".to_owned()),
            batch_id: None,
            state: RunState::Failed,
            stage: None,
            percent: Some(40),
            provider_job_id: None,
            attempts: None,
            started_at: 1_700_000_000_123,
            submitted_at: None,
            updated_at: None,
            error: Some(EventError::new(ErrorCode::ProviderFailed, "boom", true)),
            batch: None,
            result: None,
            source,
        }
    }

    #[test]
    fn a_status_is_a_line_a_fact() {
        let mut out = Vec::new();

        print(&found(Source::History), false, &mut out).unwrap();

        let lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().collect();
        assert_eq!(
            lines,
            [
                "request id       a",
                "run              a~2",
                "user             ann lee",
                "kind             IMAGE",
                "state            failed",
                "percent          40%",
                "started at       2023-11-14T22:13:20.123Z",
                "error            provider_failed: boom",
            ]
        );
    }

    #[test]
    fn that_no_worker_answered_is_told_in_words_and_in_json() {
        let (mut text, mut json) = (Vec::new(), Vec::new());

        print(&found(Source::Server), false, &mut text).unwrap();
        print(&found(Source::Server), true, &mut json).unwrap();

        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("note             no worker answered"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["source"], "server");
    }

    #[test]
    fn a_run_is_named_by_its_request_and_its_number() {
        let read = |id| named(id).map(|(request, retry)| (request.to_string(), retry));

        assert_eq!(read("a").unwrap(), ("a".to_owned(), None));
        assert_eq!(read("a~0").unwrap(), ("a".to_owned(), Some(0)));
        for bad in ["", "a b", "a~", "a~x", "~1"] {
            assert_eq!(
                read(bad).unwrap_err().exit_code(),
                super::super::USAGE,
                "{bad}"
            );
        }
    }
}
