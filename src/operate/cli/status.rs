//! `genflow status`: prints the state of a request, with a note if no worker answered.

use std::io::Write;

use clap::builder::styling::Style;

use super::table::{BAD, Cell, UNSURE, fact, style_of};
use super::temporal::{PATIENCE, RunName, connect, not_found, within};
use super::terminal::ago;
use super::watch;
use crate::domain::time::rfc3339;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::temporal::status::{RunStatus, StatusSource};
use crate::operate::text::plain;

/// The note if no worker answered.
const NO_WORKER: &str = "no worker answered: this is what the Temporal server knows";

/// Asks Temporal for the state of a request and prints it; the exit code is 1 if there is no such request.
///
/// `ID` is its newest run, `ID~n` its n-th retry, `ID~0` its first run.
///
/// # Errors
/// The id is invalid, or Temporal does not answer.
pub async fn show(
    config: &Config,
    id: &str,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let (name, server) = (RunName::parse(id)?, &config.temporal);
    let temporal = connect(server).await?;
    let found = within(PATIENCE, server, async {
        match name.workflow(&temporal).await? {
            Some(run) => temporal.status(&run).await,
            None => Ok(None),
        }
    });
    match found.await? {
        Some(found) => print(&found, json, out).map(|()| 0),
        None => not_found(id, &temporal, server).await.map(|()| 1),
    }
}

fn print(status: &RunStatus, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        let line = serde_json::to_string(status)?;
        writeln!(out, "{line}")?;
        return Ok(());
    }
    for (name, text) in facts(status, now()) {
        let style = match name {
            "state" => style_of(&text),
            "error" => BAD,
            "note" => UNSURE,
            _ => Style::new(),
        };
        writeln!(out, "{}", fact(name, 16, &Cell::from(text).styled(style)))?;
    }
    Ok(())
}

/// Returns what is known, in the order in which it is printed; `now` is when.
fn facts(status: &RunStatus, now: i64) -> Vec<(&'static str, String)> {
    let error = status.error.as_ref();
    let result = status.result.as_ref();
    let note = match status.source {
        StatusSource::Worker | StatusSource::History => None,
        StatusSource::Server => Some(NO_WORKER.to_owned()),
    };
    let time = |then: i64| format!("{} ({})", rfc3339(then), ago(then, now));
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
        ("started at", Some(time(status.started_at))),
        ("submitted at", status.submitted_at.map(time)),
        ("updated at", status.updated_at.map(time)),
        (
            "error",
            error.map(|error| format!("{}: {}", error.code.as_str(), error.message)),
        ),
        ("cost", result.and_then(watch::cost)),
    ];
    let known = all.into_iter();
    let mut facts: Vec<_> = known
        .filter_map(|(name, text)| Some((name, plain(&text?))))
        .collect();
    if let Some(result) = &status.result {
        let model = result.model.as_deref().unwrap_or_default();
        let text = format!("{} {model}", result.provider);
        facts.push(("made by", plain(text.trim_end())));
    }
    for tried in &status.tried {
        facts.push(("tried", plain(&tried.to_string())));
    }
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
    use crate::operate::cli::table::without_colors;

    fn found(source: StatusSource) -> RunStatus {
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
            tried: Vec::new(),
            result: None,
            source,
        }
    }

    #[test]
    fn a_status_is_one_line_per_fact() {
        let shown = without_colors(|out| {
            print(&found(StatusSource::History), false, out).unwrap();
        });

        let age = ago(1_700_000_000_123, now());
        let started = format!("started at       2023-11-14T22:13:20.123Z ({age})");
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "request id       a",
                "run              a~2",
                "user             ann lee",
                "kind             IMAGE",
                "state            failed",
                "percent          40%",
                &started,
                "error            provider_failed: boom",
            ]
        );
    }

    #[test]
    fn a_status_without_a_worker_is_marked_in_text_and_in_json() {
        let (mut text, mut json) = (Vec::new(), Vec::new());

        print(&found(StatusSource::Server), false, &mut text).unwrap();
        print(&found(StatusSource::Server), true, &mut json).unwrap();

        let text = anstream::adapter::strip_bytes(&text).into_vec();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("note             no worker answered"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["source"], "server");
    }
}
