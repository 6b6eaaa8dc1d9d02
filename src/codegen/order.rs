//! What is to be written, and from what.

use crate::protocol::{names::Namespace, tool::Tool};

/// What code is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A module for the edition of 2021 or later.
    Rust,
    /// A module for Python 3.11 or later.
    Python,
    /// A module for strict TypeScript 5 or later.
    Typescript,
}

/// How generated code calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By `tool.invoke`.
    Registry,
    /// By `tool.resolve`, and then the provider itself.
    Direct,
}

/// A contract that code is made from.
#[derive(Debug, Clone)]
pub struct Source {
    /// All of it.
    pub contract: Tool,
    /// What the registry condenses it to.
    pub contract_hash: String,
}

/// What is to be written.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// In what.
    pub language: Language,
    /// How it calls.
    pub via: Via,
    /// From what; in which order and how often each is there makes no difference.
    pub sources: &'a [Source],
    /// Of the registry.
    pub namespace: &'a Namespace,
}

/// Whether there are several contracts of that tool, which are told apart by their versions.
pub(super) fn is_one_of_several(sources: &[Source], tool: &Tool) -> bool {
    let same = sources.iter().filter(|it| it.contract.name == tool.name);
    same.count() > 1
}
