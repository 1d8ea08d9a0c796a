//! Reads text, and makes text from others safe to print on a terminal.

use std::io::Read as _;

use super::Error;

/// Returns a text on one line, with spaces in place of control characters and marks that change the writing direction.
pub(super) fn plain(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(obeyed, " ")
}

/// Reads a file, or standard input.
pub(super) fn read(file: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map(|_| text),
        path => std::fs::read_to_string(path),
    };
    read.map_err(|error| Error::Usage(format!("{file}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_turns_the_line() {
        let text = "a\u{1b}]0;title\u{7}b\r\nc\u{9b}2Jd\u{202e}e\u{2066}f\u{2028}g";

        assert_eq!(plain(text), "a ]0;title b  c 2Jd e f g");
        assert_eq!(plain("änd 日本"), "änd 日本");
    }
}
