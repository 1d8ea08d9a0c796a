//! What a command says to a person beside its results, all of it on standard error: notes, progress bars and questions.
//! With `--quiet` there are only questions and errors.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::domain::time::age;

/// Set once, before the command runs.
static QUIET: AtomicBool = AtomicBool::new(false);
/// How often a bar moves while nothing happens.
const TICK: Duration = Duration::from_millis(200);
/// Columns where nothing says how wide the output is shown.
const USUAL_WIDTH: usize = 100;

/// Switches notes and progress bars off.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line on standard error, unless the user wants it quiet.
pub(crate) fn note(line: impl Display) {
    if !is_quiet() {
        // If standard error is closed, there is nowhere left to report to.
        writeln!(std::io::stderr().lock(), "{line}").ok();
    }
}

/// Returns a bar of `total` steps, or without a total a count of them. It is only visible if standard error is a terminal and
/// the user does not want it quiet, and goes away when it is dropped.
pub(crate) fn bar(what: impl Into<Cow<'static, str>>, total: Option<u64>) -> ProgressBar {
    let target = match is_quiet() {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let template = match total {
        Some(_) => "{msg} {wide_bar} {human_pos} of {human_len}, {elapsed} ",
        None => "{spinner} {msg}: {human_pos}, {elapsed} ",
    };
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(total, target).with_style(style);
    bar.set_message(what);
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    bar
}

/// Asks a question that is answered by `y` or `n`; any other answer is no. `None` if there is no person to ask.
pub(super) fn confirm(question: &str) -> Option<bool> {
    let answer = ask(&format!("{question} [y/N] "))?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks for a line; `None` if there is no person to ask.
pub(super) fn ask(question: &str) -> Option<String> {
    if !is_interactive() {
        return None;
    }
    write!(std::io::stderr().lock(), "{question}").ok()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

/// Like [`ask`], and does not show what is typed.
pub(super) fn ask_secret(question: &str) -> Option<String> {
    if !is_interactive() {
        return None;
    }
    write!(std::io::stderr().lock(), "{question}").ok()?;
    Term::stderr().read_secure_line().ok()
}

/// Returns whether a person can be asked.
pub(super) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Returns the columns of the terminal that shows standard output; `None` if it is no terminal.
pub(super) fn width() -> Option<usize> {
    let size = Term::stdout().size_checked();
    size.map(|(_, columns)| usize::from(columns))
}

/// Returns the columns for texts such as `--help`: those of the terminal or of `COLUMNS`, at most 100.
pub(super) fn text_width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    let given = || columns.and_then(|text| text.parse().ok());
    width()
        .or_else(given)
        .unwrap_or(USUAL_WIDTH)
        .clamp(40, USUAL_WIDTH)
}

/// Formats how long ago a time was, both in milliseconds since the epoch.
pub(crate) fn ago(then: i64, now: i64) -> String {
    format!("{} ago", age(then, now))
}

/// Breaks the lines of a text that are wider than `width` between words. A line's continuation begins below its description,
/// if it has one beside a name, else below its beginning. The text may have colours.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match console::measure_text_width(line.trim_end()) <= width {
            true => out.push_str(line),
            false => wrap_line(line, width, &mut out),
        }
    }
    out
}

fn wrap_line(line: &str, width: usize, out: &mut String) {
    let indent = indent(&console::strip_ansi_codes(line), width);
    let end = if line.ends_with('\n') { "\n" } else { "" };
    let mut column = 0;
    for word in line.trim_end().split_inclusive(' ') {
        let length = console::measure_text_width(word.trim_end());
        if column > indent && column + length > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        }
        out.push_str(word);
        column += console::measure_text_width(word);
    }
    out.push_str(end);
}

/// Returns the column at which the continuation of a line begins.
fn indent(line: &str, width: usize) -> usize {
    let text = line.trim_start();
    let start = line.len() - text.len();
    let description = text.find("  ").map(|gap| {
        let rest = text.get(gap..).unwrap_or_default();
        start + gap + (rest.len() - rest.trim_start().len())
    });
    description
        .filter(|column| *column < width / 2)
        .unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_in_the_unit_that_people_would_use() {
        let now = 1_700_000_000_000;
        for (seconds, text) in [
            (-3, "0 s ago"),
            (59, "59 s ago"),
            (200, "3 min ago"),
            (7_300, "2 h ago"),
            (100_000, "27 h ago"),
            (300_000, "3 days ago"),
        ] {
            assert_eq!(ago(now - seconds * 1000, now), text);
        }
    }

    #[test]
    fn a_long_line_goes_on_below_its_description() {
        let text =
            "  -n, --name <N>  The name of\n  \u{1b}[1m-q\u{1b}[0m  one two three four\nshort\n";

        assert_eq!(
            wrapped(text, 20),
            "  -n, --name <N>\n  The name of\n  \u{1b}[1m-q\u{1b}[0m  one two three\n      four\nshort\n"
        );
        assert_eq!(wrapped(text, 80), text);
    }

    #[test]
    fn a_word_that_is_wider_than_the_terminal_is_not_broken() {
        assert_eq!(
            wrapped("a https://a.example/long/path b", 10),
            "a\nhttps://a.example/long/path\nb"
        );
    }
}
