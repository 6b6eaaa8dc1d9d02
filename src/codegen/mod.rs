//! Typed clients from contracts: what `onex codegen` writes. Contracts in, text out; the same text for the same
//! contracts, always.
//!
//! [`read`] turns schemas into shapes that no language has had its say in yet, [`finish`] looks at all of them together,
//! and each language writes them in its own way, behind a part that is the same in every file of that language.

#![allow(
    clippy::format_push_string,
    reason = "text is all that is made here, and `write!` would have a result to drop each time"
)]

mod checksum;
mod command;
mod difference;
mod docs;
mod finish;
mod generate;
mod header;
mod names;
mod order;
mod python;
mod python_alias;
mod python_read;
mod python_writer;
mod read;
mod read_typed;
mod rust;
mod rust_columns;
mod rust_enum;
mod rust_layout;
mod rust_type;
mod rust_writer;
mod schema;
mod shape;
mod task;
mod text;
mod typescript;
mod wire;
mod write;

pub use difference::{Difference, Stored, difference};
pub use generate::{FileStatus, file_status, generate};
pub use order::{Language, Order, Source, Via};
