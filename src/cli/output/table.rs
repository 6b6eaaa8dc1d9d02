//! Tables for people.

use comfy_table::{ColumnConstraint, ContentArrangement, Width, presets};
use unicode_width::UnicodeWidthStr;

use super::{
    layout::{Layout, SECTION_INDENT, spaces},
    text::{plain, widest_word, wrapped},
};

/// Space between two columns.
const COLUMN_GAP: u16 = 2;

/// Rows under a header, or names with values.
pub(crate) struct Table {
    /// The names of the columns; none where each row is a name and a value.
    header: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
    /// Columns whose cells are never broken into lines.
    whole: Vec<usize>,
}

impl Table {
    /// Columns under these names.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self {
            header: Some(header.iter().map(ToString::to_string).collect()),
            ..Self::values()
        }
    }

    /// A column of names and one of values.
    pub(crate) fn values() -> Self {
        Self {
            header: None,
            rows: Vec::new(),
            whole: Vec::new(),
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
        let cells = cells.map(|cell| plain(cell.as_ref()).into_owned());
        self.rows.push(cells.collect());
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

    /// With a column that is never broken into lines, not even between words.
    #[must_use]
    pub(crate) fn whole(mut self, column: usize) -> Self {
        self.whole.push(column);
        self
    }

    /// In lines of at most `layout.width` columns. Where not even single words fit side by side, each row becomes a list
    /// of names and values: no word is broken to make a column narrower.
    pub(super) fn render(&self, layout: Layout) -> String {
        let Some(header) = &self.header else {
            let pairs = self.rows.iter().filter_map(|row| match row.as_slice() {
                [name, value] => Some((name, value)),
                _ => None,
            });
            return listed(pairs, layout.width);
        };
        let least: Vec<u16> = header
            .iter()
            .enumerate()
            .map(|(column, name)| self.least_width(column, name))
            .collect();
        let gaps = COLUMN_GAP.saturating_mul(self.last_column());
        let needed = least.iter().copied().fold(gaps, u16::saturating_add);
        match layout.width.filter(|_| !layout.row_is_line) {
            Some(width) if needed > width && self.rows.is_empty() => {
                wrapped(&header.join(" "), "", "", width.into()).join("\n")
            }
            Some(width) if needed > width => {
                let rows = self.rows.iter();
                let rows = rows.map(|row| listed(header.iter().zip(row), Some(width)));
                rows.collect::<Vec<_>>().join("\n\n")
            }
            width => self.grid(Some(header).filter(|_| layout.headers), &least, width),
        }
    }

    fn grid(&self, header: Option<&Vec<String>>, least: &[u16], width: Option<u16>) -> String {
        let mut grid = comfy_table::Table::new();
        grid.load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .add_rows(&self.rows);
        if let Some(header) = header {
            grid.set_header(header);
        }
        if let Some(width) = width {
            grid.set_width(width);
        }
        for (number, (column, least)) in (0..).zip(grid.column_iter_mut().zip(least)) {
            let is_last = number == self.last_column();
            let gap = if is_last { 0 } else { COLUMN_GAP };
            column.set_padding((0, gap));
            let least = Width::Fixed(least.saturating_add(gap));
            column.set_constraint(ColumnConstraint::LowerBoundary(least));
        }
        grid.trim_fmt()
    }

    fn last_column(&self) -> u16 {
        let columns = self.header.as_ref().map_or(2, Vec::len);
        u16::try_from(columns.saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// The least width of a column in which no word of it is broken.
    fn least_width(&self, column: usize, name: &str) -> u16 {
        let width = if self.whole.contains(&column) {
            UnicodeWidthStr::width
        } else {
            widest_word
        };
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| width(cell.as_str())).max().unwrap_or(0);
        u16::try_from(widest.max(name.width())).unwrap_or(u16::MAX)
    }
}

/// Names with their values beside them; below them where a word of the value does not fit beside.
fn listed<'a>(
    pairs: impl Iterator<Item = (&'a String, &'a String)> + Clone,
    width: Option<u16>,
) -> String {
    let columns = width.map_or(usize::MAX, usize::from);
    let names = pairs.clone().map(|(name, _)| name.width());
    let beside = names.max().unwrap_or(0) + usize::from(COLUMN_GAP);
    let mut lines = Vec::new();
    for (name, value) in pairs {
        if beside.saturating_add(widest_word(value)) <= columns {
            let first = format!("{name}{}", " ".repeat(beside.saturating_sub(name.width())));
            lines.extend(wrapped(value, &first, &" ".repeat(beside), columns));
        } else {
            lines.push(name.clone());
            let below = spaces(SECTION_INDENT);
            lines.extend(wrapped(value, &below, &below, columns));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";

    fn table() -> Table {
        Table::new(&["PORT", "LEASE ID", "LABELS"]).rows(["blue", "blue, green, red"], |labels| {
            ["20000/tcp", ID, labels]
        })
    }

    fn render(table: &Table, width: Option<u16>) -> String {
        table.render(Layout {
            width,
            row_is_line: false,
            headers: true,
        })
    }

    #[test]
    fn cells_are_broken_between_words_only() {
        let text = render(&table(), Some(56));
        let expected = format!(
            "PORT       LEASE ID                              LABELS\n\
             20000/tcp  {ID}  blue\n\
             20000/tcp  {ID}  blue,\n                                                 green,\n\
             {:49}red",
            ""
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_become_lists_where_words_do_not_fit_side_by_side() {
        let two = format!(
            "PORT      20000/tcp\nLEASE ID  {ID}\nLABELS    blue\n\n\
             PORT      20000/tcp\nLEASE ID  {ID}\nLABELS    blue, green, red"
        );
        assert_eq!(render(&table(), Some(54)), two);
        let below = two.replace(&format!("  {ID}"), &format!("\n  {ID}"));
        assert_eq!(render(&table(), Some(40)), below);
        let values = Table::values().row(["Id", ID]).row(["Note", "one two"]);
        let text = format!("Id\n  {ID}\nNote  one two");
        assert_eq!(render(&values, Some(40)), text);
    }

    #[test]
    fn a_header_without_rows_is_broken_where_it_does_not_fit() {
        let empty = Table::new(&["PORT", "HOST", "LEASE ID"]);
        assert_eq!(render(&empty, Some(20)), "PORT  HOST  LEASE ID");
        assert_eq!(render(&empty, Some(12)), "PORT HOST\nLEASE ID");
    }

    #[test]
    fn a_row_stays_a_line_without_a_terminal_or_when_told_so() {
        assert_eq!(render(&table(), None).lines().count(), 3);
        let layout = Layout {
            width: Some(40),
            row_is_line: true,
            headers: false,
        };
        assert_eq!(table().render(layout).lines().count(), 2);
    }

    #[test]
    fn a_cell_stays_a_cell_and_obeys_nobody() {
        let table = Table::new(&["A", "B"]).row(["x\ny", "\u{1b}[31m"]);
        assert_eq!(render(&table, None), "A    B\nx y  \\u{1b}[31m");
    }
}
