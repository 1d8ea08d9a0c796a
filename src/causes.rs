//! An error as text.

use std::error::Error;

/// Returns an error and its causes in one line; libraries often tell a cause in the text of the error itself.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = inner.source();
    }
    told.replace(['\n', '\r'], " ")
}
