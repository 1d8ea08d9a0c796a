//! Parses a request that a person wrote in JSON into a [`Request`]: strict, so that a misspelt field is an error.
//!
//! There are two forms: nested, as in the schema (with `spec`), and flat, as in the original system. A field that is
//! left out takes the schema's default; a missing request id is generated.

mod fields;

use std::time::Duration;

use serde_json::Value as Json;

use self::fields::Form;
use crate::domain::{
    BatchItem, BatchSpec, Common, EventType, Fallback, Faults, ImageSpec, Input, Invalid, Kind,
    OnFailure, OnUnsupported, Priority, ProviderName, Request, RequestId, Role, Single, Spec,
    Strategy, Targets, UserId, VideoSpec, input_url,
};

/// Values for what a form leaves out.
pub(super) struct Defaults<'d> {
    /// The kind, if the form does not show it.
    pub(super) kind: Option<Kind>,
    pub(super) user: &'d str,
    /// Time of the request, in milliseconds since the epoch.
    pub(super) now: i64,
    /// Generates a request id for the kind.
    pub(super) id: &'d dyn Fn(Kind) -> String,
}

const ENVELOPE: &[&str] = &[
    "request_id",
    "user_id",
    "type",
    "kind",
    "priority",
    "timeout_seconds",
    "webhook_url",
    "notify_email",
    "notify_slack",
    "notify_on",
    "metadata",
    "requested_at",
];
const ITEM: &[&str] = &[
    "request_id",
    "user_id",
    "type",
    "kind",
    "webhook_url",
    "notify_on",
    "metadata",
];
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
/// Names that the original system used for a batch's id and items.
const ALIASES: &[&str] = &["batch_id", "requests"];

/// Reads one request.
///
/// # Errors
/// The first field that is unknown, missing or of the wrong type; if there is none, all that are out of bounds.
pub(super) fn request(json: &Json, defaults: &Defaults<'_>) -> Result<Request, Faults> {
    parsed(json, defaults)?.check()
}

fn parsed(json: &Json, defaults: &Defaults<'_>) -> Result<Request, Invalid> {
    let form = Form::of("", json)?;
    let (kind, spec) = allowed(&form, ENVELOPE, defaults.kind)?;
    let fields = spec.as_ref().unwrap_or(&form);
    let id = match (form.string("request_id")?, form.string("batch_id")?) {
        (Some(id), None) | (None, Some(id)) => id.to_owned(),
        (None, None) => (defaults.id)(kind),
        (Some(_), Some(_)) => {
            let problem = "is another name of request_id, expected one of the two";
            return Err(Invalid::new("batch_id", problem));
        }
    };
    let id = request_id(&form, "request_id", id)?;
    let user = match form.string("user_id")? {
        None if kind == Kind::Batch => user_of_items(fields)?,
        user => user,
    };
    let user = user.unwrap_or(defaults.user).to_owned();
    let user =
        UserId::try_from(user).map_err(|error| Invalid::new("user_id", error.to_string()))?;
    Ok(Request {
        spec: match kind {
            Kind::Video => Single::Video(video(fields)?).into(),
            Kind::Image => Single::Image(image(fields)?).into(),
            Kind::Batch | Kind::Unknown => Spec::Batch(batch(fields, &id, &user)?),
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
    let (own, aliases): (&[&[&'static str]], &[&'static str]) = match kind {
        Kind::Video => (&[COMMON, VIDEO], &[]),
        Kind::Image => (&[COMMON, IMAGE], &[]),
        Kind::Batch | Kind::Unknown => (&[BATCH], ALIASES),
    };
    match &spec {
        Some(spec) => {
            form.allow(&[envelope, &["spec"]].concat(), &["batch_id"])?;
            spec.allow(&own.concat(), &[])?;
        }
        None => form.allow(&[&[envelope], own].concat().concat(), aliases)?,
    }
    Ok((kind, spec))
}

/// Returns the kind: from `type` or `kind`, else from the fields that are present, else the default.
fn kind(form: &Form<'_>, fields: &Form<'_>, default: Option<Kind>) -> Result<Kind, Invalid> {
    for name in ["type", "kind"] {
        if let Some(word) = form.string(name)? {
            return match word.to_ascii_lowercase().as_str() {
                "video" => Ok(Kind::Video),
                "image" => Ok(Kind::Image),
                "batch" => Ok(Kind::Batch),
                _ => Err(form.wrong(
                    name,
                    &format!("is {word:?}, expected video, image or batch"),
                )),
            };
        }
    }
    let has = |names: &[&'static str]| names.iter().copied().find(|name| fields.has(name));
    let batch = has(BATCH)
        .or(has(ALIASES))
        .or(form.has("batch_id").then_some("batch_id"));
    match (batch, has(VIDEO), has(IMAGE)) {
        (Some(_), None, None) => Ok(Kind::Batch),
        (None, Some(_), None) => Ok(Kind::Video),
        (None, None, Some(_)) => Ok(Kind::Image),
        (None, None, None) => default.ok_or_else(|| {
            form.wrong(
                "type",
                "is missing, and the fields do not show it, expected video or image",
            )
        }),
        // With a default, the fields of the other kind are the wrong ones, and `allow` reports them.
        (_, video, image) => default.ok_or_else(|| {
            let names: Vec<_> = [batch, video, image].into_iter().flatten().collect();
            let mixed = format!(
                "is missing, and {} belong to different kinds",
                names.join(" and ")
            );
            form.wrong("type", &mixed)
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
    form.allow(&["url", "role"], &[])?;
    let url = input_url("url", form.required("url")?);
    Ok(Input {
        url: url.map_err(|error| form.wrong("url", &error.problem))?,
        role: form.word("role", &Role::ALL)?.unwrap_or_default(),
    })
}

/// Reads an entry of `fallback`.
fn other(form: &Form<'_>) -> Result<Fallback, Invalid> {
    form.allow(&["provider", "model"], &[])?;
    let missing = || form.wrong("provider", "is missing");
    Ok(Fallback {
        provider: provider(form)?.ok_or_else(missing)?,
        model: text(form, "model")?,
    })
}

fn batch(form: &Form<'_>, batch: &RequestId, user: &UserId) -> Result<BatchSpec, Invalid> {
    let mut items = Vec::new();
    for (index, item) in forms_of_items(form)?.iter().enumerate() {
        items.push(batch_item(item, index, batch, user)?);
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

fn forms_of_items<'j>(form: &Form<'j>) -> Result<Vec<Form<'j>>, Invalid> {
    match (form.records("items")?, form.records("requests")?) {
        (Some(items), None) | (None, Some(items)) => Ok(items),
        (None, None) => Err(form.wrong("items", "is missing")),
        (Some(_), Some(_)) => Err(form.wrong(
            "requests",
            "is another name of items, expected one of the two",
        )),
    }
}

/// Returns the user of the first item: the original system had users in items only.
fn user_of_items<'j>(form: &Form<'j>) -> Result<Option<&'j str>, Invalid> {
    match forms_of_items(form)?.first() {
        Some(item) => item.string("user_id"),
        None => Ok(None),
    }
}

fn batch_item(
    form: &Form<'_>,
    index: usize,
    batch: &RequestId,
    user: &UserId,
) -> Result<BatchItem, Invalid> {
    let (kind, spec) = allowed(form, ITEM, None)?;
    if let Some(own) = form.string("user_id")?
        && own != user.as_str()
    {
        let problem = format!("is {own:?}, expected the batch's user {:?}", user.as_str());
        return Err(form.wrong("user_id", &problem));
    }
    let fields = spec.as_ref().unwrap_or(form);
    let spec = match kind {
        Kind::Video => Single::Video(video(fields)?),
        Kind::Image => Single::Image(image(fields)?),
        Kind::Batch | Kind::Unknown => {
            return Err(form.wrong("type", "is batch, expected video or image"));
        }
    };
    let id = form.string("request_id")?.map(str::to_owned);
    let id = id.unwrap_or_else(|| format!("{batch}-{}", index + 1));
    let webhook = Targets::parse(form.string("webhook_url")?, None, None);
    Ok(BatchItem {
        request_id: request_id(form, "request_id", id)?,
        spec,
        webhook_url: webhook
            .map_err(|error| form.wrong(&error.field, &error.problem))?
            .webhook,
        notify_on: event_types(form)?.unwrap_or_default(),
        metadata: form.texts("metadata")?.unwrap_or_default(),
    })
}

fn request_id(form: &Form<'_>, name: &str, id: String) -> Result<RequestId, Invalid> {
    RequestId::try_from(id).map_err(|error| form.wrong(name, &error.to_string()))
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
            let problem = format!(
                "contains {word:?}, expected STARTED, PROGRESS, COMPLETED, FAILED, CANCELLED or REJECTED"
            );
            return Err(form.wrong("notify_on", &problem));
        }
        types.push(kind);
    }
    Ok(Some(types))
}

#[cfg(test)]
mod tests;
