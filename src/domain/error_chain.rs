//! Formats an error and its causes on one line.

use std::error::Error;

/// Returns an error and its causes on one line. A cause is left out if the text so far contains it, because many
/// libraries repeat the cause in the error's own text.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut reported = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string().replace(['\n', '\r'], " ");
        if !reported.contains(&text) {
            let colon = if reported.is_empty() { "" } else { ": " };
            reported.push_str(&format!("{colon}{text}"));
        }
        next = cause.source();
    }
    reported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_shown_once() {
        let error = anyhow::anyhow!("refused")
            .context("call: refused")
            .context("no broker");

        assert_eq!(causes(error.as_ref()), "no broker: call: refused");
    }
}
