//! What a request costs, by rules: `schemas/models/prices.toml`, or the operator's own file.
//!
//! A [`Quote`] is made before a job is submitted and stays with it. When the job is done, [`Quote::settle`] turns it and
//! what the provider charged into the best number there is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bundle;
use super::names;
use super::profile::{Profile, full_name, without_version};
use super::value::as_number;
use crate::domain::glob::is_like;
use crate::domain::{Cost, CostSource, ProviderName};

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
    /// Where and when the price was read.
    #[serde(default)]
    source: Option<String>,
}

/// What a price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Image,
    /// 1024 x 1024 pixels of an image, rounded up for each.
    Megapixel,
    Second,
    Run,
    /// What the provider's API counts when the job is done: fal's billable units.
    BillableUnit,
    MillionTextTokens,
    MillionImageTokens,
    MillionOutputTokens,
}

impl Unit {
    /// All units of which the provider reports a quantity only when the job is done.
    const METERED: [Self; 4] = [
        Self::BillableUnit,
        Self::MillionTextTokens,
        Self::MillionImageTokens,
        Self::MillionOutputTokens,
    ];

    fn is_metered(self) -> bool {
        Self::METERED.contains(&self)
    }
}

/// What a job is expected to cost, and the prices by which it is settled. Fixed when the job is submitted: later prices
/// do not change it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// By the rules, in US dollars; `None` if no rule fits, or the quantity is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_usd: Option<f64>,
    /// The prices of what the provider meters, in US dollars.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meters: BTreeMap<Unit, f64>,
}

/// What a provider says about the price of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Charge {
    /// US dollars.
    Usd(f64),
    /// Quantities of metered units.
    Metered(Vec<(Unit, f64)>),
}

const BUNDLED: &str = include_str!("../../../schemas/models/prices.toml");

impl Prices {
    /// Returns genflow's own prices. A test reads them.
    pub fn bundled() -> Self {
        BUNDLED.parse().unwrap_or_default()
    }

    /// Returns what an input costs, as far as the rules say.
    pub fn quote(&self, profile: &Profile, input: &Map<String, Value>) -> Quote {
        let of = |name: &str| profile.effective(input, name);
        let name = profile.full_name();
        let fits = |rule: &&Rule| {
            let mut globs = rule.models.iter();
            let mut when = rule.when.iter();
            globs.any(|glob| is_like(glob, &name))
                && when.all(|(name, value)| of(name).as_ref() == Some(value))
        };
        let fitting = || self.price.iter().filter(fits);
        let estimated = fitting().find(|rule| !rule.per.is_metered());
        let estimate_usd = estimated.and_then(|rule| rule.estimate(profile, of));
        // The first rule of a unit counts, so the last in reverse order.
        let metered = fitting().rev().filter(|rule| rule.per.is_metered());
        Quote {
            estimate_usd: estimate_usd.map(rounded),
            meters: metered.map(|rule| (rule.per, rule.usd)).collect(),
        }
    }

    /// Returns the rules for a model, one line each.
    pub fn lines(&self, profile: &Profile) -> impl Iterator<Item = String> {
        let name = profile.full_name();
        let of_model = move |rule: &&Rule| rule.models.iter().any(|glob| is_like(glob, &name));
        self.price.iter().filter(of_model).map(Rule::to_string)
    }

    /// Returns the name, or the pattern of names, by which genflow's schemas or these prices know a model.
    pub fn known_as(&self, provider: ProviderName, model: &str) -> Option<&str> {
        let bundled = bundle::names(provider).find(|name| is_like(name, without_version(model)));
        let full = full_name(provider, model);
        let priced = || {
            let mut globs = self.price.iter().flat_map(|rule| &rule.models);
            let glob = globs.find(|glob| is_like(glob, &full))?;
            Some(glob.split_once(':').map_or(glob.as_str(), |(_, name)| name))
        };
        bundled.or_else(priced)
    }
}

impl Rule {
    /// Returns the price of an input, whose values `of` returns.
    fn estimate(&self, profile: &Profile, of: impl Fn(&str) -> Option<Value>) -> Option<f64> {
        // A param under a name that the model lacks is ignored by the model, so it must not count here.
        let has = |name: &str| !profile.is_known() || profile.has_input(name);
        let number = |all: &[&str]| {
            let mut all = all.iter().filter(|name| has(name));
            all.find_map(|name| as_number(&of(name)?))
        };
        let count = number(names::COUNT).unwrap_or(1.0);
        let quantity = match self.per {
            Unit::Run => 1.0,
            Unit::Image => count,
            Unit::Megapixel => megapixels(&of) * count,
            Unit::Second => {
                let fixed = profile.fixed("duration").and_then(as_number);
                let frames =
                    || Some(number(names::FRAMES)? / number(names::FPS).filter(|fps| *fps > 0.0)?);
                number(names::DURATION).or(fixed).or_else(frames)? * count
            }
            Unit::BillableUnit
            | Unit::MillionTextTokens
            | Unit::MillionImageTokens
            | Unit::MillionOutputTokens => return None,
        };
        // Zero or less is not a quantity: it would make a paid job look free.
        (quantity > 0.0).then_some(self.usd * quantity)
    }
}

/// Returns the megapixels of one image; 1 if the input does not say its sides, as those of a model's presets.
fn megapixels(of: impl Fn(&str) -> Option<Value>) -> f64 {
    let side = |name: &str| {
        let within = of("image_size").and_then(|size| as_number(size.get(name)?));
        within.or_else(|| as_number(&of(name)?))
    };
    let pixels = side(names::WIDTH).zip(side(names::HEIGHT));
    let pixels = pixels.map_or(0.0, |(width, height)| width * height);
    (pixels / (1024.0 * 1024.0)).ceil().max(1.0)
}

/// The price, its conditions and its source.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} US dollars per {}", self.usd, self.per)?;
        for (name, value) in &self.when {
            write!(f, ", {name} {value}")?;
        }
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Megapixel => "megapixel",
            Self::Second => "second",
            Self::Run => "run",
            Self::BillableUnit => "billable unit",
            Self::MillionTextTokens => "million tokens of text",
            Self::MillionImageTokens => "million tokens of input images",
            Self::MillionOutputTokens => "million tokens of output",
        })
    }
}

impl Quote {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the best number for a job that is done: the provider's own price, else its quantities at our prices,
    /// else the estimate.
    pub fn settle(&self, charge: Option<&Charge>) -> Option<Cost> {
        let cost = |source| move |usd| Cost { usd, source };
        let estimate = || self.estimate_usd.map(cost(CostSource::Estimate));
        match charge {
            Some(Charge::Usd(usd)) => Some(cost(CostSource::Provider)(*usd)),
            Some(Charge::Metered(quantities)) => {
                let metered = self.metered(quantities).map(cost(CostSource::Metered));
                metered.or_else(estimate)
            }
            None => estimate(),
        }
    }

    /// Returns the price of these quantities, if the prices of all of them are known. A quantity of 0 needs no price.
    fn metered(&self, quantities: &[(Unit, f64)]) -> Option<f64> {
        let price = |(unit, quantity): &(Unit, f64)| match *quantity {
            0.0 => Some(0.0),
            quantity => Some(self.meters.get(unit)? * quantity),
        };
        let sum = quantities.iter().map(price).sum::<Option<f64>>()?;
        sum.is_finite().then(|| rounded(sum))
    }
}

/// Rounds to a billionth of a dollar, so that a sum of cents prints as one.
fn rounded(usd: f64) -> f64 {
    (usd * 1e9).round() / 1e9
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
mod tests;
