//! JSON that somebody else shaped: arguments and results, byte for byte as they came, and how deep any of it may be.

mod decimal;
mod document;
mod exact;
mod free;
mod limits;
mod text;

pub use decimal::Decimal;
pub use document::{Document, JsonText};
pub use exact::Exact;
pub(super) use free::{exact_value, is_free, nearest_value, violation_in, visit_free};
pub use limits::{JSON_LEVELS_MAX, JSON_NUMBER_CHARS_MAX};
pub use text::{compact, pretty};
