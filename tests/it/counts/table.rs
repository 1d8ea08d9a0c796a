//! A table of committed figures, and the comparison with measured ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Figures by name; one that is 0 is left out.
pub(crate) type Figures = BTreeMap<String, u64>;

/// A figure with this in its name is an upper bound, because times and ids have different lengths.
const BOUND: &str = "at most";
/// How far a bound may be above the measured value; a new bound is half as far above it.
const ROOM: u64 = 100;

/// Asserts that `measured` has the figures of the table, one on each line: `name = figure`.
pub(crate) fn check(table: &str, mut measured: Figures) {
    let path = format!("tests/it/counts/{table}.txt");
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
    let text = std::fs::read_to_string(text).unwrap_or_default();
    let figure = |line: &str| {
        let (name, figure) = line.rsplit_once(" = ").unwrap();
        (name.to_owned(), figure.parse().unwrap())
    };
    let committed: Figures = text.lines().map(figure).collect();
    for (name, figure) in &mut measured {
        if name.contains(BOUND) {
            *figure += ROOM / 2;
        }
    }
    let differences = differences(&committed, &measured);
    let new: String = measured
        .iter()
        .map(|(name, figure)| format!("{name} = {figure}\n"))
        .collect();
    assert!(
        differences.is_empty(),
        "a request does not cost what {path} says:\n{differences}\nIf this is intended, replace the file with:\n{new}"
    );
}

/// Returns a figure; 0 if there is none.
pub(crate) fn value(figures: &Figures, name: &str) -> u64 {
    figures.get(name).copied().unwrap_or_default()
}

fn differences(committed: &Figures, measured: &Figures) -> String {
    let names: BTreeSet<&String> = committed.keys().chain(measured.keys()).collect();
    let mut text = String::new();
    for name in names {
        let (was, is) = (value(committed, name), value(measured, name));
        if name.contains(BOUND) && was.abs_diff(is) <= ROOM / 2 {
            continue;
        }
        match is.cmp(&was) {
            std::cmp::Ordering::Greater => writeln!(text, "{name} rose from {was} to {is}"),
            std::cmp::Ordering::Less => writeln!(text, "{name} fell from {was} to {is}"),
            std::cmp::Ordering::Equal => Ok(()),
        }
        .unwrap();
    }
    text
}
