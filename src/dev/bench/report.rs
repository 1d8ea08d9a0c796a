//! The figures of a run: each with its values in all rounds.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::{load, processor};

/// A row of the table, and what is measured, such as `genflow`.
pub(super) type Case<'a> = (&'static str, &'a str);

/// All figures, and the machine that they come from.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    processor: String,
    cores: usize,
    load_before: f64,
    load_after: f64,
    figures: Vec<Figure>,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    row: &'static str,
    of: String,
    /// The unit, such as `requests/s`.
    unit: String,
    median: f64,
    rounds: Vec<f64>,
}

impl Report {
    pub(super) fn begin() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_before: load(),
            load_after: 0.0,
            figures: Vec::new(),
        }
    }

    pub(super) fn end(&mut self) {
        self.load_after = load();
    }

    /// Adds the value of a figure in the next round.
    pub(super) fn add(&mut self, row: &'static str, of: &str, unit: &str, value: f64) {
        match self.figures.iter_mut().find(|it| it.is((row, of), unit)) {
            Some(figure) => {
                figure.rounds.push(value);
                figure.median = median(&figure.rounds);
            }
            None => self.figures.push(Figure {
                row,
                of: of.to_owned(),
                unit: unit.to_owned(),
                median: value,
                rounds: vec![value],
            }),
        }
    }

    /// Adds 50th, 95th and 99th percentile of a round's times; returns the first.
    pub(super) fn add_times(&mut self, (row, of): Case<'_>, mut times: Vec<f64>) -> f64 {
        times.sort_by(f64::total_cmp);
        let at = |percent| times[times.len() * percent / 100];
        for percent in [50, 95, 99] {
            self.add(row, of, &format!("p{percent} ms"), at(percent));
        }
        at(50)
    }

    /// Adds this round's ratio of each figure of a case to that of `base`.
    pub(super) fn compare(
        &mut self,
        (row, of): Case<'_>,
        units: &[&str],
        (base, times_base): (&str, &str),
    ) {
        for unit in units {
            let last = |of| {
                let figure = self.figures.iter().find(|it| it.is((row, of), unit))?;
                figure.rounds.last().copied()
            };
            // A figure that does not exist, or a base of zero ticks, has no ratio.
            if let (Some(ours), Some(base)) = (last(of), last(base))
                && base > 0.0
            {
                self.add(row, &format!("{of}: {unit}"), times_base, ours / base);
            }
        }
    }

    pub(super) fn median(&self, case: Case<'_>, unit: &str) -> Option<f64> {
        let found = self.figures.iter().find(|it| it.is(case, unit))?;
        Some(found.median)
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Returns the figures as a Markdown table.
    pub(super) fn table(&self) -> String {
        let mut table = format!(
            "genflow {}, {} cores of {}, load {:.1} before and {:.1} after\n\n\
             | row | what | unit | median | rounds |\n|---|---|---|---|---|\n",
            self.version, self.cores, self.processor, self.load_before, self.load_after
        );
        for figure in &self.figures {
            let rounds: Vec<_> = figure.rounds.iter().map(|value| short(*value)).collect();
            let (row, of, unit) = (figure.row, &figure.of, &figure.unit);
            let (median, rounds) = (short(figure.median), rounds.join(", "));
            writeln!(table, "| {row} | {of} | {unit} | {median} | {rounds} |").ok();
        }
        table
    }
}

impl Figure {
    fn is(&self, (row, of): Case<'_>, unit: &str) -> bool {
        (self.row, &*self.of, &*self.unit) == (row, of, unit)
    }
}

/// Formats with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_the_median_of_its_rounds_and_a_ratio_that_of_the_last() {
        let mut report = Report::begin();
        for value in [3.0, 1.0, 2.5] {
            report.add("requests", "genflow", "requests/s", value);
        }
        report.add("requests", "bare", "requests/s", 40.0);
        report.compare(("requests", "genflow"), &["requests/s"], ("bare", "× bare"));

        let table = report.table();

        assert!(table.contains("| requests | genflow | requests/s | 2.50 | 3.00, 1.00, 2.50 |"));
        assert!(table.contains("| requests | bare | requests/s | 40.0 | 40.0 |"));
        assert!(table.contains("| requests | genflow: requests/s | × bare | 0.06 | 0.06 |"));
    }
}
