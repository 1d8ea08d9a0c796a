//! `genflow submit`: sends requests from flags or a file to `gen.requests`. Checks all before it sends the first.

use std::io::Write;

use clap::ValueHint;
use futures::StreamExt as _;
use serde_json::{Map, Value as Json, json};

use super::check::{Source, Sources, check};
use super::follow::Follow;
use super::form::{self, Defaults};
use super::local_files;
use super::terminal::bar;
use super::{ApiKey, Error, kind, watch};
use crate::contract::avro;
use crate::domain::{Invalid, InvalidFields, Kind, Request, Role};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::tail::{From, Tail};
use crate::operate::sender::RecordSender;

/// `genflow submit`.
#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    /// Kind of result; optional if the file gives it
    #[arg(value_name = "KIND", required_unless_present = "file", value_parser = kind())]
    pub kind: Option<Kind>,
    /// Read requests from a JSON file (- for standard input): an object, an array, or one object per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,
    /// What the result should show
    #[arg(long, help_heading = "What to generate")]
    pub prompt: Option<String>,
    /// What the result should not show
    #[arg(long, value_name = "TEXT", help_heading = "What to generate")]
    pub negative_prompt: Option<String>,
    /// Duration of the video in seconds
    #[arg(long, allow_negative_numbers = true, help_heading = "What to generate")]
    pub duration: Option<i32>,
    /// Resolution of the video: pixels such as 1280x720, or a class such as 720p
    #[arg(long, help_heading = "What to generate")]
    pub resolution: Option<String>,
    /// Frames per second of the video
    #[arg(long, allow_negative_numbers = true, help_heading = "What to generate")]
    pub fps: Option<i32>,
    /// Whether the video has sound
    #[arg(long, help_heading = "What to generate")]
    pub audio: Option<bool>,
    /// Width of the image in pixels
    #[arg(long, allow_negative_numbers = true, help_heading = "What to generate")]
    pub width: Option<i32>,
    /// Height of the image in pixels
    #[arg(long, allow_negative_numbers = true, help_heading = "What to generate")]
    pub height: Option<i32>,
    /// Ratio of width to height, such as 16:9
    #[arg(long, value_name = "RATIO", help_heading = "What to generate")]
    pub aspect_ratio: Option<String>,
    /// Number of images [default: 1]
    #[arg(long, allow_negative_numbers = true, help_heading = "What to generate")]
    pub num_images: Option<i32>,
    /// File format of the image, such as png
    #[arg(long, value_name = "FORMAT", help_heading = "What to generate")]
    pub output_format: Option<String>,
    /// Style: a word that the model knows
    #[arg(long, help_heading = "What to generate")]
    pub style: Option<String>,
    /// Seed, which makes the result repeatable
    #[arg(long, allow_negative_numbers = true, help_heading = "What to generate")]
    pub seed: Option<i64>,
    /// Input file, optionally with its role: first_frame, last_frame, source, reference or mask; may be repeated. A local
    /// file is stored in S3_BUCKET, where the provider reads it by a signed URL
    #[arg(
        long,
        value_name = "[ROLE=]URL|FILE",
        help_heading = "What to generate"
    )]
    pub input: Vec<String>,
    /// Provider that generates the result [default: as configured]
    #[arg(long, help_heading = "The model")]
    pub provider: Option<String>,
    /// Model of the provider [default: as configured]
    #[arg(long, help_heading = "The model")]
    pub model: Option<String>,
    /// Input of the model, by the model's own name; a value that is not JSON counts as a string; may be repeated
    #[arg(long, value_name = "NAME=JSON", value_parser = pair, help_heading = "The model")]
    pub param: Vec<(String, String)>,
    /// What to do with a field that the model has no input for [default: refuse]
    #[arg(long, value_name = "WORD", value_parser = ["refuse", "drop"], ignore_case = true, help_heading = "The model")]
    pub on_unsupported: Option<String>,
    /// Request id [default: a new one]
    #[arg(long, help_heading = "The request")]
    pub id: Option<String>,
    /// User id of requests that name none
    #[arg(long, default_value = "cli", help_heading = "The request")]
    pub user: String,
    /// Priority among the requests that wait [default: normal]
    #[arg(long, value_parser = ["low", "normal", "high"], ignore_case = true, help_heading = "The request")]
    pub priority: Option<String>,
    /// Deadline in whole seconds, such as 90s or 1h [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = "The request")]
    pub timeout: Option<u64>,
    /// URL to send the events to, by POST
    #[arg(long, value_name = "URL", help_heading = "Notifications")]
    pub webhook_url: Option<String>,
    /// Address to mail the events to
    #[arg(long, value_name = "ADDRESS", help_heading = "Notifications")]
    pub notify_email: Option<String>,
    /// Slack incoming-webhook URL to send the events to
    #[arg(long, value_name = "URL", help_heading = "Notifications")]
    pub notify_slack: Option<String>,
    /// Types of events to notify of, separated by commas [default: completed,failed,cancelled,rejected]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = EVENTS, ignore_case = true, help_heading = "Notifications")]
    pub notify_on: Vec<String>,
    /// Metadata, returned in every event; may be repeated
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair, help_heading = "The request")]
    pub metadata: Vec<(String, String)>,
    #[command(flatten)]
    pub key: ApiKey,
    /// Send nothing: show what the models would be sent, and what they would refuse
    #[arg(long, conflicts_with = "watch")]
    pub dry_run: bool,
    /// Follow the events to the end; exit code 0: all completed, 1: any failed, 2: any cancelled or rejected
    #[arg(long)]
    pub watch: bool,
    /// Print JSON: an object for each request, then one for each event
    #[arg(long)]
    pub json: bool,
}

/// The types of events that a user can be notified of.
const EVENTS: [&str; 6] = [
    "started",
    "progress",
    "completed",
    "failed",
    "cancelled",
    "rejected",
];
/// Largest value of a record, in bytes: the topic's limit, less room for headers.
const LARGEST: usize = 1024 * 1024 - 4096;
/// Maximum number of sends in flight.
const IN_FLIGHT: usize = 64;

pub(super) async fn submit(
    config: &Config,
    submit: &SubmitArgs,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let started = now();
    let mut forms = forms(submit)?;
    let mut requests = checked(forms.clone(), submit).await?;
    if submit.dry_run {
        let sources = Sources::new(config, Source { offline: false })?;
        return check(&sources, &requests, submit.json, out).await;
    }
    // Not those that a JSON file names: it may come from someone who must not read this machine's files.
    if submit.file.is_none() && local_files::share(config, &mut forms).await? {
        requests = parse(&forms, submit, started)?;
    }
    let sender = RecordSender::open(config, submit.key.get()?).await?;
    let topic = &config.kafka.topics.requests;
    let mut values = Vec::with_capacity(requests.len());
    for request in &requests {
        let datum = avro::write_request(request)?;
        if datum.len() > LARGEST {
            let (id, size) = (&request.id, datum.len());
            let problem = format!("request {id} has {size} bytes, expected at most {LARGEST}");
            return Err(Error::Usage(problem).into());
        }
        values.push(sender.frame(topic, &avro::REQUEST, &datum).await?);
    }
    // An id that the user chose may have been submitted before. A duplicate gets no events, so read the earlier ones.
    let own = forms.iter().any(|form| !form["request_id"].is_null());
    let from = if own { From::Beginning } else { From::End };
    let tail = match submit.watch {
        true => Some(Tail::open(&config.kafka, &config.kafka.topics.events, from).await?),
        false => None,
    };
    let sends = requests.iter().zip(&values);
    let sends = sends.map(|(request, value)| sender.send(topic, request.id.as_str(), value));
    let mut sent = futures::stream::iter(sends).buffered(IN_FLIGHT);
    let bar = bar("requests sent", Some(requests.len() as u64));
    for request in &requests {
        if let Some(result) = sent.next().await {
            result?;
        }
        bar.inc(1);
        let line = match submit.json {
            true => json!({ "request_id": request.id.as_str() }).to_string(),
            false => request.id.to_string(),
        };
        bar.suspend(|| writeln!(out, "{line}"))?;
    }
    bar.finish_and_clear();
    out.flush()?;
    let Some(tail) = tail else {
        return Ok(0);
    };
    let ids = requests.iter().map(|request| request.id.to_string());
    let follow = Follow::of(ids.collect(), Some(started));
    watch::show(config, &tail, follow, submit.json, out).await
}

/// Reads the requests that the flags or a file describe, to be checked only: local input files are not stored.
pub(super) async fn requests(submit: &SubmitArgs) -> anyhow::Result<Vec<Request>> {
    checked(forms(submit)?, submit).await
}

async fn checked(mut forms: Vec<Json>, submit: &SubmitArgs) -> anyhow::Result<Vec<Request>> {
    if submit.file.is_none() {
        local_files::check(&mut forms).await?;
    }
    Ok(parse(&forms, submit, now())?)
}

fn forms(submit: &SubmitArgs) -> Result<Vec<Json>, Error> {
    match &submit.file {
        Some(file) => {
            alone(submit)?;
            values(&read(file)?)
        }
        None => Ok(vec![from_flags(submit)]),
    }
}

fn parse(forms: &[Json], submit: &SubmitArgs, now: i64) -> Result<Vec<Request>, Error> {
    let defaults = Defaults {
        kind: submit.kind,
        user: &submit.user,
        now,
    };
    let mut requests = Vec::with_capacity(forms.len());
    for (index, form) in forms.iter().enumerate() {
        let fault = |mut error: InvalidFields| match (&submit.file, forms.len()) {
            (None, _) => {
                let listed = error.listed.iter_mut();
                listed.for_each(|one| one.field = flag(&one.field));
                Error::Usage(error.to_string())
            }
            (Some(_), 1) => Error::Usage(error.to_string()),
            (Some(_), _) => Error::Usage(format!("request {}: {error}", index + 1)),
        };
        let request = form::request(form, &defaults).map_err(fault)?;
        let made = request.spec.kind();
        if let Some(wanted) = defaults.kind.filter(|wanted| *wanted != made) {
            let (made, wanted) = (made.as_str(), wanted.as_str());
            let problem = format!("is {made}, but the command says {wanted}");
            return Err(fault(Invalid::new("type", problem).into()));
        }
        requests.push(request);
    }
    Ok(requests)
}

/// Returns the flag that sets a field of the flat form.
fn flag(field: &str) -> String {
    let name = field.strip_prefix("spec.").unwrap_or(field);
    let name = name.split(['.', '[']).next().unwrap_or_default();
    match name {
        // KIND is an argument, not a flag.
        "type" => "KIND".to_owned(),
        // A batch comes from a file.
        "items" => "--file".to_owned(),
        "request_id" => "--id".to_owned(),
        "user_id" => "--user".to_owned(),
        "timeout_seconds" => "--timeout".to_owned(),
        "params" => "--param".to_owned(),
        "inputs" => "--input".to_owned(),
        same => format!("--{}", same.replace('_', "-")),
    }
}

/// Checks that no flag describes a request if there is a file.
fn alone(submit: &SubmitArgs) -> Result<(), Error> {
    let flags = from_flags(submit);
    let mut given = flags.as_object().into_iter().flatten();
    match given.find(|(name, _)| *name != "type") {
        Some((name, _)) => Err(Error::Usage(format!(
            "{} cannot be used with --file; put it into the file",
            flag(name)
        ))),
        None => Ok(()),
    }
}

/// Reads a file, or standard input.
fn read(file: &str) -> Result<String, Error> {
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin().lock()),
        path => std::fs::read_to_string(path),
    };
    text.map_err(|error| Error::Usage(format!("cannot read --file {file}: {error}")))
}

/// Reads JSON values that follow each other, and the elements of arrays.
fn values(text: &str) -> Result<Vec<Json>, Error> {
    let mut forms = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter() {
        match value {
            Ok(Json::Array(items)) => forms.extend(items),
            Ok(other) => forms.push(other),
            Err(error) => return Err(Error::Usage(format!("the input is not JSON: {error}"))),
        }
    }
    if forms.is_empty() {
        return Err(Error::Usage("the input contains no request".to_owned()));
    }
    Ok(forms)
}

/// Returns the flags as a flat form, so that the same code parses flags and files.
fn from_flags(submit: &SubmitArgs) -> Json {
    let map = |pairs: &[(String, String)]| {
        let entries = pairs.iter().map(|(key, text)| (key.clone(), json!(text)));
        (!pairs.is_empty()).then(|| Json::Object(entries.collect::<Map<_, _>>()))
    };
    let list = |items: &[String]| (!items.is_empty()).then(|| json!(items));
    let inputs: Option<Json> =
        (!submit.input.is_empty()).then(|| submit.input.iter().map(|text| input(text)).collect());
    let all = json!({
        "type": submit.kind.map(Kind::as_str),
        "prompt": submit.prompt,
        "negative_prompt": submit.negative_prompt,
        "duration": submit.duration,
        "resolution": submit.resolution,
        "fps": submit.fps,
        "audio": submit.audio,
        "width": submit.width,
        "height": submit.height,
        "aspect_ratio": submit.aspect_ratio,
        "num_images": submit.num_images,
        "output_format": submit.output_format,
        "style": submit.style,
        "seed": submit.seed,
        "inputs": inputs,
        "provider": submit.provider,
        "model": submit.model,
        "params": map(&submit.param),
        "on_unsupported": submit.on_unsupported,
        "request_id": submit.id,
        "priority": submit.priority,
        "timeout_seconds": submit.timeout,
        "webhook_url": submit.webhook_url,
        "notify_email": submit.notify_email,
        "notify_slack": submit.notify_slack,
        "notify_on": list(&submit.notify_on),
        "metadata": map(&submit.metadata),
    });
    let given = all.as_object().into_iter().flatten();
    let given = given.filter(|(_, value)| !value.is_null());
    Json::Object(
        given
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// Reads `[ROLE=]URL` or `[ROLE=]FILE`; either may contain `=` itself.
fn input(text: &str) -> Json {
    let role = text.split_once('=').filter(|(word, _)| {
        let mut roles = Role::ALL.iter();
        roles.any(|(role, _)| role.eq_ignore_ascii_case(word))
    });
    match role {
        Some((role, url)) => json!({"url": url, "role": role}),
        None => json!({"url": text}),
    }
}

/// Reads a time in whole seconds, since a request can have no other.
fn seconds(text: &str) -> Result<u64, &'static str> {
    match super::duration(text)? {
        time if time.subsec_nanos() == 0 => Ok(time.as_secs()),
        _ => Err("expected whole seconds, such as 90s or 1h"),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE"),
    }
}

#[cfg(test)]
mod tests;
