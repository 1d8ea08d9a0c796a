//! `genflow watch`: prints events from `gen.events`, which it reads without a consumer group.

use std::io::Write;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::Instant;

use super::Watch;
use super::follow::Follow;
use super::table::style_of;
use super::terminal::bar;
use crate::contract::avro;
use crate::domain::time::rfc3339;
use crate::domain::{BatchSummary, CostSource, Event, EventType, Generated};
use crate::engines::config::Config;
use crate::engines::kafka::Record;
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::engines::registry;
use crate::engines::registry::Registry;
use crate::operate::text::plain;

/// How long to wait for a REJECTED if a request with this id had ended before this one was submitted.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn watch(
    config: &Config,
    watch: &Watch,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (from, follow) = match &watch.id {
        Some(id) => (From::Beginning, Follow::of(vec![id.clone()], None)),
        None => (From::End, Follow::all()),
    };
    let tail = Tail::open(&config.kafka, &config.kafka.topics.events, from).await?;
    show(config, &tail, follow, watch.json, out)
        .await
        .map(|_| ())
}

/// Prints events until all awaited requests have ended; returns the exit code for their outcomes.
pub(super) async fn show(
    config: &Config,
    tail: &Tail,
    mut follow: Follow,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let registry = Registry::new(&config.schema_registry);
    let mut stale_since = None;
    // For one request, its events say more than a bar.
    let bar = match follow.awaited() {
        0 | 1 => ProgressBar::hidden(),
        many => bar("requests ended", Some(many as u64)),
    };
    loop {
        bar.set_position(follow.ended() as u64);
        let next = if follow.is_done() && follow.is_stale() {
            let since = *stale_since.get_or_insert_with(Instant::now);
            match tokio::time::timeout_at(since + GRACE, tail.next()).await {
                Ok(next) => next?,
                Err(_) => return Ok(follow.exit_code()),
            }
        } else if follow.is_done() {
            return Ok(follow.exit_code());
        } else {
            tail.next().await?
        };
        match next {
            Next::End(partition) => follow.reached(partition),
            Next::Record(record) => {
                // On standard error, so that standard output has only events.
                let event = read(&registry, &record, &mut std::io::stderr()).await?;
                let Some(event) = event else {
                    continue;
                };
                if follow.see(record.position.partition, &event) {
                    bar.suspend(|| print(&event, json, out))?;
                }
            }
        }
    }
}

/// Reads the event of a record; writes to `notes` why one cannot be read, and skips it.
pub(super) async fn read(
    registry: &Registry,
    record: &Record,
    notes: &mut dyn Write,
) -> anyhow::Result<Option<Event>> {
    let Some(value) = &record.value else {
        return Ok(None);
    };
    let read = match avro::unframe(value) {
        Err(error) => Err(error.to_string()),
        Ok((id, datum)) => match registry.schema(id).await {
            Ok(schema) => avro::read_event(&schema, datum).map_err(|error| error.to_string()),
            Err(error @ registry::Error::Call(_)) => return Err(error.into()),
            Err(error) => Err(error.to_string()),
        },
    };
    match read {
        Ok(event) => Ok(Some(event)),
        Err(problem) => {
            writeln!(notes, "{} cannot be read: {problem}", record.position)?;
            Ok(None)
        }
    }
}

fn print(event: &Event, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        let mut json = serde_json::to_value(event.public())?;
        if let Some(fields) = json.as_object_mut() {
            fields.remove("notify");
        }
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{}", colored(&line(event), event.event_type))?;
    }
    // Standard output is often a pipe, whose reader needs each event at once.
    out.flush()?;
    Ok(())
}

/// Colours the type in the line of an event.
fn colored(line: &str, event_type: EventType) -> String {
    let name = event_type.as_str();
    let style = style_of(name);
    // An id may contain the same word, so the first one after two spaces counts.
    let styled = format!("  {style}{name}{style:#}");
    line.replacen(&format!("  {name}"), &styled, 1)
}

/// Returns what a result cost, and where that number is from.
pub(super) fn cost(result: &Generated) -> Option<String> {
    let usd = result.cost_usd?;
    let source = match result.cost_source {
        Some(CostSource::Provider) => " (the provider's price)",
        Some(CostSource::Metered) => " (the provider's quantities at genflow's prices)",
        Some(CostSource::Estimate) => " (estimated)",
        Some(CostSource::Unknown) | None => "",
    };
    Some(format!("{usd:.4} US dollars{source}"))
}

/// Formats an event as one line: time, request, type, details.
fn line(event: &Event) -> String {
    let mut line = format!(
        "{}  {}  {:<9}",
        rfc3339(event.occurred_at),
        event.request_id,
        event.event_type.as_str()
    );
    let mut say = |text: String| {
        line.push_str("  ");
        line.push_str(&text);
    };
    if event.retry > 0 {
        say(format!("retry {}", event.retry));
    }
    if event.event_type == EventType::Progress
        && let Some(progress) = &event.progress
    {
        let message = progress.message.as_deref().unwrap_or_default();
        let colon = if message.is_empty() { "" } else { ": " };
        say(format!(
            "{}% {}{colon}{message}",
            progress.percent, progress.stage
        ));
    }
    if let Some(batch) = &event.batch {
        say(items(batch));
    }
    if let Some(error) = &event.error {
        say(format!("{}: {}", error.code.as_str(), error.message));
    }
    for tried in &event.tried {
        say(format!("[{tried}]"));
    }
    if let Some(cost) = event.result.as_ref().and_then(cost) {
        say(cost);
    }
    for output in event.result.iter().flat_map(|result| &result.outputs) {
        say(output.uri.clone());
    }
    plain(line.trim_end())
}

/// Describes how many items of a batch have ended, and how, and how many run.
pub(super) fn items(batch: &BatchSummary) -> String {
    let BatchSummary {
        total,
        completed,
        failed,
        cancelled,
        not_started,
    } = batch;
    let rest = [completed, failed, cancelled, not_started].map(|count| i64::from(*count));
    let running = match i64::from(*total) - rest.iter().sum::<i64>() {
        running @ 1.. => format!("{running} running, "),
        _ => String::new(),
    };
    format!(
        "{total} items: {completed} completed, {failed} failed, {cancelled} cancelled, {running}{not_started} not started"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(rest: &serde_json::Value) -> Event {
        let mut json = serde_json::json!({
            "event_id": "e", "request_id": "image-1", "retry": 0, "sequence": 1, "user_id": "u",
            "kind": "IMAGE", "type": "STARTED", "occurred_at": 1_700_000_000_123_i64,
            "notify": {"on": [], "sealed": "AAAA"},
        });
        let more = rest.as_object().unwrap().clone();
        json.as_object_mut().unwrap().extend(more);
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_event_is_one_line() {
        for (rest, reported) in [
            (serde_json::json!({}), "STARTED"),
            (
                serde_json::json!({"type": "PROGRESS", "retry": 2,
                    "progress": {"percent": 40, "stage": "processing", "message": "st\u{1b}[2Jep\n4"}}),
                "PROGRESS   retry 2  40% processing: st [2Jep 4",
            ),
            (
                serde_json::json!({"type": "FAILED",
                    "error": {"code": "provider_failed", "message": "boom", "retryable": false}}),
                "FAILED     provider_failed: boom",
            ),
            (
                serde_json::json!({"type": "COMPLETED", "tried": [{"provider": "fal", "model": "fal-ai/x",
                    "code": "provider_auth", "message": "no key"}], "result": {"provider": "replicate",
                    "provider_job_id": "j", "elapsed_ms": 1, "outputs": []}}),
                "COMPLETED  [fal fal-ai/x: provider_auth: no key]",
            ),
            (
                serde_json::json!({"type": "COMPLETED", "result": {"provider": "replicate",
                    "provider_job_id": "j", "elapsed_ms": 1, "outputs": [
                    {"uri": "file:///a.png", "content_type": "image/png", "bytes": 1, "sha256": ""},
                    {"uri": "file:///b.png", "content_type": "image/png", "bytes": 1, "sha256": ""},
                ]}}),
                "COMPLETED  file:///a.png  file:///b.png",
            ),
        ] {
            let line = line(&event(&rest));

            assert_eq!(
                line,
                format!("2023-11-14T22:13:20.123Z  image-1  {reported}")
            );
        }
    }

    #[test]
    fn items_that_run_are_counted_apart_from_those_that_have_not_started() {
        let mut batch = BatchSummary {
            total: 9,
            completed: 2,
            failed: 1,
            cancelled: 0,
            not_started: 4,
        };

        let running = items(&batch);
        batch.not_started = 6;

        assert_eq!(
            running,
            "9 items: 2 completed, 1 failed, 0 cancelled, 2 running, 4 not started"
        );
        assert_eq!(
            items(&batch),
            "9 items: 2 completed, 1 failed, 0 cancelled, 6 not started"
        );
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_reported_apart_from_the_events() {
        let registry = Registry::new(&Config::of(&[]).unwrap().schema_registry);
        let record = Record {
            value: Some(b"no event".to_vec()),
            ..Record::of(7, &[])
        };
        let mut notes = Vec::new();

        let read = read(&registry, &record, &mut notes).await.unwrap();

        assert!(read.is_none());
        let notes = String::from_utf8(notes).unwrap();
        assert!(notes.contains("cannot be read"), "{notes}");
    }

    #[test]
    fn json_has_all_but_the_targets() {
        let mut out = Vec::new();

        print(&event(&serde_json::json!({})), true, &mut out).unwrap();

        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["request_id"], "image-1");
        assert!(json.get("notify").is_none());
    }
}
