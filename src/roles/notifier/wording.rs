//! Texts for people that mails and Slack messages share. Pure.

use chrono::DateTime;

use crate::domain::{CostSource, Generated};

/// Returns untrusted text as one line of at most `longest` characters, without invisible characters and those that
/// change the writing direction.
pub(super) fn line(text: &str, longest: usize) -> String {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let clean = text.replace(unseen, " ");
    let words: Vec<_> = clean.split(' ').filter(|word| !word.is_empty()).collect();
    let clean = words.join(" ");
    if clean.chars().count() <= longest {
        return clean;
    }
    let mut cut: String = clean.chars().take(longest.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Returns a time as `2023-11-14 22:13 UTC`.
pub(super) fn moment(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .format("%Y-%m-%d %H:%M UTC")
        .to_string()
}

/// Returns what a result cost in US dollars, with cents and what is needed of the next two digits.
pub(super) fn dollars(result: &Generated) -> Option<String> {
    let usd = format!("{:.4}", result.cost_usd?);
    let usd = ["0", "0"].iter().fold(usd.as_str(), |usd, zero| {
        usd.strip_suffix(zero).unwrap_or(usd)
    });
    Some(match result.cost_source {
        Some(CostSource::Estimate) => format!("{usd} (estimated)"),
        Some(CostSource::Provider | CostSource::Metered | CostSource::Unknown) | None => {
            usd.to_owned()
        }
    })
}

/// Returns a size in decimal units, as disks are labelled.
pub(super) fn size(bytes: i64) -> String {
    let tenths = |unit: i64| {
        let tenths = bytes / (unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        1_000_000_000.. => format!("{} GB", tenths(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_becomes_one_line_cut_between_characters() {
        assert_eq!(line("a\r\nBcc: b\0\tc\u{202e}d", 100), "a Bcc: b c d");
        assert_eq!(line("äöü", 3), "äöü");
        assert_eq!(line("äöüß", 3), "äö…");
        assert_eq!(line("\u{2028}", 3), "");
    }

    #[test]
    fn small_amounts_are_not_rounded_away_and_estimates_say_so() {
        let cost = |usd, source| {
            dollars(&Generated {
                outputs: Vec::new(),
                provider: String::new(),
                provider_job_id: String::new(),
                elapsed_ms: 0,
                cost_usd: usd,
                cost_source: source,
                sent: None,
                notes: Vec::new(),
                model: None,
            })
        };

        assert_eq!(cost(Some(0.04), None).unwrap(), "0.04");
        assert_eq!(
            cost(Some(12.0), Some(CostSource::Provider)).unwrap(),
            "12.00"
        );
        assert_eq!(
            cost(Some(0.075), Some(CostSource::Metered)).unwrap(),
            "0.075"
        );
        assert_eq!(
            cost(Some(0.003), Some(CostSource::Estimate)).unwrap(),
            "0.003 (estimated)"
        );
        assert_eq!(cost(None, None), None);
    }

    #[test]
    fn sizes_are_in_units_that_people_know() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_449_000), "1.4 MB");
        assert_eq!(size(2_000_000_000), "2.0 GB");
    }
}
