//! Requests, as a producer creates them.

use std::collections::BTreeMap;

use genflow::domain::{
    Common, EventType, Fallback, ImageSpec, Priority, ProviderName, Request, Single, Spec, Targets,
    VideoSpec,
};
use serde_json::Value;
use uuid::Uuid;

pub(crate) const REPLICATE: ProviderName = ProviderName::REPLICATE;
pub(crate) const OPENAI: ProviderName = ProviderName::OPENAI;
pub(crate) const FAL: ProviderName = ProviderName::FAL;

/// Models that only the simulator has: they take any size and length, so that stories are quick.
pub(crate) const IMAGE_MODEL: &str = "simulated/image";
pub(crate) const VIDEO_MODEL: &str = "simulated/video";

/// Returns a request for one small image, with a unique id.
pub(crate) fn image(name: &str) -> Request {
    let spec = ImageSpec {
        common: Common::new("a red fox"),
        width: Some(64),
        height: Some(64),
        ..ImageSpec::default()
    };
    request(name, Single::Image(spec))
}

/// Returns a request for one short video.
pub(crate) fn video(name: &str) -> Request {
    let spec = VideoSpec {
        common: Common::new("waves"),
        duration: Some(2),
        resolution: Some("320x180".to_owned()),
        ..VideoSpec::default()
    };
    request(name, Single::Video(spec))
}

/// Returns the fields that requests for images and videos have in common.
pub(crate) fn common(request: &mut Request) -> &mut Common {
    match &mut request.spec {
        Spec::Single(Single::Image(image)) => &mut image.common,
        Spec::Single(Single::Video(video)) => &mut video.common,
        Spec::Batch(_) => panic!("a batch has no such fields"),
    }
}

fn request(name: &str, single: Single) -> Request {
    let id = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]);
    Request {
        id: id.try_into().unwrap(),
        user: "ann".to_owned().try_into().unwrap(),
        spec: single.into(),
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: EventType::NOTIFIED_BY_DEFAULT.to_vec(),
        metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
        requested_at: None,
    }
}

/// Adds a script for the simulator to a request.
pub(crate) fn script(mut request: Request, script: &Value) -> Request {
    let params = &mut common(&mut request).params;
    params.insert("sim".to_owned(), script.to_string());
    request
}

/// Returns the same request for this provider, and one of its models.
pub(crate) fn at(provider: ProviderName, mut request: Request) -> Request {
    let model = match (provider, &mut request.spec) {
        // It makes lengths and sizes of its own.
        (ProviderName::OPENAI, Spec::Single(Single::Video(video))) => {
            video.duration = Some(4);
            video.resolution = Some("1280x720".to_owned());
            "sora-2"
        }
        (ProviderName::OPENAI, _) => "gpt-image-2",
        (_, Spec::Single(Single::Video(_))) => VIDEO_MODEL,
        (_, _) => IMAGE_MODEL,
    };
    let common = common(&mut request);
    common.provider = Some(provider);
    common.model = Some(model.to_owned());
    request
}

/// Returns the same request with these providers to fall back to, each with one of its models.
pub(crate) fn falling_back(request: Request, providers: &[ProviderName]) -> Request {
    let own = single(&request).common().clone();
    let mut there = request;
    let mut fallback = Vec::new();
    for provider in providers {
        // A video of OpenAI has a length and a size of its own; the other models take any.
        there = at(*provider, there);
        fallback.push(Fallback {
            provider: *provider,
            model: single(&there).common().model.clone(),
        });
    }
    *common(&mut there) = Common { fallback, ..own };
    there
}

/// Returns the same request with its prompt only, for a provider that publishes no schemas.
pub(crate) fn prompt_only(mut request: Request) -> Request {
    match &mut request.spec {
        Spec::Single(Single::Image(image)) => (image.width, image.height) = (None, None),
        Spec::Single(Single::Video(video)) => (video.duration, video.resolution) = (None, None),
        Spec::Batch(_) => panic!("a batch has no such fields"),
    }
    request
}

/// Returns the spec of a request that is not a batch.
pub(crate) fn single(request: &Request) -> &Single {
    match &request.spec {
        Spec::Single(single) => single,
        Spec::Batch(_) => panic!("{} is a batch", request.id),
    }
}

/// Returns the provider that a request names.
pub(crate) fn provider(request: &Request) -> Option<ProviderName> {
    single(request).common().provider
}
