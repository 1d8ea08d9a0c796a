//! `genflow dev --real`: one result of a real provider, paid for only after a person has agreed to its price.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::say;
use crate::domain::{Common, ImageSpec, Media, Single, VideoSpec, shown};
use crate::engines::config::{Config, Fault, Faults};
use crate::operate::cli::local::{Here, Real};

/// What is asked for. The model decides the rest.
const PROMPT: &str = "a red fox in the snow, photograph";

/// What a real result is made by, and its price.
#[derive(Debug)]
pub(super) struct Offer {
    real: Real,
    text: String,
}

impl Offer {
    /// Works out what `--real` would make and cost; asks no provider. `None` without `--real`.
    ///
    /// # Errors
    /// There is no key, the model cannot make the result, or there is no terminal to confirm on.
    pub(super) fn of(here: &Here, config: &Config) -> Result<Option<Self>, Faults> {
        let Some(real) = here.real else {
            return Ok(None);
        };
        let fault = |variable, problem| Faults(vec![Fault { variable, problem }]);
        let common = Common::new(PROMPT);
        let (media, key, single) = match real {
            Real::Image => (
                Media::Image,
                "IMAGE_API_KEY",
                Single::Image(ImageSpec {
                    common,
                    ..ImageSpec::default()
                }),
            ),
            Real::Video => (
                Media::Video,
                "VIDEO_API_KEY",
                Single::Video(VideoSpec {
                    common,
                    ..VideoSpec::default()
                }),
            ),
        };
        let worker = &config.worker;
        let name = worker.default_providers().of(&single);
        let provider = worker.provider(media, name);
        if provider.api_key.is_none() {
            let problem = format!(
                "is not set; expected an API key of {} for --real",
                name.as_str()
            );
            return Err(fault(key, problem));
        }
        let profile = provider.protocol.known_profile(name, &provider.model);
        let bound = worker.spending.bind(&provider.protocol, &profile, &single);
        let bound = bound.map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            fault("--real", format!("cannot be made: {}", problems.join("; ")))
        })?;
        let price = match bound.quote.estimate_usd {
            Some(usd) => format!("about {usd:.4} US dollars"),
            None => "an amount that genflow does not know".to_owned(),
        };
        let text = format!(
            "one real {}, by {} at {} with the model {}, costs {price}",
            real.word(),
            name.as_str(),
            shown(&provider.base_url),
            provider.model,
        );
        if !here.yes && !std::io::stdin().is_terminal() {
            let problem = format!(
                "{text}; there is no terminal to confirm on; add --yes to accept the price"
            );
            return Err(fault("--real", problem));
        }
        Ok(Some(Self { real, text }))
    }

    /// Says what the result costs, and asks, unless `--yes` has answered.
    ///
    /// # Errors
    /// The person does not agree.
    pub(super) async fn agree(&self, here: &Here) -> anyhow::Result<()> {
        if here.yes {
            say(&self.text);
            return Ok(());
        }
        let mut out = std::io::stdout();
        write!(out, "{}. Pay for it? [y/N] ", self.text)?;
        out.flush()?;
        let (send, answer) = oneshot::channel();
        // Not a blocking task of the runtime, which would wait for the answer even after Ctrl-C.
        std::thread::spawn(move || {
            let mut line = String::new();
            // Without a line, or if dev no longer waits for it, the answer is no.
            if std::io::stdin().lock().read_line(&mut line).is_ok() {
                send.send(line).ok();
            }
        });
        match answer.await.unwrap_or_default().trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => bail!("nothing was started, and nothing is paid"),
        }
    }

    /// Returns the request, without its id.
    pub(super) fn request(&self) -> Value {
        json!({ "type": self.real.word(), "prompt": PROMPT })
    }

    pub(super) fn word(&self) -> &'static str {
        self.real.word()
    }
}

impl Real {
    fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::cli::local::EnginePorts;

    const HERE: Here = Here {
        ports: EnginePorts::Free,
        use_existing: false,
        samples: false,
        real: Some(Real::Image),
        yes: true,
        keep: None,
        reset: false,
    };

    fn offer(here: &Here, set: &[(&str, &str)]) -> Result<Option<Offer>, Faults> {
        Offer::of(here, &Config::of(set).unwrap())
    }

    #[test]
    fn an_offer_names_the_provider_the_model_and_the_price() {
        let real = [("MOCK_EXTERNAL_APIS", "false"), ("IMAGE_API_KEY", "r8_key")];

        let offer = offer(&HERE, &real).unwrap().unwrap();

        assert_eq!(
            offer.text,
            "one real image, by replicate at https://api.replicate.com/ with the model black-forest-labs/flux-schnell, costs about \
             0.0030 US dollars"
        );
    }

    #[test]
    fn without_a_key_or_above_the_limit_there_is_no_offer() {
        let variable = |set: &[(&str, &str)]| offer(&HERE, set).unwrap_err().0[0].variable;
        let limit = [("IMAGE_API_KEY", "r8_key"), ("MAX_COST_USD", "0.001")];

        assert_eq!(
            variable(&[("MOCK_EXTERNAL_APIS", "false")]),
            "IMAGE_API_KEY"
        );
        assert_eq!(variable(&limit), "--real");
        assert!(offer(&Here { real: None, ..HERE }, &[]).unwrap().is_none());
    }
}
