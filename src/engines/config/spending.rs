//! What a request may cost, and the prices by which that is estimated.

use super::vars::Vars;
use crate::domain::budget::{Budgets, Limits, Micros};
use crate::domain::model::Prices;

/// Range of the limits, in US dollars.
const DOLLARS: std::ops::RangeInclusive<f64> = 0.0..=1e6;

/// Limits on costs.
#[derive(Clone, Debug)]
pub struct Spending {
    /// The most that one request may cost, in US dollars; `None`: any amount.
    pub max_cost_usd: Option<f64>,
    pub prices: Prices,
    /// What users may spend in a day and in a month.
    pub budgets: Budgets,
    /// Number of changes after which the workflow of a budget continues as new.
    pub budget_segment: u32,
}

pub(super) fn read(vars: &mut Vars<'_>) -> Spending {
    let mut usd = |name| {
        let expected = "a number of US dollars from 0 to 1000000";
        let in_range = |usd: &f64| DOLLARS.contains(usd);
        vars.read(name, expected, |text| text.parse().ok().filter(in_range))
    };
    let max_cost_usd = usd("MAX_COST_USD");
    let mut limits = |day, month| Limits {
        day: usd(day).map(Micros::of_usd),
        month: usd(month).map(Micros::of_usd),
    };
    let budgets = Budgets {
        user: limits("BUDGET_USER_DAY_USD", "BUDGET_USER_MONTH_USD"),
        all: limits("BUDGET_DAY_USD", "BUDGET_MONTH_USD"),
    };
    let name = "PRICES_FILE";
    let prices = vars.optional(name).map(|file| {
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string());
        let prices = text.and_then(|text| text.parse::<Prices>());
        prices.unwrap_or_else(|problem| {
            vars.fault(name, &format!("{file} cannot be used: {problem}; expected the form of schemas/models/prices.toml"));
            Prices::default()
        })
    });
    Spending {
        max_cost_usd,
        prices: prices.unwrap_or_else(Prices::bundled),
        budgets,
        budget_segment: vars.number("BUDGET_SEGMENT", 500, 1..=1000) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use crate::domain::model::bundle;
    use crate::domain::{Media, ProviderName};

    #[test]
    fn the_prices_of_the_default_models_are_documented() {
        let config = Config::of(&[]).unwrap();
        let mut table = String::new();
        for provider in ProviderName::NATIVE {
            for (kind, media) in [("videos", Media::Video), ("images", Media::Image)] {
                let model = config.worker.provider(media, provider).model;
                if model.is_empty() {
                    continue;
                }
                let profile = bundle::profile(provider, &model, None);
                let prices = Prices::bundled();
                let prices = prices.lines(&profile);
                let mut prices: Vec<_> = prices
                    .map(|it| it.replace(" US dollars per", " per"))
                    .collect();
                if prices.is_empty() {
                    prices.push("no price is known".to_owned());
                }
                let (name, prices) = (provider.as_str(), prices.join("<br>"));
                table += &format!("| `{name}` | {kind} | `{model}` | {prices} |\n");
            }
        }

        let docs = include_str!("../../../docs/models.md");

        assert!(docs.contains(&table), "docs/models.md lacks:\n{table}");
        let readme = include_str!("../../../README.md");
        let lines = table.lines();
        let defaults: Vec<_> = lines.filter(|line| line.contains("`replicate`")).collect();
        assert_eq!(defaults.len(), 2, "{table}");
        for line in defaults {
            let cells: Vec<_> = line.split(" | ").collect();
            let price = cells[3].split(" per ").next().unwrap();
            let named = format!("{} ({price} US dollars", cells[2]);
            assert!(readme.contains(&named), "README.md lacks: {named}");
        }
    }

    #[test]
    fn a_file_of_prices_that_cannot_be_used_is_a_fault_of_its_variable() {
        for (name, value) in [
            ("PRICES_FILE", "/no/such/file"),
            ("MAX_COST_USD", "-1"),
            ("MAX_COST_USD", "much"),
            ("BUDGET_DAY_USD", "-1"),
            ("BUDGET_USER_MONTH_USD", "1000001"),
            ("BUDGET_SEGMENT", "0"),
        ] {
            let faults = Config::of(&[(name, value)]).unwrap_err();

            let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
            assert_eq!(named, [name], "{value}");
        }
        let config = Config::of(&[("MAX_COST_USD", "0.5")]).unwrap();
        assert_eq!(config.worker.spending.max_cost_usd, Some(0.5));
    }

    #[test]
    fn budgets_are_off_unless_one_is_set() {
        let budgets = |pairs: &[(&str, &str)]| Config::of(pairs).unwrap().worker.spending.budgets;

        assert!(budgets(&[]).is_unlimited());
        let set = budgets(&[("BUDGET_USER_DAY_USD", "2.5"), ("BUDGET_MONTH_USD", "100")]);
        assert!(!set.is_unlimited());
        assert_eq!(set.user.day, Some(Micros::of_usd(2.5)));
        assert_eq!(set.all.month, Some(Micros::of_usd(100.0)));
        assert_eq!((set.user.month, set.all.day), (None, None));
    }
}
