//! Makes text from others safe to print on a terminal.

/// Returns a text on one line, with spaces in place of control characters and marks that change the writing direction.
pub(crate) fn plain(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(obeyed, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_changes_the_direction() {
        let text = "a\u{1b}]0;title\u{7}b\r\nc\u{9b}2Jd\u{202e}e\u{2066}f\u{2028}g";

        assert_eq!(plain(text), "a ]0;title b  c 2Jd e f g");
        assert_eq!(plain("änd 日本"), "änd 日本");
    }
}
