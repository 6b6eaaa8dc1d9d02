//! Whether a file was made from these contracts, though their texts may have changed since.

use sha2::{Digest as _, Sha256};

use crate::protocol::canonical::representative;

use super::{Order, Source, Task, generate};

/// Stands before the checksum in a generated file, or alone before the checksum is known.
pub(super) const CHECKSUM_LABEL: &str = "Checksum:";

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
    if checksum.trim() == of(&unsealed, order) {
        FileStatus::TextsDiffer
    } else {
        FileStatus::Differs
    }
}

/// A text with its checksum in its place.
pub(super) fn filled_in(text: &str, order: &Order<'_>) -> String {
    text.replacen(
        CHECKSUM_LABEL,
        &format!("{CHECKSUM_LABEL} {}", of(text, order)),
        1,
    )
}

/// Over the text, and over what the contracts give without what nobody relies on: the same text has another checksum when
/// they promise something else.
fn of(text: &str, order: &Order<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(Task::new(order, representatives(order.sources)).text());
    hash.update(text);
    format!("{:x}", hash.finalize())
}

fn representatives(sources: &[Source]) -> Vec<Source> {
    let sources = sources.iter().map(|source| Source {
        // One that cannot be written in one way stands for itself.
        contract: representative(&source.contract).unwrap_or_else(|_| source.contract.clone()),
        contract_hash: source.contract_hash.clone(),
    });
    sources.collect()
}
