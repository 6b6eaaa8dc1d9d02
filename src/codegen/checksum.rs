//! The checksum in a file: it says from which contracts that was made, though their texts may have changed since.

use sha2::{Digest as _, Sha256};

use crate::contract::canonical::representative;

use super::{
    header::CHECKSUM_LABEL,
    order::{Order, Source},
    task::Task,
};

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
pub(super) fn of(text: &str, order: &Order<'_>) -> String {
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
