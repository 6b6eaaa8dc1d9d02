//! The columns of Rust, as rustfmt counts them by default.

/// Columns of code.
pub(super) const WIDTH: usize = 100;
/// Columns by which what is inside is indented.
pub(super) const STEP: usize = 4;

pub(super) fn pad(indent: usize) -> String {
    " ".repeat(indent)
}
