//! What the adapters share in making a request: `params`, style, and the shapes that sizes have.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use serde_json::{Map, Value};

use crate::domain::Spec;

/// Returns a spec's model, or `otherwise`.
pub(super) fn model(spec: &Spec, otherwise: &str) -> String {
    let named = match spec {
        Spec::Image(image) => &image.model,
        Spec::Video(video) => &video.model,
        Spec::Batch(_) => &None,
    };
    named.clone().unwrap_or_else(|| otherwise.to_owned())
}

/// Tells whether a model's name has so many parts, each of which can stand in an address as it is.
pub(super) fn is_model(name: &str, parts: impl RangeBounds<usize>) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let part =
        |part: &str| part.starts_with(good) && part.chars().all(good) && !part.starts_with('.');
    parts.contains(&name.split('/').count()) && name.split('/').all(part)
}

/// Merges `params` over `input`; one that is null takes the input away.
pub(super) fn merge(
    mut input: Map<String, Value>,
    params: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, String> {
    for (name, text) in params {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("params.{name} is not JSON text: {error}"))?;
        if value.is_null() {
            input.remove(name);
        } else {
            input.insert(name.clone(), value);
        }
    }
    Ok(input)
}

/// Returns the prompt with the style in words, for an API that has no input for it; `params.style` is one.
pub(super) fn styled(prompt: &str, style: &str, params: &BTreeMap<String, String>) -> String {
    if style.trim().is_empty() || params.contains_key("style") {
        return prompt.to_owned();
    }
    format!("{prompt}\n\nStyle: {style}.")
}

/// Reads `1920x1080`.
pub(super) fn sides(resolution: &str) -> Option<(u32, u32)> {
    let (width, height) = resolution.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Returns a ratio in its smallest numbers, as `16:9`.
pub(super) fn ratio((width, height): (u32, u32)) -> String {
    let (mut divisor, mut rest) = (width, height);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    let divisor = divisor.max(1);
    format!("{}:{}", width / divisor, height / divisor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn params_win_and_null_takes_away() {
        let input = json!({"prompt": "a fox", "duration": 5, "seed": 1});
        let Value::Object(input) = input else {
            panic!("an object");
        };
        let params = [("duration", "null"), ("seed", "7"), ("deep", "{\"a\":[1]}")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));

        let merged = merge(input, &params.into()).unwrap();

        assert_eq!(
            Value::Object(merged),
            json!({"prompt": "a fox", "seed": 7, "deep": {"a": [1]}})
        );
    }

    #[test]
    fn a_style_stands_in_the_prompt_unless_the_params_have_one() {
        let own = BTreeMap::from([("style".to_owned(), "\"any\"".to_owned())]);

        assert_eq!(
            styled("a fox", "ink", &BTreeMap::new()),
            "a fox\n\nStyle: ink."
        );
        assert_eq!(styled("a fox", "", &BTreeMap::new()), "a fox");
        assert_eq!(styled("a fox", "ink", &own), "a fox");
    }

    #[test]
    fn the_name_of_a_model_stays_where_it_stands_in_an_address() {
        for good in ["black-forest-labs/flux-1.1-pro", "a/b_c"] {
            assert!(is_model(good, 2..=2), "{good}");
        }
        let bad = [
            "../../x/y",
            "../../../v1/trainings#x",
            "../../v1/deployments?",
            "a/%2e%2e",
            "a\\..\\z/q",
            "a/..",
            "./a",
            "a//b",
            "/a",
            "a/",
            "a",
            "",
            "a/b/c",
            "a/b?c",
            "a/b c",
            "ä/b",
        ];
        for bad in bad {
            assert!(!is_model(bad, 2..=2), "{bad}");
        }
        assert!(is_model("fal-ai/flux/schnell", 2..));
    }

    #[test]
    fn ratios_are_in_their_smallest_numbers() {
        assert_eq!(ratio((1920, 1080)), "16:9");
        assert_eq!(ratio((512, 512)), "1:1");
        assert_eq!(ratio((0, 0)), "0:0");
        assert_eq!(sides("1080x1920"), Some((1080, 1920)));
    }
}
