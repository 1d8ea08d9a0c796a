//! Parses a request that a person wrote in JSON into a [`Request`]: strict, so that a misspelt field is an error.
//!
//! There are two forms: nested, as in the schema (with `spec`), and flat, like the flags of `genflow submit`. A field
//! that is left out takes the schema's default; a missing request id is generated.

mod fields;

use std::time::Duration;

use serde_json::Value as Json;

use self::fields::Form;
use crate::domain::{
    BatchItem, BatchSpec, Common, EventType, Fallback, ImageSpec, Input, Invalid, InvalidFields,
    Kind, OnFailure, OnUnsupported, Priority, ProviderName, Request, RequestId, Role, Single, Spec,
    Strategy, Targets, UserId, VideoSpec, input_url,
};

/// Values for what a form leaves out.
pub(super) struct Defaults<'d> {
    /// The kind, if the form does not show it.
    pub(super) kind: Option<Kind>,
    pub(super) user: &'d str,
    /// Time of the request, in milliseconds since the epoch.
    pub(super) now: i64,
}

const ENVELOPE: &[&str] = &[
    "request_id",
    "user_id",
    "type",
    "priority",
    "timeout_seconds",
    "webhook_url",
    "notify_email",
    "notify_slack",
    "notify_on",
    "metadata",
    "requested_at",
];
const ITEM: &[&str] = &["request_id", "type", "webhook_url", "notify_on", "metadata"];
const COMMON: &[&str] = &[
    "prompt",
    "negative_prompt",
    "aspect_ratio",
    "style",
    "seed",
    "inputs",
    "provider",
    "model",
    "params",
    "on_unsupported",
    "fallback",
];
const VIDEO: &[&str] = &["duration", "resolution", "fps", "audio"];
const IMAGE: &[&str] = &["width", "height", "num_images", "output_format"];
const BATCH: &[&str] = &["strategy", "max_concurrent", "on_failure", "items"];

/// Reads one request.
///
/// # Errors
/// The first field that is unknown, missing or of the wrong type; without such a field, all that are out of bounds.
pub(super) fn request(json: &Json, defaults: &Defaults<'_>) -> Result<Request, InvalidFields> {
    parsed(json, defaults)?.check()
}

fn parsed(json: &Json, defaults: &Defaults<'_>) -> Result<Request, Invalid> {
    let form = Form::of("", json)?;
    let (kind, spec) = allowed(&form, ENVELOPE, defaults.kind)?;
    let fields = spec.as_ref().unwrap_or(&form);
    let id = form.string("request_id")?.map(str::to_owned);
    let id = request_id(&form, id.unwrap_or_else(|| new_id(kind, defaults.now)))?;
    let user = form.string("user_id")?.unwrap_or(defaults.user).to_owned();
    let user =
        UserId::try_from(user).map_err(|error| Invalid::new("user_id", error.to_string()))?;
    Ok(Request {
        spec: match kind {
            Kind::Video => Single::Video(video(fields)?).into(),
            Kind::Image => Single::Image(image(fields)?).into(),
            Kind::Batch | Kind::Unknown => Spec::Batch(batch(fields, &id)?),
        },
        id,
        user,
        priority: priority(&form)?,
        timeout: timeout(&form)?,
        targets: Targets::parse(
            form.string("webhook_url")?,
            form.string("notify_email")?,
            form.string("notify_slack")?,
        )?,
        notify_on: match event_types(&form)? {
            Some(types) => types,
            None => EventType::NOTIFIED_BY_DEFAULT.to_vec(),
        },
        metadata: form.texts("metadata")?.unwrap_or_default(),
        requested_at: Some(form.time("requested_at")?.unwrap_or(defaults.now)),
    })
}

/// Returns the kind of a form, and its `spec` if it is nested. Rejects fields that such a form does not have.
fn allowed<'j>(
    form: &Form<'j>,
    envelope: &[&'static str],
    default: Option<Kind>,
) -> Result<(Kind, Option<Form<'j>>), Invalid> {
    let spec = form.record("spec")?;
    let kind = kind(form, spec.as_ref().unwrap_or(form), default)?;
    let own: &[&[&'static str]] = match kind {
        Kind::Video => &[COMMON, VIDEO],
        Kind::Image => &[COMMON, IMAGE],
        Kind::Batch | Kind::Unknown => &[BATCH],
    };
    match &spec {
        Some(spec) => {
            form.allow(&[envelope, &["spec"]].concat())?;
            spec.allow(&own.concat())?;
        }
        None => form.allow(&[&[envelope], own].concat().concat())?,
    }
    Ok((kind, spec))
}

/// Returns the kind: from `type`, else from the fields that are present, else the default.
fn kind(form: &Form<'_>, fields: &Form<'_>, default: Option<Kind>) -> Result<Kind, Invalid> {
    let kinds = [
        ("video", Kind::Video),
        ("image", Kind::Image),
        ("batch", Kind::Batch),
    ];
    if let Some(kind) = form.word("type", &kinds)? {
        return Ok(kind);
    }
    let has = |names: &[&str]| names.iter().any(|name| fields.has(name));
    match (has(BATCH), has(VIDEO), has(IMAGE)) {
        (true, false, false) => Ok(Kind::Batch),
        (false, true, false) => Ok(Kind::Video),
        (false, false, true) => Ok(Kind::Image),
        // With a default, the fields of another kind are the wrong ones, and `allow` reports them.
        _ => default.ok_or_else(|| {
            let problem =
                "is missing, and the fields do not show it, expected video, image or batch";
            form.wrong("type", problem)
        }),
    }
}

fn video(form: &Form<'_>) -> Result<VideoSpec, Invalid> {
    Ok(VideoSpec {
        common: common(form)?,
        duration: form.int("duration")?,
        resolution: text(form, "resolution")?,
        fps: form.int("fps")?,
        audio: form.flag("audio")?,
    })
}

fn image(form: &Form<'_>) -> Result<ImageSpec, Invalid> {
    Ok(ImageSpec {
        common: common(form)?,
        width: form.int("width")?,
        height: form.int("height")?,
        num_images: form.int("num_images")?,
        output_format: text(form, "output_format")?,
    })
}

fn common(form: &Form<'_>) -> Result<Common, Invalid> {
    let on_unsupported = [
        ("REFUSE", OnUnsupported::Refuse),
        ("DROP", OnUnsupported::Drop),
    ];
    let inputs = form.records("inputs")?.unwrap_or_default();
    let fallback = form.records("fallback")?.unwrap_or_default();
    Ok(Common {
        prompt: form.required("prompt")?.to_owned(),
        negative_prompt: text(form, "negative_prompt")?,
        aspect_ratio: text(form, "aspect_ratio")?,
        style: text(form, "style")?,
        seed: form.long("seed")?,
        inputs: inputs.iter().map(input).collect::<Result<_, _>>()?,
        provider: provider(form)?,
        model: text(form, "model")?,
        params: form.json_texts("params")?.unwrap_or_default(),
        on_unsupported: form
            .word("on_unsupported", &on_unsupported)?
            .unwrap_or_default(),
        fallback: fallback.iter().map(other).collect::<Result<_, _>>()?,
    })
}

fn input(form: &Form<'_>) -> Result<Input, Invalid> {
    form.allow(&["url", "role"])?;
    let url = input_url("url", form.required("url")?);
    Ok(Input {
        url: url.map_err(|error| form.wrong("url", &error.problem))?,
        role: form.word("role", &Role::ALL)?.unwrap_or_default(),
    })
}

/// Reads an entry of `fallback`.
fn other(form: &Form<'_>) -> Result<Fallback, Invalid> {
    form.allow(&["provider", "model"])?;
    let missing = || form.wrong("provider", "is missing");
    Ok(Fallback {
        provider: provider(form)?.ok_or_else(missing)?,
        model: text(form, "model")?,
    })
}

fn batch(form: &Form<'_>, batch: &RequestId) -> Result<BatchSpec, Invalid> {
    let forms = form.records("items")?;
    let forms = forms.ok_or_else(|| form.wrong("items", "is missing"))?;
    let mut items = Vec::new();
    for (form, number) in forms.iter().zip(1..) {
        items.push(batch_item(form, number, batch)?);
    }
    Ok(BatchSpec {
        strategy: form
            .word(
                "strategy",
                &[
                    ("PARALLEL", Strategy::Parallel),
                    ("SEQUENTIAL", Strategy::Sequential),
                ],
            )?
            .unwrap_or(Strategy::Parallel),
        max_concurrent: form.int("max_concurrent")?.unwrap_or(3),
        on_failure: form
            .word(
                "on_failure",
                &[("CONTINUE", OnFailure::Continue), ("STOP", OnFailure::Stop)],
            )?
            .unwrap_or(OnFailure::Continue),
        items,
    })
}

fn batch_item(form: &Form<'_>, number: usize, batch: &RequestId) -> Result<BatchItem, Invalid> {
    let (kind, spec) = allowed(form, ITEM, None)?;
    let fields = spec.as_ref().unwrap_or(form);
    let spec = match kind {
        Kind::Video => Single::Video(video(fields)?),
        Kind::Image => Single::Image(image(fields)?),
        Kind::Batch | Kind::Unknown => {
            return Err(form.wrong("type", "is batch, expected video or image"));
        }
    };
    let id = form.string("request_id")?.map(str::to_owned);
    let id = id.unwrap_or_else(|| format!("{batch}-{number}"));
    let webhook = Targets::parse(form.string("webhook_url")?, None, None);
    Ok(BatchItem {
        request_id: request_id(form, id)?,
        spec,
        webhook_url: webhook
            .map_err(|error| form.wrong(&error.field, &error.problem))?
            .webhook,
        notify_on: event_types(form)?.unwrap_or_default(),
        metadata: form.texts("metadata")?.unwrap_or_default(),
    })
}

/// Generates a request id that sorts by time.
fn new_id(kind: Kind, now: i64) -> String {
    let millis = u64::try_from(now).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
    format!("{}-{id}", kind.as_str().to_ascii_lowercase())
}

fn request_id(form: &Form<'_>, id: String) -> Result<RequestId, Invalid> {
    RequestId::try_from(id).map_err(|error| form.wrong("request_id", &error.to_string()))
}

fn text(form: &Form<'_>, name: &str) -> Result<Option<String>, Invalid> {
    Ok(form.string(name)?.map(str::to_owned))
}

fn provider(form: &Form<'_>) -> Result<Option<ProviderName>, Invalid> {
    let Some(word) = form.string("provider")? else {
        return Ok(None);
    };
    let parsed = ProviderName::parse("provider", word);
    let parsed = parsed.map_err(|error| form.wrong("provider", &error.problem))?;
    Ok(Some(parsed))
}

fn priority(form: &Form<'_>) -> Result<Priority, Invalid> {
    let words = [
        ("LOW", Priority::Low),
        ("NORMAL", Priority::Normal),
        ("HIGH", Priority::High),
    ];
    Ok(form.word("priority", &words)?.unwrap_or(Priority::Normal))
}

fn timeout(form: &Form<'_>) -> Result<Option<Duration>, Invalid> {
    let Some(seconds) = form.int("timeout_seconds")? else {
        return Ok(None);
    };
    match u64::try_from(seconds) {
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(form.wrong(
            "timeout_seconds",
            &format!("is {seconds}, expected 1 to 604800"),
        )),
    }
}

fn event_types(form: &Form<'_>) -> Result<Option<Vec<EventType>>, Invalid> {
    let Some(words) = form.strings("notify_on")? else {
        return Ok(None);
    };
    let mut types = Vec::new();
    for word in words {
        let kind = EventType::parse(&word.to_ascii_uppercase());
        if kind == EventType::Unknown {
            let known = EventType::ALL.map(EventType::as_str).join(", ");
            let problem = format!("contains {word:?}, expected one of: {known}");
            return Err(form.wrong("notify_on", &problem));
        }
        types.push(kind);
    }
    Ok(Some(types))
}

#[cfg(test)]
mod tests;
