//! What comes out: data on stdout, as a table or as one JSON document, and all else on stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ColumnConstraint, ContentArrangement, Row, presets};
use serde::Serialize;

use super::failure::{Exit, Failure};

/// Space between two columns.
const COLUMN_GAP: u16 = 2;

/// How data is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document; errors are JSON too, on stderr.
    Json,
}

/// Where data, notes and errors go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Shows data: `value`, or the tables that `tables` makes of it.
    pub(super) fn show<T: Serialize>(
        self,
        value: &T,
        tables: impl FnOnce(&T) -> Vec<Table>,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(value).map_err(io::Error::from),
            Format::Table => {
                let width = width();
                let shown = tables(value).into_iter().map(|table| table.render(width));
                Ok(shown.collect::<Vec<_>>().join("\n\n"))
            }
        };
        match text.and_then(|text| writeln!(io::stdout(), "{text}")) {
            Ok(()) => Ok(()),
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::new(
                Exit::Failed,
                "OUTPUT",
                format!("cannot write to stdout: {error}"),
            )),
        }
    }

    /// Tells people something that is not data. Programs do not get it.
    pub(super) fn note(self, text: &str) {
        if self.format == Format::Table {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Tells why it was not done.
    pub(super) fn failure(self, failure: &Failure) {
        let text = match self.format {
            Format::Json => format!("{:#}", failure.json()),
            Format::Table => failure.text(),
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// How wide a line may be: `COLUMNS`, else the terminal; any width where no terminal is, so that every
/// item stays on one line for what reads it there.
fn width() -> Option<u16> {
    let told = std::env::var("COLUMNS").ok();
    if let Some(told) = told.and_then(|columns| columns.parse().ok()) {
        return Some(told);
    }
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// Rows under a header, or names with values.
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// Columns under these names.
    pub(super) fn new(header: &[&str]) -> Self {
        let mut this = Self::values();
        this.0.set_header(header.iter().copied());
        this
    }

    /// A column of names and one of values.
    pub(super) fn values() -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        Self(table)
    }

    /// With one more row.
    #[must_use]
    pub(super) fn row(mut self, cells: impl Into<Row>) -> Self {
        self.0.add_row(cells);
        self
    }

    /// With a row for each of `items`.
    #[must_use]
    pub(super) fn rows<T, R: Into<Row>>(
        mut self,
        items: impl IntoIterator<Item = T>,
        row: impl Fn(T) -> R,
    ) -> Self {
        for item in items {
            self.0.add_row(row(item));
        }
        self
    }

    /// A column that is never broken into lines: what stands there is copied.
    #[must_use]
    pub(super) fn whole(mut self, column: usize) -> Self {
        if let Some(column) = self.0.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        self
    }

    fn render(mut self, width: Option<u16>) -> String {
        for column in self.0.column_iter_mut() {
            column.set_padding((0, COLUMN_GAP));
        }
        if let Some(width) = width {
            self.0.set_width(width);
        }
        self.0.trim_fmt()
    }
}

/// A span of time for people, from milliseconds: the two largest units, less what is zero.
pub(super) fn span(millis: u64) -> String {
    if (1..1000).contains(&millis) {
        return format!("{millis}ms");
    }
    let seconds = millis / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (59_999, "59s"),
            (60_000, "1m"),
            (61_000, "1m1s"),
            (3_661_000, "1h1m"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }

    fn table() -> Table {
        let id = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";
        Table::new(&["PORT", "HOST", "LEASE ID"])
            .rows(["build", &"very-long-name.".repeat(6)], |host| {
                ["20000/tcp", host, id].map(str::to_owned)
            })
            .whole(2)
    }

    #[test]
    fn a_narrow_terminal_breaks_lines_but_no_id() {
        let text = table().render(Some(80));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(text.matches("6a1b2c3d4e5f").count(), 2, "{text}");
        assert!(text.starts_with("PORT       HOST  "), "{text}");
    }

    #[test]
    fn without_a_terminal_an_item_is_a_line() {
        assert_eq!(table().render(None).lines().count(), 3);
    }
}
