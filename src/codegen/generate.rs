//! The text of a module, and whether a file has it: its texts may have changed since it was made from these contracts.

use super::{checksum, header::CHECKSUM_LABEL, order::Order, task::Task};

/// The text of a module with a client for all tools.
pub fn generate(order: &Order<'_>) -> String {
    let text = Task::new(order, order.sources.to_vec()).text();
    checksum::filled_in(&text, order)
}

/// How a file compares with what would be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// The same.
    UpToDate,
    /// Made from the same contracts and not edited since: only versions and descriptive texts differ.
    TextsDiffer,
    /// Made from other contracts, or edited.
    Differs,
}

/// Compares a file with what `order` would generate.
pub fn file_status(file: &str, order: &Order<'_>) -> FileStatus {
    if file == generate(order) {
        return FileStatus::UpToDate;
    }
    let Some((before, checksum)) = file.split_once(CHECKSUM_LABEL) else {
        return FileStatus::Differs;
    };
    let (checksum, after) = checksum.split_once('\n').unwrap_or_default();
    let unsealed = format!("{before}{CHECKSUM_LABEL}\n{after}");
    if checksum.trim() == checksum::of(&unsealed, order) {
        FileStatus::TextsDiffer
    } else {
        FileStatus::Differs
    }
}
