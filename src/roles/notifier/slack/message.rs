//! The Slack message about an event: Block Kit within its limits. Pure.
//!
//! Wording and formatting are ours; what came with the request or from a provider is untrusted text
//! ([`super::text`]). Slack fetches the images of a message when it receives it, and refuses the whole message
//! if it cannot: see [`without_images`].

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use url::Url;

use super::text::{code, length, link, plain};
use crate::domain::public_address;
use crate::domain::{
    BatchSummary, Event, EventError, EventType, Generated, Kind, Output, Progress,
};
use crate::roles::notifier::digest_text::{ADVICE, DigestText};
use crate::roles::notifier::wording::{dollars, size};

// Slack's limits (docs.slack.dev/reference/block-kit), and how much of them we use.
const HEADER: usize = 150;
const SECTION: usize = 3000;
const FIELD: usize = 2000;
const FIELDS: usize = 10;
const ADDRESS: usize = 3000;
const ALT_TEXT: usize = 2000;
/// Slack allows 50 blocks; a message that people can read has only a few images.
const IMAGES: usize = 10;
/// The longest value in a list of values, so that one does not push out the others. With 20 failures of this length, a
/// digest has some 7,000 characters; Slack refuses messages of more than about 12,000 (`msg_blocks_too_long`).
const VALUE: usize = 300;
/// Content types that Slack shows as an image.
const SHOWN: [&str; 3] = ["image/png", "image/jpeg", "image/gif"];

/// Returns the message about `event`.
pub(super) fn message(event: &Event) -> Value {
    let title = title(event);
    let mut blocks = vec![header(&title)];
    blocks.push(json!({"type": "section", "fields": fields(event)}));
    blocks.extend(event.progress.as_ref().map(progress));
    blocks.extend(event.batch.as_ref().map(batch));
    blocks.extend(event.error.as_ref().map(error));
    if let Some(result) = &event.result {
        blocks.extend(outputs(&result.outputs));
        blocks.extend(images(event, &result.outputs));
    }
    if !event.metadata.is_empty() {
        let pairs = event.metadata.iter();
        let lines =
            pairs.map(|(key, value)| format!("{}: {}", code(key, VALUE), code(value, VALUE)));
        blocks.push(list("*Metadata*", lines));
    }
    blocks.push(json!({"type": "context", "elements": [mrkdwn(&context(event))]}));
    whole(&title, &blocks)
}

/// Returns the message about failures, for operators.
pub(in crate::roles::notifier) fn digest(digest: &DigestText) -> Value {
    let codes = digest.codes.iter().map(|line| code(line, VALUE));
    let first = digest.first.iter().map(|line| code(line, VALUE));
    let heading = match digest.more {
        0 => "*Requests*".to_owned(),
        _ => format!("*The first {}*", digest.first.len()),
    };
    let mut blocks = vec![header(&digest.title), list("*By code*", codes)];
    // A section for each, because 20 do not fit into one.
    let sections = [heading].into_iter().chain(first);
    blocks.extend(sections.map(|text| section(&text)));
    blocks.push(json!({"type": "context", "elements": [mrkdwn(ADVICE)]}));
    whole(&digest.title, &blocks)
}

fn header(title: &str) -> Value {
    json!({
        "type": "header",
        "text": {"type": "plain_text", "text": plain(title, HEADER), "emoji": false},
    })
}

/// Assembles a message. Slack shows `title` where it does not show blocks: in notifications and to screen readers.
fn whole(title: &str, blocks: &[Value]) -> Value {
    json!({
        "text": plain(title, SECTION),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Removes the images from a message; returns whether there were any.
pub(super) fn without_images(message: &mut Value) -> bool {
    let Some(blocks) = message.get_mut("blocks").and_then(Value::as_array_mut) else {
        return false;
    };
    let before = blocks.len();
    blocks.retain(|block| block["type"] != "image");
    blocks.len() < before
}

/// Returns text in Slack's markup, in which Slack makes no links or mentions of its own accord.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

/// Returns a section with as many lines as fit, and the number of those left out.
fn list(heading: &str, lines: impl Iterator<Item = String>) -> Value {
    /// Room for the last line, `…and 10000 more`.
    const REST: usize = 40;
    let mut text = heading.to_owned();
    let mut left_out = 0_usize;
    for line in lines {
        if left_out > 0 || length(&text) + length(&line) + 1 > SECTION - REST {
            left_out += 1;
        } else {
            text.push('\n');
            text.push_str(&line);
        }
    }
    if left_out > 0 {
        text.push_str(&format!("\n…and {left_out} more"));
    }
    section(&text)
}

/// Returns a time that Slack shows in the reader's format and time zone.
fn time(millis: i64) -> String {
    let at = DateTime::from_timestamp_millis(millis.max(0)).unwrap_or_default();
    let plain = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let seconds = at.timestamp();
    format!("<!date^{seconds}^{{date_short_pretty}} {{time_secs}}|{plain}>")
}

fn title(event: &Event) -> String {
    let kind = match event.kind {
        Kind::Unknown => "Request",
        Kind::Video => "Video",
        Kind::Image => "Image",
        Kind::Batch => "Batch",
    };
    let what = match event.event_type {
        EventType::Unknown => "has news",
        EventType::Started => "started",
        EventType::Progress => "in progress",
        EventType::Completed => "completed",
        EventType::Failed => "failed",
        EventType::Cancelled => "cancelled",
        EventType::Rejected => "rejected",
    };
    format!("{kind} {what}: {}", event.request_id)
}

fn fields(event: &Event) -> Vec<Value> {
    let mut fields = vec![field("Request", &event.request_id)];
    if !event.user_id.is_empty() {
        fields.push(field("User", &event.user_id));
    }
    fields.extend(event.batch_id.as_ref().map(|batch| field("Batch", batch)));
    if event.retry > 0 {
        fields.push(field("Retry", &event.retry.to_string()));
    }
    if let Some(result) = &event.result {
        fields.extend(made(result));
    }
    if let Some(record) = &event.record {
        let position = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        fields.push(field("Record", &position));
    }
    fields.truncate(FIELDS);
    fields
}

fn made(result: &Generated) -> Vec<Value> {
    let seconds = result.elapsed_ms as f64 / 1000.0;
    let mut fields = vec![
        field("Made by", &result.provider),
        field("Took", &format!("{seconds:.1} s")),
    ];
    fields.extend(dollars(result).map(|cost| field("Cost", &format!("USD {cost}"))));
    fields
}

fn field(label: &str, value: &str) -> Value {
    let room = FIELD - length(label) - 3;
    mrkdwn(&format!("*{label}*\n{}", code(value, room)))
}

fn progress(progress: &Progress) -> Value {
    let Progress {
        percent,
        stage,
        message,
    } = progress;
    let mut text = format!("*{percent} %* {}", code(stage, VALUE));
    if let Some(message) = message {
        text.push('\n');
        text.push_str(&code(message, SECTION - length(&text) - 1));
    }
    section(&text)
}

fn batch(batch: &BatchSummary) -> Value {
    let BatchSummary {
        total,
        completed,
        failed,
        cancelled,
        not_started,
    } = batch;
    let text = format!(
        "*{total} items*: {completed} completed, {failed} failed, {cancelled} cancelled, {not_started} not started"
    );
    section(&text)
}

fn error(error: &EventError) -> Value {
    let again = if error.retryable {
        "\nThe same request may succeed later."
    } else {
        ""
    };
    let heading = format!("*{}*", code(error.code.as_str(), VALUE));
    let room = SECTION - length(&heading) - length(again) - 1;
    let text = format!("{heading}\n{}{again}", code(&error.message, room));
    section(&text)
}

fn outputs(outputs: &[Output]) -> Option<Value> {
    let heading = match outputs.len() {
        0 => return None,
        1 => "*1 output*".to_owned(),
        many => format!("*{many} outputs*"),
    };
    Some(list(&heading, outputs.iter().map(output)))
}

fn output(output: &Output) -> String {
    let mut line = code(&output.content_type, VALUE);
    if let (Some(width), Some(height)) = (output.width, output.height) {
        line.push_str(&format!(", {width} × {height}"));
    }
    if let Some(seconds) = output.duration_seconds {
        line.push_str(&format!(", {seconds:.1} s"));
    }
    line.push_str(&format!(", {}", size(output.bytes)));
    let link = public(output)
        .map(|url| link(&url, "open"))
        .filter(|link| length(link) < ADDRESS / 2);
    line.push_str(" · ");
    line.push_str(&link.unwrap_or_else(|| code(&output.uri, VALUE)));
    line
}

fn images<'e>(event: &'e Event, outputs: &'e [Output]) -> impl Iterator<Item = Value> + 'e {
    let shown = outputs
        .iter()
        .filter(|output| SHOWN.contains(&output.content_type.as_str()));
    let addresses = shown
        .filter_map(public)
        .filter(|url| length(url.as_str()) <= ADDRESS);
    addresses.take(IMAGES).enumerate().map(|(at, url)| {
        let alternative = format!("Image {} of {}", at + 1, event.request_id);
        json!({
            "type": "image",
            "image_url": url.as_str(),
            "alt_text": plain(&alternative, ALT_TEXT),
        })
    })
}

/// Returns the URL of an output if anyone, including Slack, can fetch it.
fn public(output: &Output) -> Option<Url> {
    let url = Url::parse(output.url.as_deref()?).ok()?;
    let open = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && open && public_address::check(&url).is_ok()).then_some(url)
}

fn context(event: &Event) -> String {
    let Event {
        event_id,
        request_id,
        retry,
        sequence,
        ..
    } = event;
    format!(
        "request {} · event {} · retry {retry} · sequence {sequence} · {}",
        code(request_id, VALUE),
        code(event_id, VALUE),
        time(event.occurred_at)
    )
}

#[cfg(test)]
pub(super) mod tests;
