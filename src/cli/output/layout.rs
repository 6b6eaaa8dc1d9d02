//! The room that there is for what people are shown.

/// Columns before what stands under a heading.
pub(crate) const SECTION_INDENT: u16 = 2;

/// How much room there is, and how it is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Columns of a line; any number where nobody says.
    pub(super) width: Option<u16>,
    /// Whether a row of a table stays on one line, however long that is.
    pub(super) row_is_line: bool,
    /// Whether tables have a header.
    pub(super) headers: bool,
}

pub(super) fn spaces(columns: u16) -> String {
    " ".repeat(usize::from(columns))
}
