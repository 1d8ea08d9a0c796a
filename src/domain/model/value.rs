//! Values in a schema's own spelling: `5`, `"5"` or `"5s"`; `jpg` or `jpeg`; `Realistic` or `realistic_image`.

use serde_json::{Number, Value};
use url::Url;

use super::schema::{Form, Property};

/// Returns a number as a property accepts it. `None` if it does not accept the number.
pub(super) fn number(property: &Property, multiple: Option<f64>, asked: f64) -> Option<Value> {
    let same = |choice: &&Value| as_number(choice).is_some_and(|number| close(number, asked));
    let choice = property.choices.iter().find(same).cloned();
    // Besides words such as `auto`, the property may take any number.
    if choice.is_some() || property.lists_numbers() && !property.is_open {
        return choice;
    }
    let in_range = property.minimum.is_none_or(|least| asked >= least)
        && property.maximum.is_none_or(|most| asked <= most);
    let on_grid =
        multiple.is_none_or(|multiple| close((asked / multiple).round() * multiple, asked));
    if !in_range || !on_grid {
        return None;
    }
    if property.is_number() {
        whole(asked)
            .filter(|_| close(asked.round(), asked))
            .or_else(|| {
                let fraction = property.has(&Form::Number).then(|| Number::from_f64(asked));
                fraction.flatten().map(Value::Number)
            })
    } else {
        let default = property.default.as_ref().and_then(Value::as_str);
        let unit = if default.is_some_and(|text| text.ends_with('s')) {
            "s"
        } else {
            ""
        };
        let text = || Value::String(format!("{asked}{unit}"));
        property.takes_any_text().then(text)
    }
}

/// Returns a number without fraction as JSON.
fn whole(number: f64) -> Option<Value> {
    // Exact up to 2^53, and every number of a request is smaller, except seeds, which `Binder::number` handles.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    (number.abs() <= LIMIT).then(|| Value::from(number as i64))
}

/// Returns the number that a choice stands for: `5`, `"5"`, `"5s"` or `5.0`.
pub(super) fn as_number(choice: &Value) -> Option<f64> {
    match choice {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.strip_suffix('s').unwrap_or(text).trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns a text as a property accepts it: a choice, or the text itself if the property takes any.
pub(super) fn text(property: &Property, asked: &str) -> Option<Value> {
    choice(property, asked).or_else(|| free(property, asked))
}

/// Returns a file format as a property accepts it. `jpg` and `jpeg` are one.
pub(super) fn file_format(property: &Property, asked: &str) -> Option<Value> {
    let asked = asked.trim().trim_start_matches('.');
    let other = match folded(asked).as_str() {
        "jpg" => "jpeg",
        "jpeg" => "jpg",
        _ => asked,
    };
    let listed = choice(property, asked).or_else(|| choice(property, other));
    listed.or_else(|| free(property, asked))
}

/// Returns the choice that is equal to a text but for case, spaces, `_` and `-`.
fn choice(property: &Property, asked: &str) -> Option<Value> {
    let equal = |choice: &&Value| {
        choice
            .as_str()
            .is_some_and(|choice| folded(choice) == folded(asked))
    };
    property.choices.iter().find(equal).cloned()
}

fn free(property: &Property, asked: &str) -> Option<Value> {
    property.takes_any_text().then(|| Value::from(asked))
}

fn folded(text: &str) -> String {
    let kept = text.chars().filter(|c| !matches!(c, ' ' | '_' | '-'));
    kept.flat_map(char::to_lowercase).collect()
}

/// Limit on the characters of a text that is shown, and on the items of a list.
const LONGEST_SHOWN: usize = 500;
const MOST_SHOWN: usize = 20;

/// Removes what may be secret from URLs at any depth, and cuts what is long.
pub(super) fn hide(value: &mut Value) {
    match value {
        Value::String(text) => *text = public(text).chars().take(LONGEST_SHOWN).collect(),
        Value::Array(items) => {
            items.truncate(MOST_SHOWN);
            items.iter_mut().for_each(hide);
        }
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns a text without what may be secret or long in a URL: login, query, and data.
fn public(text: &str) -> String {
    let start = text.get(..5).unwrap_or_default();
    if start.eq_ignore_ascii_case("data:") {
        return "data:".to_owned();
    }
    match Url::parse(text) {
        Ok(url) if url.has_host() => crate::domain::shown(&url),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

pub(super) fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

/// Returns what a property accepts, for people.
pub(super) fn allowed(property: &Property, multiple: Option<f64>) -> String {
    let mut parts = Vec::new();
    if !property.choices.is_empty() {
        parts.push(listed(&property.choices));
    }
    match (property.minimum, property.maximum) {
        (Some(least), Some(most)) => parts.push(format!("{least} to {most}")),
        (Some(least), None) => parts.push(format!("{least} or more")),
        (None, Some(most)) => parts.push(format!("up to {most}")),
        (None, None) => {}
    }
    if let Some(multiple) = multiple.filter(|multiple| !close(*multiple, 1.0)) {
        parts.push(format!("multiples of {multiple}"));
    }
    parts.join("; ")
}

impl Property {
    /// Returns whether some of its choices are numbers.
    pub(super) fn lists_numbers(&self) -> bool {
        self.choices
            .iter()
            .any(|choice| as_number(choice).is_some())
    }

    /// Returns what it accepts, for people: its values, or else its type.
    pub(super) fn expected(&self, multiple: Option<f64>) -> String {
        let allowed = allowed(self, multiple);
        if !allowed.is_empty() {
            return allowed;
        }
        let names = self.forms.iter().map(|form| match form {
            Form::Text => "text",
            Form::File => "a URL",
            Form::Integer => "a whole number",
            Form::Number => "a number",
            Form::Boolean => "true or false",
            Form::List(_) => "a list",
            Form::Sides => "an object of width and height",
            Form::Object => "an object",
        });
        names.collect::<Vec<_>>().join(" or ")
    }
}

/// Returns values as a list, at most thirty.
pub(super) fn listed<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    const SHOWN: usize = 30;
    let mut texts: Vec<_> = values.into_iter().map(shown).collect();
    let left = texts.len().saturating_sub(SHOWN);
    texts.truncate(SHOWN);
    if left > 0 {
        texts.push(format!("and {left} more"));
    }
    texts.join(", ")
}

/// Returns a value as people write it: a text without quotes, and a URL without what may be secret in it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => public(text),
        Value::Array(_) | Value::Object(_) => {
            let mut shown = value.clone();
            hide(&mut shown);
            shown.to_string()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Schema;
    use super::*;

    fn property(schema: &Value) -> Property {
        let input = json!({"properties": {"p": schema}});
        Schema::parse(&Value::Null, &input).unwrap().properties["p"].clone()
    }

    #[test]
    fn a_number_takes_the_spelling_of_the_schema() {
        for (schema, asked, expected) in [
            (
                json!({"type": "integer", "enum": [5, 10]}),
                5.0,
                Some(json!(5)),
            ),
            (
                json!({"type": "string", "enum": ["5", "10"]}),
                5.0,
                Some(json!("5")),
            ),
            (
                json!({"type": "string", "enum": ["auto", "5s"]}),
                5.0,
                Some(json!("5s")),
            ),
            (json!({"type": "integer", "enum": [5, 10]}), 6.0, None),
            (
                json!({"type": "integer", "minimum": 2, "maximum": 12}),
                12.0,
                Some(json!(12)),
            ),
            (
                json!({"type": "integer", "minimum": 2, "maximum": 12}),
                13.0,
                None,
            ),
            (
                json!({"type": "integer", "multipleOf": 16}),
                720.0,
                Some(json!(720)),
            ),
            (json!({"type": "integer", "multipleOf": 16}), 721.0, None),
            (json!({"type": "string"}), 7.0, Some(json!("7"))),
            (json!({"type": "boolean"}), 1.0, None),
        ] {
            let property = property(&schema);

            assert_eq!(
                number(&property, property.multiple_of, asked),
                expected,
                "{schema}"
            );
        }
    }

    #[test]
    fn a_text_finds_its_choice_whatever_its_case_and_separators() {
        let style = property(&json!({"type": "string", "enum": ["realistic_image", "HALF LIFE"]}));
        let format = property(&json!({"type": "string", "enum": ["jpeg", "png"]}));

        assert_eq!(
            text(&style, "Realistic Image"),
            Some(json!("realistic_image"))
        );
        assert_eq!(text(&style, "half-life"), Some(json!("HALF LIFE")));
        assert_eq!(text(&style, "ink"), None);
        assert_eq!(file_format(&format, "JPG"), Some(json!("jpeg")));
        assert_eq!(file_format(&format, "png"), Some(json!("png")));
        assert_eq!(file_format(&format, "webp"), None);
    }
}
