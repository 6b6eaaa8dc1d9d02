//! Tables for people.

use comfy_table::{ColumnConstraint, ContentArrangement, presets};

use super::{Detail, text::plain};

/// Space between two columns.
const COLUMN_GAP: u16 = 2;

/// Rows under a header, or names with values.
pub(crate) struct Table {
    cells: comfy_table::Table,
    has_header: bool,
}

impl Table {
    /// Columns under these names.
    pub(crate) fn new(header: &[&str]) -> Self {
        let Self { mut cells, .. } = Self::values();
        cells.set_header(header.iter().copied());
        Self {
            cells,
            has_header: true,
        }
    }

    /// A column of names and one of values.
    pub(crate) fn values() -> Self {
        let mut cells = comfy_table::Table::new();
        cells
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        Self {
            cells,
            has_header: false,
        }
    }

    /// With one more row.
    #[must_use]
    pub(crate) fn row<I>(mut self, cells: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let cells = cells.into_iter();
        self.cells
            .add_row(cells.map(|cell| plain(cell.as_ref()).into_owned()));
        self
    }

    /// With a row for each of `items`.
    #[must_use]
    pub(crate) fn rows<T, R>(self, items: impl IntoIterator<Item = T>, row: impl Fn(T) -> R) -> Self
    where
        R: IntoIterator,
        R::Item: AsRef<str>,
    {
        items
            .into_iter()
            .fold(self, |table, item| table.row(row(item)))
    }

    /// A column that is never broken into lines: what stands there is copied.
    #[must_use]
    pub(crate) fn whole(mut self, column: usize) -> Self {
        if let Some(column) = self.cells.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        self
    }

    /// In lines of at most `width`; with all that there is, a row is a line however long it is: many columns in
    /// little room cannot be read.
    pub(super) fn render(mut self, width: Option<u16>, detail: Detail) -> String {
        let width = width.filter(|_| !(self.has_header && detail.is_wide()));
        let last = self.cells.column_count().saturating_sub(1);
        for (number, column) in self.cells.column_iter_mut().enumerate() {
            column.set_padding((0, if number == last { 0 } else { COLUMN_GAP }));
        }
        if let Some(width) = width {
            self.cells.set_width(width);
        }
        self.cells.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = table().render(Some(80), Detail::Short);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(text.matches("6a1b2c3d4e5f").count(), 2, "{text}");
        assert!(text.starts_with("PORT       HOST  "), "{text}");
    }

    #[test]
    fn without_a_terminal_an_item_is_a_line() {
        assert_eq!(table().render(None, Detail::Short).lines().count(), 3);
        assert_eq!(table().render(Some(80), Detail::Wide).lines().count(), 3);
    }

    #[test]
    fn a_cell_stays_a_cell_and_obeys_nobody() {
        let table = Table::new(&["A", "B"]).row(["x\ny", "\u{1b}[31m"]);
        assert_eq!(
            table.render(None, Detail::Short),
            "A    B\nx y  \\u{1b}[31m"
        );
    }
}
