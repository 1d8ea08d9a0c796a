//! Reads requests and commands from Avro, field by field, so that a fault names its field and the expected value.

use std::time::Duration;

use super::PartialRequest;
use super::fields::Fields;
use crate::domain::{
    Action, BatchItem, BatchSpec, Command, Common, EventType, Fallback, ImageSpec, Input, Invalid,
    Kind, OnFailure, OnUnsupported, Priority, ProviderName, Request, Role, Single, Spec, Strategy,
    Targets, UserId, VideoSpec, input_url,
};

/// Reads the part of an invalid request that is needed to answer it with an event.
pub(crate) fn named(fields: &Fields<'_>) -> Result<PartialRequest, Invalid> {
    Ok(PartialRequest {
        request: fields.get::<String>("request_id")?.try_into()?,
        // An invalid user id names no tenant and may be as long as the record, so it is left empty.
        user: UserId::try_from(fields.get::<String>("user_id")?)
            .map_or_else(|_| String::new(), |user| user.as_str().to_owned()),
        kind: match fields.branch("spec")? {
            (0, _) => Kind::Video,
            (1, _) => Kind::Image,
            (2, _) => Kind::Batch,
            _ => Kind::Unknown,
        },
        targets: targets(fields).unwrap_or_default(),
        notify_on: notify_on(fields)?,
    })
}

pub(crate) fn request(fields: &Fields<'_>) -> Result<Request, Invalid> {
    let user: String = fields.get("user_id")?;
    Ok(Request {
        id: fields.get::<String>("request_id")?.try_into()?,
        user: user
            .try_into()
            .map_err(|error| Invalid::new("user_id", format!("{error}")))?,
        spec: match fields.branch("spec")? {
            (0, video) => Single::Video(video_spec(&video)?).into(),
            (1, image) => Single::Image(image_spec(&image)?).into(),
            (_, batch) => Spec::Batch(batch_spec(&batch)?),
        },
        priority: match fields.get("priority")? {
            "HIGH" => Priority::High,
            "LOW" => Priority::Low,
            // A symbol of a later version reads as UNKNOWN; it must not block the request (contract, 5.14).
            _ => Priority::Normal,
        },
        timeout: timeout(fields)?,
        targets: targets(fields)?,
        notify_on: notify_on(fields)?,
        metadata: fields.get("metadata")?,
        requested_at: fields.get("requested_at")?,
    })
}

fn timeout(fields: &Fields<'_>) -> Result<Option<Duration>, Invalid> {
    let seconds: Option<i32> = fields.get("timeout_seconds")?;
    let timeout = |seconds| match u64::try_from(seconds) {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => Err(Request::timeout_out_of_bounds(seconds)),
    };
    seconds.map(timeout).transpose()
}

fn targets(fields: &Fields<'_>) -> Result<Targets, Invalid> {
    Targets::parse(
        fields.get("webhook_url")?,
        fields.get("notify_email")?,
        fields.get("notify_slack")?,
    )
}

fn notify_on(fields: &Fields<'_>) -> Result<Vec<EventType>, Invalid> {
    let names: Vec<&str> = fields.get("notify_on")?;
    let mut known = Vec::new();
    for kind in names.into_iter().map(EventType::parse) {
        // Repeats are dropped: every event carries this list, and one record could repeat a type a million times.
        if kind != EventType::Unknown && !known.contains(&kind) {
            known.push(kind);
        }
    }
    Ok(known)
}

fn video_spec(fields: &Fields<'_>) -> Result<VideoSpec, Invalid> {
    Ok(VideoSpec {
        common: common(fields)?,
        duration: fields.get("duration")?,
        resolution: fields.get("resolution")?,
        fps: fields.get("fps")?,
        audio: fields.get("audio")?,
    })
}

fn image_spec(fields: &Fields<'_>) -> Result<ImageSpec, Invalid> {
    Ok(ImageSpec {
        common: common(fields)?,
        width: fields.get("width")?,
        height: fields.get("height")?,
        num_images: fields.get("num_images")?,
        output_format: fields.get("output_format")?,
    })
}

fn common(fields: &Fields<'_>) -> Result<Common, Invalid> {
    let provider: Option<&str> = fields.get("provider")?;
    Ok(Common {
        prompt: fields.get("prompt")?,
        negative_prompt: fields.get("negative_prompt")?,
        aspect_ratio: fields.get("aspect_ratio")?,
        style: fields.get("style")?,
        seed: fields.get("seed")?,
        inputs: each(fields, "inputs", input)?,
        provider: provider
            .map(|name| ProviderName::parse("spec.provider", name))
            .transpose()?,
        model: fields.get("model")?,
        params: fields.get("params")?,
        on_unsupported: match fields.get("on_unsupported")? {
            "REFUSE" => OnUnsupported::Refuse,
            "DROP" => OnUnsupported::Drop,
            _ => return Err(unknown("spec.on_unsupported", "REFUSE or DROP")),
        },
        fallback: each(fields, "fallback", fallback)?,
    })
}

/// Reads the records of a list in a spec; a fault names the record by its index.
fn each<T>(
    fields: &Fields<'_>,
    name: &'static str,
    read: impl Fn(&Fields<'_>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let records = fields.records(name)?;
    let read = |(index, record): (usize, &Fields<'_>)| {
        read(record).map_err(|fault| {
            let field = format!("spec.{name}[{index}].{}", fault.field);
            Invalid::new(field, fault.problem)
        })
    };
    records.iter().enumerate().map(read).collect()
}

fn input(fields: &Fields<'_>) -> Result<Input, Invalid> {
    let symbol: &str = fields.get("role")?;
    let role = Role::ALL.into_iter().find(|(name, _)| *name == symbol);
    let names = Role::ALL.map(|(name, _)| name).join(", ");
    Ok(Input {
        url: input_url("url", fields.get("url")?)?,
        role: role
            .map(|(_, role)| role)
            .ok_or_else(|| unknown("role", &format!("one of {names}")))?,
    })
}

fn fallback(fields: &Fields<'_>) -> Result<Fallback, Invalid> {
    Ok(Fallback {
        provider: ProviderName::parse("provider", fields.get("provider")?)?,
        model: fields.get("model")?,
    })
}

/// Returns the fault for an enum symbol that this version does not know: one of a later version, or UNKNOWN itself.
fn unknown(field: &str, wanted: &str) -> Invalid {
    Invalid::new(field, format!("is unknown, expected {wanted}"))
}

fn batch_spec(fields: &Fields<'_>) -> Result<BatchSpec, Invalid> {
    Ok(BatchSpec {
        strategy: match fields.get("strategy")? {
            "PARALLEL" => Strategy::Parallel,
            "SEQUENTIAL" => Strategy::Sequential,
            _ => return Err(unknown("spec.strategy", "PARALLEL or SEQUENTIAL")),
        },
        max_concurrent: fields.get("max_concurrent")?,
        on_failure: match fields.get("on_failure")? {
            "CONTINUE" => OnFailure::Continue,
            "STOP" => OnFailure::Stop,
            _ => return Err(unknown("spec.on_failure", "CONTINUE or STOP")),
        },
        items: fields
            .records("items")?
            .iter()
            .enumerate()
            .map(|(index, item)| batch_item(item).map_err(|error| error.of_item(index)))
            .collect::<Result<_, _>>()?,
    })
}

fn batch_item(fields: &Fields<'_>) -> Result<BatchItem, Invalid> {
    let webhook = Targets::parse(fields.get("webhook_url")?, None, None)?.webhook;
    Ok(BatchItem {
        request_id: fields.get::<String>("request_id")?.try_into()?,
        spec: match fields.branch("spec")? {
            (0, video) => Single::Video(video_spec(&video)?),
            (_, image) => Single::Image(image_spec(&image)?),
        },
        webhook_url: webhook,
        notify_on: notify_on(fields)?,
        metadata: fields.get("metadata")?,
    })
}

pub(crate) fn command(fields: &Fields<'_>) -> Result<Command, Invalid> {
    let id: String = fields.get("command_id")?;
    Ok(Command {
        id: id
            .try_into()
            .map_err(|error| Invalid::new("command_id", format!("{error}")))?,
        request: fields.get::<String>("request_id")?.try_into()?,
        action: match fields.get("action")? {
            "CANCEL" => Action::Cancel,
            "RETRY" => Action::Retry,
            _ => return Err(unknown("action", "CANCEL or RETRY")),
        },
        reason: fields.get("reason")?,
        issued_by: fields.get("issued_by")?,
    })
}
