//! Checks what the operator allows: providers, models, time-outs, and the addresses that a provider would fetch.
//!
//! Parsing checks the contract's own bounds; the bounds here are settings. The text of an error does not contain their
//! values, so that a redelivered record is answered with the same text; the error's cause contains them.

use std::time::Duration;

use anyhow::anyhow;
use url::Url;

use crate::domain::{InvalidFields, Media, ProviderName, Single, Spec, urls};
use crate::engines::config::Config;
use crate::engines::egress;

/// Checks requests against the settings.
pub(crate) struct Allowed<'c>(pub(crate) &'c Config);

impl Allowed<'_> {
    /// Checks a request's spec and its time-out.
    ///
    /// # Errors
    /// Returns everything that is not allowed.
    pub(super) fn check(&self, spec: &Spec, timeout: Option<Duration>) -> anyhow::Result<()> {
        self.faults(spec, timeout).or(()).map_err(|faults| {
            let models = self.0.intake.allowed_models.to_string();
            let max_timeout = self.0.intake.max_timeout.as_secs();
            let private = self.0.worker.egress.allow_private;
            let providers = self.0.worker.named.names();
            anyhow!(
                "the providers are {providers}, ALLOWED_MODELS is {models:?}, MAX_TIMEOUT {max_timeout} s, DOWNLOAD_ALLOW_PRIVATE {private}"
            )
            .context(faults)
        })
    }

    /// Returns everything that is not allowed.
    pub(crate) fn faults(&self, spec: &Spec, timeout: Option<Duration>) -> InvalidFields {
        let mut faults = InvalidFields::default();
        if let Some(timeout) = timeout.filter(|timeout| *timeout > self.0.intake.max_timeout) {
            let problem = format!("is {}, which is longer than allowed", timeout.as_secs());
            faults.add("timeout_seconds", problem);
        }
        self.spec(spec, &mut faults);
        faults
    }

    fn spec(&self, spec: &Spec, faults: &mut InvalidFields) {
        match spec {
            Spec::Single(single) => self.single(single, faults),
            Spec::Batch(batch) => {
                for (index, item) in batch.items.iter().enumerate() {
                    let mut of_item = InvalidFields::default();
                    self.single(&item.spec, &mut of_item);
                    faults.of_item(index, of_item);
                }
            }
        }
    }

    fn single(&self, single: &Single, faults: &mut InvalidFields) {
        let (kind, common) = (single.media(), single.common());
        let configured = match kind {
            Media::Video => self.0.worker.video.name,
            Media::Image => self.0.worker.image.name,
        };
        let provider = common.provider.unwrap_or(configured);
        self.provider("spec.provider", provider, faults);
        self.model(
            "spec.model",
            kind,
            provider,
            common.model.as_deref(),
            faults,
        );
        for (index, other) in common.fallback.iter().enumerate() {
            let field = format!("spec.fallback[{index}].provider");
            self.provider(&field, other.provider, faults);
            let field = format!("spec.fallback[{index}].model");
            self.model(&field, kind, other.provider, other.model.as_deref(), faults);
        }
        for (index, input) in common.inputs.iter().enumerate() {
            if let Err(refused) = self.address(&input.url) {
                let field = format!("spec.inputs[{index}].url");
                faults.add(field, format!("is not allowed: {refused}"));
            }
        }
        let in_params = urls(&common.params).map(|found| {
            for (name, url) in found {
                if let Err(refused) = self.address(&url) {
                    let problem = format!("has {name:?}, whose URL is not allowed: {refused}");
                    faults.add("spec.params", problem);
                }
            }
        });
        faults.note(in_params);
    }

    fn provider(&self, field: &str, provider: ProviderName, faults: &mut InvalidFields) {
        if self.0.worker.named.of(provider).is_none() {
            let provider = provider.as_str();
            let problem = format!(
                "is {provider:?}, which is not configured; expected replicate, openai, fal or a provider that genflow's operator has described"
            );
            faults.add(field, problem);
        }
    }

    fn model(
        &self,
        field: &str,
        kind: Media,
        provider: ProviderName,
        named: Option<&str>,
        faults: &mut InvalidFields,
    ) {
        let allowed = &self.0.intake.allowed_models;
        if allowed.are_any() {
            return;
        }
        let model = match named {
            Some(model) => model.to_owned(),
            None => self.0.worker.provider(kind, provider).model,
        };
        if !allowed.allow(kind, provider, &model) {
            let provider = provider.as_str();
            let problem = match named {
                Some(model) => format!("is {model:?}, which is not allowed for {provider}"),
                None => format!("is null, and the default model of {provider} is not allowed"),
            };
            faults.add(field, problem);
        }
    }

    fn address(&self, url: &Url) -> Result<(), egress::Refused> {
        egress::check_input(url, &self.0.worker.egress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        BatchItem, BatchSpec, Common, Fallback, ImageSpec, Input, OnFailure, Role, Strategy,
        VideoSpec,
    };

    fn config(settings: &[(&str, &str)]) -> Config {
        Config::of(settings).unwrap()
    }

    fn refusal(config: &Config, spec: impl Into<Spec>) -> String {
        let checked = Allowed(config).check(&spec.into(), None);
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    fn image(common: Common) -> Single {
        Single::Image(ImageSpec {
            common,
            ..ImageSpec::default()
        })
    }

    fn video(common: Common) -> Single {
        Single::Video(VideoSpec {
            common,
            ..VideoSpec::default()
        })
    }

    fn of_model(provider: Option<ProviderName>, model: Option<&str>) -> Common {
        Common {
            provider,
            model: model.map(str::to_owned),
            ..Common::new("a fox")
        }
    }

    fn batch(specs: Vec<Single>) -> Spec {
        let items = specs.into_iter().zip(0..).map(|(spec, number)| BatchItem {
            request_id: format!("i-{number}").try_into().unwrap(),
            spec,
            webhook_url: None,
            notify_on: Vec::new(),
            metadata: Default::default(),
        });
        Spec::Batch(BatchSpec {
            strategy: Strategy::Parallel,
            max_concurrent: 3,
            on_failure: OnFailure::Continue,
            items: items.collect(),
        })
    }

    #[test]
    fn a_model_that_is_not_allowed_is_refused_wherever_it_is_named() {
        let models = "image:replicate/black-forest-labs/*,openai/gpt-image-2";
        let config = config(&[("ALLOWED_MODELS", models)]);
        let mut other = of_model(None, None);
        other.fallback = vec![
            Fallback {
                provider: ProviderName::OPENAI,
                model: Some("gpt-image-2".to_owned()),
            },
            Fallback {
                provider: ProviderName::FAL,
                model: None,
            },
        ];
        let evil = of_model(None, Some("evil/x"));

        // The configured default model must be allowed too.
        assert_eq!(refusal(&config, image(of_model(None, None))), "");
        assert_eq!(
            refusal(&config, video(of_model(None, None))),
            "spec.model is null, and the default model of replicate is not allowed"
        );
        let openai = Some(ProviderName::OPENAI);
        assert_eq!(
            refusal(&config, image(of_model(openai, Some("gpt-image-2")))),
            ""
        );
        assert_eq!(
            refusal(&config, image(other)),
            "spec.fallback[1].model is null, and the default model of fal is not allowed"
        );
        let good = image(of_model(None, None));
        assert_eq!(
            refusal(&config, batch(vec![good, image(evil.clone())])),
            "spec.items[1].spec.model is \"evil/x\", which is not allowed for replicate"
        );
        assert_eq!(refusal(&Config::of(&[]).unwrap(), image(evil)), "");
    }

    #[test]
    fn a_provider_that_is_not_configured_is_refused_wherever_it_is_named() {
        let closed = ProviderName::parse("provider", "closed").unwrap();
        let mut other = of_model(None, None);
        other.fallback = vec![Fallback {
            provider: closed,
            model: None,
        }];
        let config = config(&[]);

        let refused = refusal(&config, image(of_model(Some(closed), None)));
        assert!(
            refused.starts_with("spec.provider is \"closed\", which is not configured; expected "),
            "{refused}"
        );
        let refused = refusal(&config, video(other));
        assert!(
            refused.starts_with("spec.fallback[0].provider is \"closed\""),
            "{refused}"
        );
        let spec = image(of_model(Some(closed), None)).into();
        let error = Allowed(&config).check(&spec, None).unwrap_err();
        // The names are settings, so only operators see them.
        assert!(format!("{error:#}").contains("the providers are fal, openai, replicate"));
    }

    #[test]
    fn a_timeout_above_max_timeout_is_refused_and_the_configured_timeouts_are_capped() {
        let config = config(&[("MAX_TIMEOUT", "30m"), ("IMAGE_TIMEOUT", "5m")]);
        let check = |seconds| {
            let timeout = Some(Duration::from_secs(seconds));
            Allowed(&config).check(&image(Common::new("a fox")).into(), timeout)
        };

        assert!(check(1800).is_ok());
        let error = check(1801).unwrap_err();
        assert_eq!(
            error.to_string(),
            "timeout_seconds is 1801, which is longer than allowed"
        );
        assert!(format!("{error:#}").contains("MAX_TIMEOUT 1800 s"));
        let intake = &config.intake;
        let timeouts = [
            intake.image_timeout,
            intake.video_timeout,
            intake.batch_timeout,
        ];
        assert_eq!(timeouts.map(|timeout| timeout.as_secs()), [300, 1800, 1800]);
    }

    #[test]
    fn an_address_that_genflow_would_not_call_is_not_given_to_a_provider() {
        let of = |url: &str| {
            let input = Input {
                url: url.parse().unwrap(),
                role: Role::Unspecified,
            };
            let params = [("deep".to_owned(), format!("{{\"image\": [\"{url}\"]}}"))];
            let asked = Common {
                inputs: vec![input],
                ..Common::new("a fox")
            };
            let raw = Common {
                params: params.into(),
                ..Common::new("a fox")
            };
            [image(asked), video(raw)]
        };
        let (strict, private) = (config(&[]), config(&[("DOWNLOAD_ALLOW_PRIVATE", "true")]));
        for (url, is_private) in [
            ("http://169.254.169.254/latest/meta-data", true),
            ("https://10.0.0.7/a.png", true),
            ("http://[::1]/a.png", true),
            ("http://2130706433/a.png", true),
            ("https://kafka-ui/a.png", true),
            ("https://kafka.internal/a.png", true),
            ("https://localhost../a.png", true),
            ("https://example.com:6379/a.png", true),
            ("https://user@example.com/a.png", false),
            ("https://example.com@10.0.0.7/a.png", false),
        ] {
            for spec in of(url) {
                let reported = refusal(&strict, spec.clone());
                assert!(
                    reported.contains("not allowed: the address "),
                    "{url}: {reported}"
                );
                assert!(!reported.contains("a.png"), "{reported}");
                assert_eq!(refusal(&private, spec).is_empty(), is_private, "{url}");
            }
        }
        for url in [
            "https://example.com/a.png?sig=x",
            "http://example.com/a.png",
            "https://1.1.1.1/a.png",
        ] {
            for spec in of(url) {
                assert_eq!(refusal(&strict, spec), "", "{url}");
            }
        }
    }
}
