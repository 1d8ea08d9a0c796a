//! Builds a job's input, for all providers: the mapping of fields, `params`, and the forms of sizes.

use std::ops::RangeBounds;

use serde_json::{Map, Value, json};

use crate::domain::{Common, ImageSpec, Input, OnUnsupported, Role};

/// Returns whether a model's name has this many parts, each safe in a URL.
pub(super) fn is_model(name: &str, parts: impl RangeBounds<usize>) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let part =
        |part: &str| part.starts_with(good) && part.chars().all(good) && !part.starts_with('.');
    parts.contains(&name.split('/').count()) && name.split('/').all(part)
}

/// The input of a job: the requested fields under the provider's names, and nothing else.
pub(super) struct Mapping<'s> {
    common: &'s Common,
    input: Map<String, Value>,
    unsupported: Vec<&'static str>,
}

impl<'s> Mapping<'s> {
    /// Starts with the prompt.
    pub(super) fn new(common: &'s Common) -> Self {
        let prompt = ("prompt".to_owned(), json!(common.prompt));
        Self {
            common,
            input: Map::from_iter([prompt]),
            unsupported: Vec::new(),
        }
    }

    /// Adds a requested field as `name`.
    pub(super) fn put(&mut self, name: &str, asked: Option<impl Into<Value>>) {
        if let Some(value) = asked {
            self.input.insert(name.to_owned(), value.into());
        }
    }

    /// Records a field that the provider has no input for, if it was requested.
    pub(super) fn lacks(&mut self, field: &'static str, asked: bool) {
        if asked {
            self.unsupported.push(field);
        }
    }

    /// Adds the style to the prompt, for an API without an input for it, unless `params.style` is set.
    pub(super) fn style_in_words(&mut self) {
        let style = self.common.style.as_deref().map(str::trim);
        let style = style.filter(|style| !style.is_empty());
        if let Some(style) = style.filter(|_| !self.common.params.contains_key("style")) {
            let prompt = format!("{}\n\nStyle: {style}.", self.common.prompt);
            self.input.insert("prompt".to_owned(), json!(prompt));
        }
    }

    /// Returns the URLs of the inputs with role `own` or no role. The provider has no input for the others.
    pub(super) fn inputs(&mut self, own: Role) -> Vec<&'s str> {
        let is_plain = |input: &&Input| input.role == own || input.role == Role::Unspecified;
        let (plain, others): (Vec<_>, Vec<_>) = self.common.inputs.iter().partition(is_plain);
        self.lacks("inputs", !others.is_empty());
        plain.into_iter().map(|input| input.url.as_str()).collect()
    }

    /// Merges `params` over the other inputs; a null removes an input.
    ///
    /// # Errors
    /// Names the fields that have no input, unless the request drops them.
    pub(super) fn finish(self) -> Result<Map<String, Value>, String> {
        let Self {
            common,
            mut input,
            unsupported,
        } = self;
        if common.on_unsupported == OnUnsupported::Refuse && !unsupported.is_empty() {
            return Err(format!(
                "the provider has no input for {}; leave them out, name the model's own inputs in params, or set \
                 on_unsupported to DROP",
                unsupported.join(", ")
            ));
        }
        for (name, text) in &common.params {
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
}

/// Returns both sides of an image, for an API that takes them together.
pub(super) fn both(image: &ImageSpec) -> Result<Option<(i32, i32)>, String> {
    match (image.width, image.height) {
        (Some(width), Some(height)) => Ok(Some((width, height))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err("spec.width or spec.height is missing; expected both of them or neither".to_owned())
        }
    }
}

/// Parses a resolution such as `1920x1080`.
pub(super) fn sides(resolution: &str) -> Option<(u32, u32)> {
    let (width, height) = resolution.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Returns a ratio in its smallest numbers, such as `16:9`.
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

    fn common() -> Common {
        Common {
            prompt: "a fox".to_owned(),
            ..Common::default()
        }
    }

    #[test]
    fn params_override_fields_and_null_removes_one() {
        let params = [("duration", "null"), ("seed", "7"), ("deep", "{\"a\":[1]}")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
        let common = Common {
            params: params.into(),
            ..common()
        };
        let mut mapping = Mapping::new(&common);
        mapping.put("duration", Some(5));
        mapping.put("seed", Some(1));
        mapping.put("fps", None::<i32>);

        let merged = mapping.finish().unwrap();

        assert_eq!(
            Value::Object(merged),
            json!({"prompt": "a fox", "seed": 7, "deep": {"a": [1]}})
        );
    }

    #[test]
    fn a_style_is_added_to_the_prompt_unless_the_params_have_one() {
        let prompt = |style: &str, params: &[&str]| {
            let params = params
                .iter()
                .map(|name| ((*name).to_owned(), "7".to_owned()));
            let common = Common {
                style: Some(style.to_owned()),
                params: params.collect(),
                ..common()
            };
            let mut mapping = Mapping::new(&common);
            mapping.style_in_words();
            mapping.finish().unwrap()["prompt"].clone()
        };

        assert_eq!(prompt("ink", &[]), "a fox\n\nStyle: ink.");
        assert_eq!(prompt(" ", &[]), "a fox");
        assert_eq!(prompt("ink", &["style"]), "a fox");
    }

    #[test]
    fn a_field_without_an_input_is_refused_or_dropped_as_the_request_says() {
        let mut asked = common();
        let mask = Input {
            url: "https://a/mask.png".parse().unwrap(),
            role: Role::Mask,
        };
        let plain = Input {
            url: "https://a/1.png".parse().unwrap(),
            role: Role::Unspecified,
        };
        asked.inputs = vec![mask, plain];
        let map = |common: &Common| {
            let mut mapping = Mapping::new(common);
            let inputs = json!(mapping.inputs(Role::Source));
            mapping.put("image", Some(inputs));
            mapping.lacks("seed", true);
            mapping.lacks("fps", false);
            mapping.finish()
        };

        let refused = map(&asked).unwrap_err();
        asked.on_unsupported = OnUnsupported::Drop;
        let sent = map(&asked).unwrap();

        assert!(refused.contains("no input for inputs, seed;"), "{refused}");
        assert_eq!(
            Value::Object(sent),
            json!({"prompt": "a fox", "image": ["https://a/1.png"]})
        );
    }

    #[test]
    fn a_model_name_cannot_change_the_rest_of_a_url() {
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
