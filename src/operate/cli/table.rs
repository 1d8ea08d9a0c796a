//! Tables for people: a header, aligned columns, colours, and no line that is wider than the terminal. What prints to a
//! terminal decides whether colours are shown (`anstream` in `launch`).

use std::io::Write;

use clap::builder::styling::{AnsiColor, Color, Style};

use super::terminal;
use crate::operate::text::plain;

/// The fewest characters of a last column that is cut.
const SHORTEST: usize = 20;

/// A column and its header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

/// A text, made harmless to a terminal, and its style.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

/// Rows below a header.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Column {
    fn header(self) -> &'static str {
        match self {
            Self::Left(header) | Self::Right(header) => header,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: plain(text.as_ref()),
            style: Style::new(),
        }
    }
}

impl Cell {
    pub(super) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl Table {
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// Prints the table; its last column is cut where the terminal ends.
    pub(super) fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.print_within(terminal::width(), out)
    }

    fn print_within(&self, limit: Option<usize>, out: &mut dyn Write) -> std::io::Result<()> {
        let header = self.columns.iter().map(|column| {
            let style = Style::new().bold();
            Cell::from(column.header()).styled(style)
        });
        let header: Vec<_> = header.collect();
        let rows = || std::iter::once(&header).chain(&self.rows);
        let width = |at| rows().filter_map(move |row| row.get(at)).map(Cell::width);
        let widths: Vec<_> = (0..self.columns.len())
            .map(|at| width(at).max().unwrap_or(0))
            .collect();
        for row in rows() {
            writeln!(out, "{}", self.line(row, &widths, limit))?;
        }
        Ok(())
    }

    fn line(&self, row: &[Cell], widths: &[usize], limit: Option<usize>) -> String {
        let mut line = String::new();
        let mut column = 0;
        // Nothing is padded beyond the last text of a row.
        let last = row
            .iter()
            .rposition(|cell| !cell.text.is_empty())
            .unwrap_or(0);
        for (at, (cell, width)) in row.iter().zip(widths).take(last + 1).enumerate() {
            let gap = if at == 0 { 0 } else { 2 };
            let pad = " ".repeat(width - cell.width());
            let is_right = matches!(self.columns.get(at), Some(Column::Right(_)));
            let room = limit.map(|limit| limit.saturating_sub(column + gap).max(SHORTEST));
            let text = match room.filter(|_| at + 1 == self.columns.len()) {
                Some(room) => cut(&cell.text, room),
                None => cell.text.clone(),
            };
            let styled = format!("{}{text}{}", cell.style.render(), cell.style.render_reset());
            line.push_str(&" ".repeat(gap));
            match is_right {
                true => line.extend([pad, styled]),
                false if at == last => line.push_str(&styled),
                false => line.extend([styled, pad]),
            }
            column += gap + width;
        }
        line
    }
}

/// Returns a text of at most `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

pub(super) const GOOD: Style = color(AnsiColor::Green);
pub(super) const BAD: Style = color(AnsiColor::Red);
pub(super) const UNSURE: Style = color(AnsiColor::Yellow);
pub(super) const OPEN: Style = color(AnsiColor::Cyan);
pub(super) const FAINT: Style = Style::new().dimmed();

/// Returns the style for the name of a state or a verdict.
pub(super) fn style_of(state: &str) -> Style {
    match state.to_ascii_lowercase().as_str() {
        "completed" | "delivered" | "ok" => GOOD,
        "failed" | "terminated" | "timed_out" | "rejected" | "given_up" | "fail" => BAD,
        "cancelled" | "claimed" | "expired" | "skipped" | "warn" => UNSURE,
        "running" | "queued" | "submitting" | "generating" | "finishing" | "started"
        | "progress" => OPEN,
        _ => Style::new(),
    }
}

/// Formats a fact as a line of a list of facts.
pub(super) fn fact(name: &str, width: usize, text: &Cell) -> String {
    let (bold, reset) = (
        Style::new().bold().render(),
        Style::new().bold().render_reset(),
    );
    let style = text.style;
    format!(
        "{bold}{name:<width$}{reset} {}{}{}",
        style.render(),
        text.text,
        style.render_reset()
    )
}

#[cfg(test)]
pub(super) fn without_colors(print: impl FnOnce(&mut dyn Write)) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    print(&mut out);
    String::from_utf8(out.into_inner()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            Column::Left("state"),
            Column::Right("runs"),
            Column::Left("error"),
        ]);
        table.row([
            Cell::from("failed").styled(BAD),
            "7".into(),
            "it is\u{1b}[2J much too long to show".into(),
        ]);
        table.row(["completed".into(), "11".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_below_their_headers_and_nothing_is_padded_at_the_end() {
        let shown = without_colors(|out| table().print_within(None, out).unwrap());

        assert_eq!(
            shown,
            "state      runs  error\n\
             failed        7  it is [2J much too long to show\n\
             completed    11\n"
        );
    }

    #[test]
    fn the_last_column_ends_where_the_terminal_does() {
        let shown = without_colors(|out| table().print_within(Some(40), out).unwrap());

        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[1], "failed        7  it is [2J much too lon…");
        assert_eq!(lines[1].chars().count(), 40);
    }

    #[test]
    fn a_state_has_its_colour() {
        let mut out = Vec::new();

        table().print_within(None, &mut out).unwrap();

        let shown = String::from_utf8(out).unwrap();
        assert!(shown.contains("\u{1b}[31mfailed\u{1b}[0m"), "{shown:?}");
    }
}
