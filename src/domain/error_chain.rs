//! An error and what led to it, in one line.

use std::error::Error;

/// Returns an error and its causes in one line; libraries often tell a cause in the text of the error itself.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string().replace(['\n', '\r'], " ");
        if !told.contains(&text) {
            let colon = if told.is_empty() { "" } else { ": " };
            told.push_str(&format!("{colon}{text}"));
        }
        next = cause.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("refused")
            .context("call: refused")
            .context("no broker");

        assert_eq!(causes(error.as_ref()), "no broker: call: refused");
    }
}
