//! Redacts what is shown to people: the login of a URL and its part after the host, and the local part of an email
//! address.
//!
//! A dead letter may hold anything, so a target may be anywhere in it: every URL and address is redacted.

use std::ops::Range;

use serde_json::{Value as Json, json};

use crate::domain::Targets;
use crate::operate::text::plain;

const GONE: &str = "…";
/// Headers whose values are credentials.
const SECRET_HEADERS: [&str; 4] = [
    "x-api-key",
    "authorization",
    "proxy-authorization",
    "cookie",
];
/// Characters that are shown of a value that cannot be read.
const LONGEST_VALUE: usize = 256;

/// Returns `text` on one line, with secrets as `…`.
pub(crate) fn redacted(text: &str) -> String {
    plain(&without_secrets(text))
}

/// Returns bytes as text, those that are not printable ASCII as escapes such as `\x00`, and secrets as `…`.
fn redacted_bytes(bytes: &[u8]) -> String {
    replace_secrets(bytes, |part| part.escape_ascii().to_string())
}

/// Returns JSON with the secrets in its strings as `…`. A target field without a recognisable URL or address is
/// replaced as a whole.
fn redacted_json(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(without_secrets(&text)),
        Json::Array(items) => items.into_iter().map(redacted_json).collect(),
        Json::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let is_target = Targets::FIELDS.contains(&name.as_str()) && value.is_string();
                let shown = redacted_json(value.clone());
                let unlike = is_target && shown == value;
                let shown = if unlike { json!(GONE) } else { shown };
                (without_secrets(&name), shown)
            })
            .collect(),
        plain @ (Json::Null | Json::Bool(_) | Json::Number(_)) => plain,
    }
}

/// Returns the JSON of a dead letter's value without secrets.
pub(crate) fn redacted_value(mut value: Json) -> Json {
    shorten_sealed(&mut value);
    redacted_json(value)
}

/// Replaces the sealed targets of an event by their size, because nothing in them is readable.
fn shorten_sealed(json: &mut Json) {
    if let Some(sealed) = json.pointer_mut("/notify/sealed")
        && let Some(bytes) = sealed.as_array()
    {
        *sealed = format!("{} bytes", bytes.len()).into();
    }
}

/// Returns a header's value without secrets.
pub(crate) fn header(name: &str, value: Option<&[u8]>) -> String {
    let secret = SECRET_HEADERS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret));
    match value.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "(null)".to_owned(),
        Some(_) if secret => "***".to_owned(),
        Some((_, Ok(text))) => redacted(text),
        Some((bytes, Err(_))) => format!("{} bytes, not text", bytes.len()),
    }
}

/// Returns the beginning of a value as text without secrets.
pub(crate) fn beginning(value: &[u8]) -> String {
    // The whole value is redacted before it is cut, because half a secret would not be recognised.
    let text = redacted_bytes(value);
    let shown: String = text.chars().take(LONGEST_VALUE).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    shown + more
}

fn without_secrets(text: &str) -> String {
    // A secret has ASCII, or the end of the text, on both sides, so its bounds never split a character.
    replace_secrets(text.as_bytes(), |part| {
        String::from_utf8_lossy(part).into_owned()
    })
}

/// Replaces each secret by `…`, and shows the parts between them by `show`.
fn replace_secrets(bytes: &[u8], show: impl Fn(&[u8]) -> String) -> String {
    let mut shown = String::new();
    let mut rest = bytes;
    let mut at = 0;
    for secret in secrets(bytes) {
        let (before, after) = rest.split_at(secret.start - at);
        shown.push_str(&show(before));
        shown.push_str(GONE);
        (_, rest) = after.split_at(secret.len());
        at = secret.end;
    }
    shown + &show(rest)
}

/// Finds the secrets, in order; no two of them touch.
fn secrets(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut url_ends = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            // A colon within the last URL is skipped: it is already redacted, and no byte is scanned twice.
            b':' if at >= url_ends => {
                let parts = url(bytes, at);
                url_ends = parts[1].end;
                found.extend(parts);
            }
            b'@' => found.extend(address(bytes, at)),
            _ => {}
        }
    }
    found.retain(|secret| !secret.is_empty());
    found.sort_unstable_by_key(|secret| secret.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for secret in found {
        match merged.last_mut() {
            Some(last) if secret.start <= last.end => last.end = last.end.max(secret.end),
            Some(_) | None => merged.push(secret),
        }
    }
    merged
}

/// Finds the login, and everything after the host, of the http or https URL whose colon is at `colon`.
fn url(bytes: &[u8], colon: usize) -> [Range<usize>; 2] {
    let none = [0..0, 0..0];
    let (before, rest) = bytes.split_at(colon);
    let (_, scheme) = before.split_at(colon.saturating_sub("https".len()));
    let scheme = scheme.to_ascii_lowercase();
    if !scheme.ends_with(b"http") && !scheme.ends_with(b"https") {
        return none;
    }
    // Some JSON writers escape slashes.
    let slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    let slashes = rest.iter().skip(1).take_while(|byte| slash(byte)).count();
    if slashes < 2 {
        return none;
    }
    let (_, url) = rest.split_at(1 + slashes);
    let (url, _) = url.split_at(url.iter().take_while(|byte| in_url(**byte)).count());
    let ends = |byte: &u8| slash(byte) || matches!(byte, b'?' | b'#');
    let (authority, path) = url.split_at(url.iter().position(ends).unwrap_or(url.len()));
    let from = colon + 1 + slashes;
    let user = authority.iter().rposition(|byte| *byte == b'@');
    // The character that ends the host is shown.
    let secret = from + authority.len() + path.len().min(1);
    [from..from + user.unwrap_or(0), secret..from + url.len()]
}

fn in_url(byte: u8) -> bool {
    !byte.is_ascii_control() && !b" \"'<>`{}|^".contains(&byte)
}

/// Finds the local part of the address whose `@` is at `at`. A backslash belongs to it: it may begin an escaped letter.
fn address(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let local =
        |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"._%+-\\".contains(byte);
    let (before, after) = bytes.split_at(at);
    let length = before.iter().rev().take_while(|byte| local(byte)).count();
    let domain = after.get(1)?;
    (domain.is_ascii_alphanumeric() || !domain.is_ascii()).then(|| at - length..at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_addresses_are_shown_without_their_secrets() {
        for (text, shown) in [
            ("nothing here", "nothing here"),
            (
                "to https://hooks.slack.com/services/T0/B0/x, then",
                "to https://hooks.slack.com/… then",
            ),
            ("<https://a.example:8443?t=1>", "<https://a.example:8443?…>"),
            ("HTTP://user:pw@a.example/", "HTTP://…@a.example/"),
            ("at:http://a.b/x:http://c.d/y", "at:http://a.b/…"),
            ("https://a.example", "https://a.example"),
            (
                "https://a.example/x https://b.example/y",
                "https://a.example/… https://b.example/…",
            ),
            (r"https:\/\/a.example\/secret", r"https:\/\/a.example\…"),
            ("mail ann.lee+x@example.org now", "mail …@example.org now"),
            ("ä@example.org", "…@example.org"),
            ("a @ b, @c, d@", "a @ b, @c, d@"),
            (r"at m\xc3\xbcller@example.org", "at …@example.org"),
            ("\u{1b}[2Jcleared\n", " [2Jcleared "),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn bytes_are_redacted_before_they_are_escaped() {
        for (bytes, shown) in [
            (
                "\u{1}\u{1e}ann@übung.example\n".as_bytes(),
                r"\x01\x1e…@\xc3\xbcbung.example\n",
            ),
            (
                "see https://user:pä@host/".as_bytes(),
                "see https://…@host/",
            ),
            (
                b"\xff\0to https://a.example/secret\0",
                r"\xff\x00to https://a.example/…\x00",
            ),
        ] {
            assert_eq!(redacted_bytes(bytes), shown);
        }
    }

    #[test]
    fn a_hostile_value_is_redacted_fast() {
        let long = "http://:@".repeat(400_000);
        let began = std::time::Instant::now();

        without_secrets(&long);

        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn targets_in_json_are_redacted_anywhere() {
        let value = json!({"request_id": "a", "webhook_url": "https://a.example/tok", "notify_email": "nobody",
            "notify_slack": null, "spec": {"items": [{"webhook_url": "https://b.example/tok", "fps": 30}]},
            "metadata": {"mail": "ann@example.org"}});

        assert_eq!(
            redacted_json(value),
            json!({"request_id": "a", "webhook_url": "https://a.example/…", "notify_email": "…",
                "notify_slack": null, "spec": {"items": [{"webhook_url": "https://b.example/…", "fps": 30}]},
                "metadata": {"mail": "…@example.org"}})
        );
    }

    #[test]
    fn credentials_are_not_shown() {
        for (name, value, shown) in [
            ("X-Api-Key", Some(&b"secret"[..]), "***"),
            ("mine", Some(b"kept"), "kept"),
            (
                "link",
                Some(b"https://a.example/tok"),
                "https://a.example/…",
            ),
            ("raw", Some(b"\xff\xfe"), "2 bytes, not text"),
            ("none", None, "(null)"),
        ] {
            assert_eq!(header(name, value), shown);
        }
    }

    #[test]
    fn sealed_targets_are_shown_by_their_size() {
        let mut json = json!({"request_id": "a", "notify": {"on": [], "sealed": [1, 2, 3]}});

        shorten_sealed(&mut json);

        assert_eq!(json["notify"]["sealed"], "3 bytes");
    }

    #[test]
    fn the_beginning_of_a_value_shows_bytes_as_escapes_and_no_secret() {
        let mut value = b"not avro \x01 https://a.example/secret".to_vec();
        assert_eq!(beginning(&value), r"not avro \x01 https://a.example/…");

        value.extend([b' '; 300]);

        let shown = beginning(&value);
        assert!(shown.ends_with(" …") && shown.chars().count() == 257);
    }
}
