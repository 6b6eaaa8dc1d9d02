//! Whether a file was made from these contracts, though their texts may have changed since.

use sha2::{Digest as _, Sha256};

use crate::protocol::canonical::representative;

use super::{Order, Source, Task, generate};

/// What stands in a text before its checksum is known.
pub(super) const PLACE: &str = "Checksum:";

/// What a file is, beside what would be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The same.
    Same,
    /// Made from the same contracts and not edited since: no more than their versions and texts are others.
    OtherTexts,
    /// Something else.
    Other,
}

/// What a file is that should be as `order` says.
pub fn standing(file: &str, order: &Order<'_>) -> Standing {
    if file == generate(order) {
        return Standing::Same;
    }
    let Some((before, checksum)) = file.split_once(PLACE) else {
        return Standing::Other;
    };
    let (checksum, after) = checksum.split_once('\n').unwrap_or_default();
    let unsealed = format!("{before}{PLACE}\n{after}");
    if checksum.trim() == of(&unsealed, order) {
        Standing::OtherTexts
    } else {
        Standing::Other
    }
}

/// A text with its checksum in its place.
pub(super) fn filled_in(text: &str, order: &Order<'_>) -> String {
    text.replacen(PLACE, &format!("{PLACE} {}", of(text, order)), 1)
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
