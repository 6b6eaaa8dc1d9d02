//! An order, made ready.

use super::{
    command::command,
    order::{Language, Order, Source, Via},
};

/// What all parts of a file are made from.
pub(super) struct Task {
    pub(super) language: Language,
    pub(super) via: Via,
    /// Each contract once, in order.
    pub(super) sources: Vec<Source>,
    /// The command that writes the same again. It stands in the text, and in errors about contracts that changed.
    pub(super) command: String,
    /// What the registry's subjects begin with, less the dot.
    pub(super) prefix: String,
}

impl Task {
    pub(super) fn new(order: &Order<'_>, sources: Vec<Source>) -> Self {
        let sources = in_order(sources);
        Self {
            language: order.language,
            via: order.via,
            command: command(order, &sources),
            prefix: order.namespace.prefix(),
            sources,
        }
    }
}

/// Each contract once, by name and version. Of versions with the same contract there is one: the newest.
fn in_order(mut sources: Vec<Source>) -> Vec<Source> {
    sources.sort_by(|one, other| {
        let by = |it: &Source| (it.contract.name.clone(), it.contract_hash.clone());
        let newest_first = || other.contract.version.cmp(&one.contract.version);
        by(one).cmp(&by(other)).then_with(newest_first)
    });
    sources.dedup_by(|one, other| one.contract_hash == other.contract_hash);
    // Stable: contracts of one version stay in the order of their hashes.
    sources.sort_by(|one, other| {
        let by = |it: &Source| (it.contract.name.clone(), it.contract.version.clone());
        by(one).cmp(&by(other))
    });
    sources
}
