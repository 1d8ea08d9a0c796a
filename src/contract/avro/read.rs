//! Reads requests and commands from Avro, field by field; a fault names its field and says what is expected.

use std::time::Duration;

use super::Named;
use super::fields::Fields;
use crate::domain::{
    Action, BatchItem, BatchSpec, Command, Common, EventType, Fallback, ImageSpec, Input, Invalid,
    Kind, OnFailure, OnUnsupported, Priority, ProviderName, Request, Role, Single, Spec, Strategy,
    Targets, UserId, VideoSpec, input_url,
};

pub(crate) fn named(fields: &Fields<'_>) -> Result<Named, Invalid> {
    Ok(Named {
        request: fields.string("request_id")?.to_owned().try_into()?,
        // An invalid user id names no tenant, and may be as long as the record.
        user: UserId::try_from(fields.string("user_id")?.to_owned())
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
    let user = fields.string("user_id")?.to_owned();
    Ok(Request {
        id: fields.string("request_id")?.to_owned().try_into()?,
        user: user
            .try_into()
            .map_err(|error| Invalid::new("user_id", format!("{error}")))?,
        spec: match fields.branch("spec")? {
            (0, video) => Single::Video(video_spec(&video)?).into(),
            (1, image) => Single::Image(image_spec(&image)?).into(),
            (_, batch) => Spec::Batch(batch_spec(&batch)?),
        },
        priority: match fields.symbol("priority")? {
            "HIGH" => Priority::High,
            "LOW" => Priority::Low,
            // A symbol of a later version reads as UNKNOWN; it must not block the request (contract, 5.14).
            _ => Priority::Normal,
        },
        timeout: timeout(fields)?,
        targets: targets(fields)?,
        notify_on: notify_on(fields)?,
        metadata: fields.strings_by_name("metadata")?,
        requested_at: fields.optional_millis("requested_at")?,
    })
}

fn timeout(fields: &Fields<'_>) -> Result<Option<Duration>, Invalid> {
    let seconds = fields.optional_int("timeout_seconds")?;
    let seconds = seconds.map(|seconds| u64::try_from(seconds).map_err(|_| seconds));
    seconds
        .transpose()
        .map(|seconds| seconds.map(Duration::from_secs))
        .map_err(Request::timeout_out_of_bounds)
}

fn targets(fields: &Fields<'_>) -> Result<Targets, Invalid> {
    Targets::parse(
        fields.optional_string("webhook_url")?,
        fields.optional_string("notify_email")?,
        fields.optional_string("notify_slack")?,
    )
}

fn notify_on(fields: &Fields<'_>) -> Result<Vec<EventType>, Invalid> {
    let names = fields.symbols("notify_on")?;
    let mut known = Vec::new();
    for kind in names.into_iter().map(EventType::parse) {
        // Without repeats: every event carries this list, and a record has room for a million symbols.
        if kind != EventType::Unknown && !known.contains(&kind) {
            known.push(kind);
        }
    }
    Ok(known)
}

fn video_spec(fields: &Fields<'_>) -> Result<VideoSpec, Invalid> {
    Ok(VideoSpec {
        common: common(fields)?,
        duration: fields.optional_int("duration")?,
        resolution: fields.optional_string("resolution")?.map(str::to_owned),
        fps: fields.optional_int("fps")?,
        audio: fields.optional_bool("audio")?,
    })
}

fn image_spec(fields: &Fields<'_>) -> Result<ImageSpec, Invalid> {
    Ok(ImageSpec {
        common: common(fields)?,
        width: fields.optional_int("width")?,
        height: fields.optional_int("height")?,
        num_images: fields.optional_int("num_images")?,
        output_format: fields.optional_string("output_format")?.map(str::to_owned),
    })
}

fn common(fields: &Fields<'_>) -> Result<Common, Invalid> {
    let text = |name| Ok::<_, Invalid>(fields.optional_string(name)?.map(str::to_owned));
    let provider = fields.optional_string("provider")?;
    Ok(Common {
        prompt: fields.string("prompt")?.to_owned(),
        negative_prompt: text("negative_prompt")?,
        aspect_ratio: text("aspect_ratio")?,
        style: text("style")?,
        seed: fields.optional_long("seed")?,
        inputs: each(fields, "inputs", input)?,
        provider: provider
            .map(|name| ProviderName::parse("spec.provider", name))
            .transpose()?,
        model: text("model")?,
        params: fields.strings_by_name("params")?,
        on_unsupported: match fields.symbol("on_unsupported")? {
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
    let symbol = fields.symbol("role")?;
    let role = Role::ALL.into_iter().find(|(name, _)| *name == symbol);
    let names = Role::ALL.map(|(name, _)| name).join(", ");
    Ok(Input {
        url: input_url("url", fields.string("url")?)?,
        role: role
            .map(|(_, role)| role)
            .ok_or_else(|| unknown("role", &format!("one of {names}")))?,
    })
}

fn fallback(fields: &Fields<'_>) -> Result<Fallback, Invalid> {
    Ok(Fallback {
        provider: ProviderName::parse("provider", fields.string("provider")?)?,
        model: fields.optional_string("model")?.map(str::to_owned),
    })
}

/// Returns the fault of a symbol that is not ours: one of a later version, or UNKNOWN itself.
fn unknown(field: &str, wanted: &str) -> Invalid {
    Invalid::new(field, format!("is unknown, expected {wanted}"))
}

fn batch_spec(fields: &Fields<'_>) -> Result<BatchSpec, Invalid> {
    Ok(BatchSpec {
        strategy: match fields.symbol("strategy")? {
            "PARALLEL" => Strategy::Parallel,
            "SEQUENTIAL" => Strategy::Sequential,
            _ => return Err(unknown("spec.strategy", "PARALLEL or SEQUENTIAL")),
        },
        max_concurrent: fields.int("max_concurrent")?,
        on_failure: match fields.symbol("on_failure")? {
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
    let webhook = Targets::parse(fields.optional_string("webhook_url")?, None, None)?.webhook;
    Ok(BatchItem {
        request_id: fields.string("request_id")?.to_owned().try_into()?,
        spec: match fields.branch("spec")? {
            (0, video) => Single::Video(video_spec(&video)?),
            (_, image) => Single::Image(image_spec(&image)?),
        },
        webhook_url: webhook,
        notify_on: notify_on(fields)?,
        metadata: fields.strings_by_name("metadata")?,
    })
}

pub(crate) fn command(fields: &Fields<'_>) -> Result<Command, Invalid> {
    let id = fields.string("command_id")?.to_owned();
    Ok(Command {
        id: id
            .try_into()
            .map_err(|error| Invalid::new("command_id", format!("{error}")))?,
        request: fields.string("request_id")?.to_owned().try_into()?,
        action: match fields.symbol("action")? {
            "CANCEL" => Action::Cancel,
            "RETRY" => Action::Retry,
            _ => return Err(unknown("action", "CANCEL or RETRY")),
        },
        reason: fields.optional_string("reason")?.map(str::to_owned),
        issued_by: fields.optional_string("issued_by")?.map(str::to_owned),
    })
}
