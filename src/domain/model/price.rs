//! What a request costs, by rules: `schemas/models/prices.toml`, or the operator's own file.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::names;
use super::profile::Profile;
use super::value::as_number;
use crate::domain::glob::is_like;

/// The prices of models.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    #[serde(default)]
    price: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Patterns of provider and name (`domain::glob`).
    models: Vec<String>,
    per: Unit,
    usd: f64,
    /// Values that the model's inputs must have.
    #[serde(default)]
    when: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Image,
    Second,
    Run,
}

const BUNDLED: &str = include_str!("../../../schemas/models/prices.toml");

impl Prices {
    /// Returns genflow's own prices. A test reads them.
    pub fn bundled() -> Self {
        BUNDLED.parse().unwrap_or_default()
    }

    /// Returns what an input costs in US dollars; `None` if no rule fits, or the quantity is not known.
    pub fn estimate(&self, profile: &Profile, input: &Map<String, Value>) -> Option<f64> {
        let of = |name: &str| profile.effective(input, name);
        let fits = |rule: &&Rule| {
            let is_it = rule
                .models
                .iter()
                .any(|glob| is_like(glob, &profile.full_name()));
            is_it
                && rule
                    .when
                    .iter()
                    .all(|(name, value)| of(name).as_ref() == Some(value))
        };
        let rule = self.price.iter().find(fits)?;
        let number = |all: &[&str]| all.iter().find_map(|name| as_number(&of(name)?));
        let quantity = match rule.per {
            Unit::Run => 1.0,
            Unit::Image => number(names::COUNT).unwrap_or(1.0),
            Unit::Second => {
                let fixed = profile.fixed("duration").and_then(as_number);
                let frames =
                    || Some(number(names::FRAMES)? / number(names::FPS).filter(|fps| *fps > 0.0)?);
                number(names::DURATION).or(fixed).or_else(frames)?
            }
        };
        Some(rule.usd * quantity)
    }
}

impl FromStr for Prices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prices: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match prices
            .price
            .iter()
            .find(|rule| !(rule.usd.is_finite() && rule.usd >= 0.0))
        {
            Some(rule) => Err(format!(
                "the price of {} is {}, expected 0 or more",
                rule.models.join(", "),
                rule.usd
            )),
            None => Ok(prices),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::bundle;
    use super::*;
    use crate::domain::ProviderName;

    fn estimate(model: &str, input: &Value) -> Option<f64> {
        let profile = bundle::profile(ProviderName::REPLICATE, model, None);
        Prices::bundled().estimate(&profile, input.as_object().unwrap())
    }

    #[test]
    fn a_price_follows_from_count_length_and_the_models_own_defaults() {
        for (model, input, expected) in [
            (
                "black-forest-labs/flux-schnell",
                json!({"num_outputs": 4}),
                Some(0.012),
            ),
            ("black-forest-labs/flux-schnell", json!({}), Some(0.003)),
            (
                "kwaivgi/kling-v2.6",
                json!({"duration": 10, "generate_audio": false}),
                Some(0.7),
            ),
            // Sound and five seconds are the model's defaults.
            ("kwaivgi/kling-v2.6", json!({}), Some(0.7)),
            ("me/mine", json!({}), None),
        ] {
            let found = estimate(model, &input);

            assert!(
                found
                    .zip(expected)
                    .map_or(found == expected, |(one, other)| (one - other).abs() < 1e-9),
                "{model} {input} {found:?}"
            );
        }
    }

    #[test]
    fn a_file_of_prices_is_checked() {
        let of = |text: &str| text.parse::<Prices>();

        assert!(of("[[price]]\nmodels = [\"replicate:a/b\"]\nper = \"run\"\nusd = 0.5\n").is_ok());
        assert!(
            of("[[price]]\nmodels = []\nper = \"hour\"\nusd = 0.5\n")
                .unwrap_err()
                .contains("hour")
        );
        assert!(
            of("[[price]]\nmodels = [\"a\"]\nper = \"run\"\nusd = -1.0\n")
                .unwrap_err()
                .contains("expected 0 or more")
        );
        assert!(Prices::bundled() != Prices::default());
    }
}
