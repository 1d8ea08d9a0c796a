//! Tests of quotes and settlements.

use serde_json::json;

use super::*;

fn quote(provider: ProviderName, model: &str, input: &Value) -> Quote {
    let profile = bundle::profile(provider, model, None);
    Prices::bundled().quote(&profile, input.as_object().unwrap())
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
        let found = quote(ProviderName::REPLICATE, model, &input);

        assert_eq!(found.estimate_usd, expected, "{model} {input}");
    }
}

#[test]
fn an_estimate_cannot_be_talked_down() {
    let flux = |input| {
        quote(
            ProviderName::REPLICATE,
            "black-forest-labs/flux-schnell",
            &input,
        )
    };
    let kling = |input| quote(ProviderName::REPLICATE, "kwaivgi/kling-v2.6", &input);

    // The models have no such inputs, and ignore them.
    assert_eq!(
        flux(json!({"num_images": 0, "n": -5})).estimate_usd,
        Some(0.003)
    );
    assert_eq!(kling(json!({"seconds": 0})).estimate_usd, Some(0.7));
    for nothing in [0, -5] {
        assert_eq!(flux(json!({"num_outputs": nothing})).estimate_usd, None);
        assert_eq!(kling(json!({"duration": nothing})).estimate_usd, None);
    }
}

#[test]
fn a_larger_image_costs_more_where_the_megapixel_is_billed() {
    let flux = |input| quote(ProviderName::FAL, "fal-ai/flux/schnell", &input).estimate_usd;

    for (input, expected) in [
        (
            json!({"image_size": {"width": 2048, "height": 2048}, "num_images": 2}),
            0.024,
        ),
        (json!({"image_size": {"width": 1280, "height": 720}}), 0.003),
        (
            json!({"image_size": {"width": 1280, "height": 1024}}),
            0.006,
        ),
        (json!({"image_size": "square_hd"}), 0.003),
        (json!({}), 0.003),
    ] {
        assert_eq!(flux(input.clone()), Some(expected), "{input}");
    }
}

const PRICES: &str = r#"
[[price]]
models = ["fal:a/b"]
per = "image"
usd = 0.1

[[price]]
models = ["fal:a/b"]
per = "billable_unit"
usd = 0.025
when = { quality = "high" }

[[price]]
models = ["fal:a/*"]
per = "billable_unit"
usd = 0.01
"#;

#[test]
fn the_first_rule_that_fits_counts_for_estimates_and_for_each_meter() {
    let prices: Prices = PRICES.parse().unwrap();
    let of = |input: Value| {
        let profile = bundle::profile(ProviderName::FAL, "a/b", None);
        prices.quote(&profile, input.as_object().unwrap())
    };
    let unit = |quote: &Quote| quote.meters.get(&Unit::BillableUnit).copied();

    let high = of(json!({"quality": "high"}));
    let low = of(json!({"quality": "low"}));

    assert_eq!((high.estimate_usd, unit(&high)), (Some(0.1), Some(0.025)));
    assert_eq!((low.estimate_usd, unit(&low)), (Some(0.1), Some(0.01)));
}

#[test]
fn the_providers_price_is_better_than_its_quantities_and_these_than_an_estimate() {
    let quote = Quote {
        estimate_usd: Some(0.1),
        meters: [(Unit::BillableUnit, 0.025), (Unit::MillionTextTokens, 5.0)].into(),
    };
    let unpriced = Quote {
        meters: BTreeMap::new(),
        ..quote
    };
    let units = |quantity| Charge::Metered(vec![(Unit::BillableUnit, quantity)]);
    let tokens = Charge::Metered(vec![
        (Unit::MillionTextTokens, 0.01),
        (Unit::MillionImageTokens, 0.0),
    ]);
    for (quote, charge, expected) in [
        (
            &quote,
            Some(Charge::Usd(0.5)),
            Some((0.5, CostSource::Provider)),
        ),
        (&quote, Some(units(3.0)), Some((0.075, CostSource::Metered))),
        // No price is needed for what was not used.
        (&quote, Some(tokens), Some((0.05, CostSource::Metered))),
        (&quote, None, Some((0.1, CostSource::Estimate))),
        (
            &unpriced,
            Some(units(3.0)),
            Some((0.1, CostSource::Estimate)),
        ),
        (
            &unpriced,
            Some(units(0.0)),
            Some((0.0, CostSource::Metered)),
        ),
        (&Quote::default(), Some(units(3.0)), None),
        (&Quote::default(), Some(units(f64::MAX)), None),
        (&Quote::default(), None, None),
    ] {
        let cost = quote.settle(charge.as_ref());

        let found = cost.map(|cost| (cost.usd, cost.source));
        assert_eq!(found, expected, "{charge:?}");
    }
}

#[test]
fn a_metric_names_only_models_that_genflow_knows() {
    let prices: Prices = PRICES.parse().unwrap();
    let known = |provider, model| prices.known_as(provider, model);

    assert_eq!(known(ProviderName::FAL, "a/b"), Some("a/b"));
    assert_eq!(known(ProviderName::FAL, "a/tenants-own"), Some("a/*"));
    let flux = "black-forest-labs/flux-schnell";
    let version = format!("{flux}:5c7d5dc6");
    assert_eq!(known(ProviderName::REPLICATE, &version), Some(flux));
    assert_eq!(known(ProviderName::REPLICATE, "a/b"), None);
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
