//! Names of models, which tenants choose and which become parts of URLs.

use std::ops::RangeBounds;

/// Returns whether a model's name has this many parts, each safe in a URL.
pub(super) fn is_model(name: &str, parts: impl RangeBounds<usize>) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let part =
        |part: &str| part.starts_with(good) && part.chars().all(good) && !part.starts_with('.');
    parts.contains(&name.split('/').count()) && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
