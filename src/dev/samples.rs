//! The sample requests of `genflow dev`: sent like any producer does, followed like any reader of events does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::mailbox::Mailbox;
use super::receiver::Receiver;
use super::say;
use crate::contract::avro;
use crate::domain::{
    BatchItem, BatchSpec, Common, Event, EventType, ImageSpec, Kind, OnFailure, Priority, Request,
    Single, Spec, Strategy, Targets, VideoSpec,
};
use crate::engines::config::Config;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::engines::registry::Registry;

/// Mail address of the first sample; only the mail catcher receives mail for it.
const MAILED_TO: &str = "demo@example.com";

/// Sends one request of each kind and follows them to their end. With `mailbox`, also waits for the mail of the first.
pub(super) async fn run(
    config: &Config,
    receiver: &Receiver,
    mailbox: Option<&Mailbox>,
) -> anyhow::Result<()> {
    let registry = Registry::new(&config.schema_registry_url)?;
    let events = Tail::open(&config.kafka, &config.kafka.topics.events, From::End).await?;
    let mut open = BTreeSet::new();
    let mailed = mailbox.map(|_| MAILED_TO);
    for request in requests(receiver, mailed)? {
        send(config, &registry, &request).await?;
        open.insert(request.id.to_string());
    }
    let mut failed = BTreeMap::new();
    let mut last: BTreeMap<String, i32> = BTreeMap::new();
    while !open.is_empty() {
        let Some(event) = next(&events, &registry).await? else {
            continue;
        };
        let repeat = last
            .get(&event.request_id)
            .is_some_and(|last| event.sequence <= *last);
        let item = event.batch_id.as_ref();
        let ours = |id: &String| open.contains(id);
        if repeat || !(ours(&event.request_id) || item.is_some_and(ours)) {
            continue;
        }
        last.insert(event.request_id.clone(), event.sequence);
        show(&event);
        if item.is_some() {
            continue;
        }
        if event.event_type.is_terminal() || event.event_type == EventType::Rejected {
            open.remove(&event.request_id);
            if event.event_type != EventType::Completed {
                failed.insert(
                    event.request_id.clone(),
                    event.error.map_or_else(String::new, |error| error.message),
                );
            } else {
                receiver.received(&event.request_id).await;
                if let Some(mailbox) = mailbox.filter(|_| event.kind == Kind::Image) {
                    let subject = mailbox.received(&event.request_id).await;
                    say(&format!(
                        "  {:<24} mail arrived: {subject}",
                        event.request_id
                    ));
                }
            }
        }
    }
    if !failed.is_empty() {
        bail!("not completed: {failed:?}");
    }
    say("the sample requests completed");
    Ok(())
}

/// Shows the events of all requests until `stop`.
pub(super) async fn show_all(config: &Config, stop: &CancellationToken) -> anyhow::Result<()> {
    let registry = Registry::new(&config.schema_registry_url)?;
    let events = Tail::open(&config.kafka, &config.kafka.topics.events, From::End).await?;
    loop {
        let event = tokio::select! {
            event = next(&events, &registry) => event?,
            () = stop.cancelled() => return Ok(()),
        };
        if let Some(event) = event {
            show(&event);
        }
    }
}

fn requests(receiver: &Receiver, mailed: Option<&str>) -> anyhow::Result<[Request; 3]> {
    let video = VideoSpec {
        common: Common::new("waves at dusk"),
        duration: Some(5),
        resolution: Some("1280x720".to_owned()),
        ..VideoSpec::default()
    };
    let image = image("a red fox in the snow", 512);
    Ok([
        request("image", Single::Image(image).into(), receiver, mailed)?,
        request("video", Single::Video(video).into(), receiver, None)?,
        batch(receiver)?,
    ])
}

fn image(prompt: &str, side: i32) -> ImageSpec {
    ImageSpec {
        common: Common::new(prompt),
        width: Some(side),
        height: Some(side),
        ..ImageSpec::default()
    }
}

fn batch(receiver: &Receiver) -> anyhow::Result<Request> {
    let spec = BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 2,
        on_failure: OnFailure::Continue,
        items: Vec::new(),
    };
    let mut request = request("batch", Spec::Batch(spec), receiver, None)?;
    if let Spec::Batch(spec) = &mut request.spec {
        for (number, prompt) in (1..).zip(["an owl", "a lynx", "a hare"]) {
            spec.items.push(BatchItem {
                request_id: format!("{}-{number}", request.id).try_into()?,
                spec: Single::Image(image(prompt, 256)),
                webhook_url: None,
                notify_on: Vec::new(),
                metadata: BTreeMap::new(),
            });
        }
    }
    Ok(request)
}

fn request(
    name: &str,
    spec: Spec,
    receiver: &Receiver,
    mailed: Option<&str>,
) -> anyhow::Result<Request> {
    let unique = Uuid::new_v4().simple().to_string();
    let id = format!("{name}-{}", unique.get(..8).unwrap_or_default());
    Ok(Request {
        id: id.try_into()?,
        user: "demo".to_owned().try_into()?,
        spec,
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::parse(Some(receiver.url()), mailed, None)?,
        notify_on: vec![
            EventType::Started,
            EventType::Completed,
            EventType::Failed,
            EventType::Cancelled,
            EventType::Rejected,
        ],
        metadata: BTreeMap::from([("sent_by".to_owned(), "genflow dev".to_owned())]),
        requested_at: None,
    })
}

async fn send(config: &Config, registry: &Registry, request: &Request) -> anyhow::Result<()> {
    let topic = &config.kafka.topics.requests;
    let schema = registry
        .id_of(&format!("{topic}-value"), &avro::REQUEST)
        .await?;
    let value = avro::frame(schema, &avro::write_request(request)?);
    let producer = Producer::new(&config.kafka, "samples")?;
    let key = Some(request.id.as_str().as_bytes());
    producer
        .send(Message {
            topic,
            key,
            value: Some(&value),
            headers: Vec::new(),
        })
        .await
        .context("a sample request")
}

async fn next(events: &Tail, registry: &Registry) -> anyhow::Result<Option<Event>> {
    let Next::Record(record) = events.next().await? else {
        return Ok(None);
    };
    let Some(value) = record.value else {
        return Ok(None);
    };
    let (schema, datum) = avro::unframe(&value)?;
    Ok(Some(avro::read_event(
        &*registry.schema(schema).await?,
        datum,
    )?))
}

fn show(event: &Event) {
    let mut line = format!("  {:<24} {}", event.request_id, event.event_type.as_str());
    if let Some(progress) = &event.progress {
        line.push_str(&format!(" {} % {}", progress.percent, progress.stage));
    }
    if let Some(batch) = &event.batch {
        line.push_str(&format!(" {} of {} items", batch.completed, batch.total));
    }
    if let Some(error) = &event.error {
        line.push_str(&format!(" {}: {}", error.code.as_str(), error.message));
    }
    for output in event.result.iter().flat_map(|result| &result.outputs) {
        line.push_str(&format!(
            "\n  {:<24}   {} ({}, {} bytes)",
            "", output.uri, output.content_type, output.bytes
        ));
    }
    say(&line);
}
