//! Text for Slack: untrusted text can neither format nor mention, and is cut at its limit. Pure.
//!
//! In mrkdwn, `<…>` mentions people and hides links, so `&`, `<` and `>` are always escaped as entities.
//! Formatting marks (`*`, `_`, `~`) have no escape: untrusted text is put in code, where only the backtick has
//! a meaning. Lengths are counted in UTF-16 units, the largest count that Slack may mean by characters.

/// The end of a text that was cut.
const CUT: char = '…';

/// Returns untrusted text for places without formatting: headers, fallback texts, alternative texts of images.
pub(super) fn plain(text: &str, limit: usize) -> String {
    written(text, limit, &[])
}

/// Returns untrusted text as code on one line; the backticks count toward `limit`.
pub(super) fn code(text: &str, limit: usize) -> String {
    match written(text.trim(), limit.saturating_sub(2), &['`']) {
        // Slack shows two backticks with nothing between them as they are.
        empty if empty.trim().is_empty() => "–".to_owned(),
        text => format!("`{text}`"),
    }
}

/// Returns a link. `label` must be trusted text. The caller limits the length: a URL cannot be cut.
pub(super) fn link(url: &url::Url, label: &str) -> String {
    // A bar ends the address and a backtick begins code, and a URL may contain both.
    let address = url.as_str().replace('|', "%7C").replace('`', "%60");
    format!("<{}|{label}>", plain(&address, usize::MAX))
}

/// Returns the length of a text, in the units of the limits.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Escapes entities, replaces `marks` with an apostrophe, replaces characters that break the line or change its
/// direction with a space, and cuts at `limit`, between characters.
fn written(text: &str, limit: usize, marks: &[char]) -> String {
    let mut out = String::new();
    let (mut used, mut fits) = (0, 0);
    for character in text.chars() {
        let mut buffer = [0; 4];
        let piece: &str = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            mark if marks.contains(&mark) => "'",
            odd if odd.is_control() || breaks_or_redirects(odd) => " ",
            other => other.encode_utf8(&mut buffer),
        };
        let units = length(piece);
        if units > limit - used {
            out.truncate(fits);
            if limit > 0 {
                out.push(CUT);
            }
            return out;
        }
        out.push_str(piece);
        used += units;
        if used < limit {
            fits = out.len();
        }
    }
    out
}

/// Returns whether a character breaks the line or changes the writing direction of what follows, our words included.
fn breaks_or_redirects(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn untrusted_text_contains_no_mentions_and_no_links() {
        for (given, expected) in [
            ("<!channel> hello", "&lt;!channel&gt; hello"),
            ("<@U012AB3CD>", "&lt;@U012AB3CD&gt;"),
            (
                "<https://evil.example|bank>",
                "&lt;https://evil.example|bank&gt;",
            ),
            ("a & b &lt; c", "a &amp; b &amp;lt; c"),
            ("line\none\r\ttwo", "line one  two"),
            ("\u{202e}txt.exe", " txt.exe"),
        ] {
            assert_eq!(plain(given, 100), expected);
            assert_eq!(code(given, 100), format!("`{expected}`"));
        }
    }

    #[test]
    fn untrusted_text_does_not_end_its_code() {
        assert_eq!(code("a` *b* `<!here>", 100), "`a' *b* '&lt;!here&gt;`");
        assert_eq!(code("```", 100), "`'''`");
        assert_eq!(code(" \n", 100), "–");
    }

    #[test]
    fn a_cut_is_shown_and_splits_no_entity_and_no_character() {
        for (given, limit, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("abc&def", 6, "abc…"),
            ("abcde&", 6, "abcde…"),
            ("ab🦉🦉", 6, "ab🦉🦉"),
            ("ab🦉🦉c", 6, "ab🦉…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(plain(given, limit), expected, "{given}");
        }
    }

    #[test]
    fn a_link_holds_one_address_and_our_label() {
        let url = "https://store.test/a?x=1&y=<!here>|`z".parse().unwrap();

        assert_eq!(
            link(&url, "open"),
            "<https://store.test/a?x=1&amp;y=%3C!here%3E%7C%60z|open>"
        );
    }

    proptest! {
        #[test]
        fn any_text_fits_its_limit_and_adds_no_markup(given in any::<String>(), limit in 3_usize..60) {
            let (plain, code) = (plain(&given, limit), code(&given, limit));

            prop_assert!(length(&plain) <= limit && length(&code) <= limit);
            prop_assert!(!plain.contains(['<', '>', '\n']) && !code.contains(['<', '>', '\n']));
            prop_assert!(matches!(code.matches('`').count(), 0 | 2));
        }
    }
}
