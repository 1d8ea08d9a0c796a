//! The generation APIs: are they reachable, are their keys set? No request is sent, so nothing is paid.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::{Finding, causes, shown};
use crate::domain::model::Origin;
use crate::domain::{Fallback, Media, public_address};
use crate::engines::config::{Config, Protocol, Provider, Worker};
use crate::engines::provider::Providers;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    if config.mock_external_apis {
        let found = "MOCK_EXTERNAL_APIS=true: the simulator is used, no API is called";
        return vec![Finding::warn("generation APIs", found).advise("unset it in production")];
    }
    let worker = &config.worker;
    let (video, image) = tokio::join!(
        look("video", "VIDEO", &worker.video),
        look("image", "IMAGE", &worker.image)
    );
    let mut found = [video, image].concat();
    found.extend(schemas(config).await);
    // A provider that is used only if a request names it is checked only if it has a key or a description, or is a
    // fallback: otherwise it is not meant to be used.
    for (name, own) in worker.named.iter() {
        let is_default = [worker.video.name, worker.image.name].contains(&name);
        let falls_back = |entries: &[Fallback]| entries.iter().any(|it| it.provider == name);
        let is_meant = own.api_key.is_some()
            || matches!(own.protocol, Protocol::Described(_))
            || falls_back(&worker.video_fallback)
            || falls_back(&worker.image_fallback);
        if is_meant && !is_default {
            let prefix = name.as_str().to_ascii_uppercase().replace('-', "_");
            let provider = worker.provider(Media::Image, name);
            found.extend(look(name.as_str(), &prefix, &provider).await);
        }
    }
    found
}

/// Returns the models that serve requests without one, and those that these fall back to.
fn used(worker: &Worker) -> Vec<(Media, Provider)> {
    let mut used = Vec::new();
    for (media, default, fallback) in [
        (Media::Video, &worker.video, &worker.video_fallback),
        (Media::Image, &worker.image, &worker.image_fallback),
    ] {
        used.push((media, default.clone()));
        for entry in fallback {
            let mut provider = worker.provider(media, entry.provider);
            if let Some(model) = &entry.model {
                provider.model.clone_from(model);
            }
            used.push((media, provider));
        }
    }
    used.retain(|(_, provider)| !provider.model.is_empty());
    used
}

/// Reads the input schemas of the default models and their fallbacks.
async fn schemas(config: &Config) -> Vec<Finding> {
    let Ok(providers) = Providers::new(&config.worker, None) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (media, default) in used(&config.worker) {
        let model = &default.model;
        let profile = providers
            .of(media, default.name)
            .profile(model, CONNECT_TIMEOUT)
            .await;
        let check = format!("model {model}");
        found.push(match profile.origin {
            Origin::Provider => Finding::ok(check, "the provider publishes its inputs"),
            // OpenAI publishes no schemas, and described providers have theirs in the description.
            Origin::Bundled
                if matches!(default.protocol, Protocol::OpenAi | Protocol::Described(_)) =>
            {
                Finding::ok(check, "genflow knows its inputs")
            }
            Origin::Bundled => Finding::warn(
                check,
                "its input schema cannot be read; genflow uses its own copy",
            )
            .advise("check the key and the network; see docs/models.md"),
            Origin::Unknown | Origin::Unreadable => Finding::warn(
                check,
                "its input schema cannot be read: requests may only have a prompt and params",
            )
            .advise("check the name of the model, the key and the network; see docs/models.md"),
        });
    }
    found
}

async fn look(kind: &str, prefix: &str, provider: &Provider) -> Vec<Finding> {
    let check = format!("{kind} API");
    let key = provider.wants_key.clone();
    let key = key.unwrap_or_else(|| format!("{prefix}_API_KEY"));
    let url = &provider.base_url;
    let reached = match connect(url).await {
        Ok(()) => Finding::ok(&check, format!("{} is reachable", shown(url))),
        Err(why) => Finding::fail(&check, format!("{} is not reachable: {why}", shown(url)))
            .advise(format!(
                "check {prefix}_API_BASE_URL and the network of this machine (no proxy is used)"
            )),
    };
    vec![reached, judge_key(&key, provider)]
}

fn judge_key(variable: &str, provider: &Provider) -> Finding {
    let hosted = provider.wants_key.is_some()
        || provider
            .base_url
            .host_str()
            .is_some_and(|host| host == "replicate.com" || host.ends_with(".replicate.com"));
    if matches!(provider.protocol, Protocol::Described(_)) && !hosted {
        return Finding::ok(variable, "is not needed");
    }
    match (&provider.api_key, hosted) {
        (Some(_), _) if is_in_the_clear(&provider.base_url) => Finding::warn(
            variable,
            "is sent over the public internet without encryption",
        )
        .advise("use an https:// base URL"),
        (Some(_), _) => Finding::ok(variable, "is set"),
        (None, true) => Finding::fail(
            variable,
            "is not set: every request fails with provider_auth",
        )
        .advise("set it"),
        (None, false) => Finding::warn(
            variable,
            "is not set; if the API needs a key, requests fail with provider_auth",
        )
        .advise("set it, unless your own server needs no key"),
    }
}

/// Returns whether a call to `url` crosses public networks unencrypted, as far as the URL shows it.
fn is_in_the_clear(url: &Url) -> bool {
    url.scheme() == "http" && public_address::check(url).is_ok()
}

/// Opens a TCP connection and closes it again.
async fn connect(url: &Url) -> Result<(), String> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err("it has no host or no port".to_owned());
    };
    // A URL has an IPv6 address in brackets; `connect` expects it without them.
    let host = host.trim_matches(['[', ']']);
    match timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn provider(url: &str, key: Option<&str>) -> Provider {
        provider_of("replicate", url, key)
    }

    fn provider_of(provider: &str, url: &str, key: Option<&str>) -> Provider {
        let config = Config::of(&[
            ("VIDEO_PROVIDER", provider),
            ("VIDEO_API_BASE_URL", url),
            ("VIDEO_API_KEY", key.unwrap_or_default()),
        ]);
        config.unwrap().worker.video
    }

    #[test]
    fn a_key_that_leaves_unencrypted_warns() {
        let judge = |url| judge_key("VIDEO_API_KEY", &provider(url, Some("k"))).verdict;

        assert_eq!(judge("http://api.replicate.com"), Verdict::Warn);
        assert_eq!(judge("http://8.8.8.8:5000"), Verdict::Warn);
        assert_eq!(judge("https://api.replicate.com"), Verdict::Ok);
        for private in [
            "http://127.0.0.1:8190",
            "http://10.0.0.7",
            "http://cog.internal",
        ] {
            assert_eq!(judge(private), Verdict::Ok, "{private}");
        }
    }

    #[test]
    fn a_hosted_api_needs_a_key_and_ones_own_may_not() {
        let judge = |url, key| judge_key("VIDEO_API_KEY", &provider(url, key)).verdict;

        assert_eq!(judge("https://api.replicate.com", None), Verdict::Fail);
        assert_eq!(judge("http://cog.internal:5000", None), Verdict::Warn);
        assert_eq!(judge("https://api.replicate.com", Some("k")), Verdict::Ok);
        let proxied = provider_of("openai", "http://proxy.internal", None);
        assert_eq!(judge_key("VIDEO_API_KEY", &proxied).verdict, Verdict::Fail);
    }

    #[tokio::test]
    async fn an_api_that_cannot_be_connected_to_fails_and_its_password_is_not_shown() {
        let away = provider("http://user:pass@127.0.0.1:1", Some("k"));

        let found = look("video", "VIDEO", &away).await;

        assert_eq!(found[0].verdict, Verdict::Fail);
        assert!(
            found[0]
                .found
                .starts_with("http://127.0.0.1:1/ is not reachable"),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn an_api_that_listens_is_connected_to() {
        let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());

        let found = look("video", "VIDEO", &provider(&url, Some("k"))).await;

        assert_eq!(found[0].verdict, Verdict::Ok, "{found:?}");
    }
}
