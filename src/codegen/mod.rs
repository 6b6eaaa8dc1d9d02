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
mod names;
mod python;
mod python_alias;
mod python_read;
mod read;
mod read_typed;
mod rust;
mod rust_columns;
mod rust_enum;
mod rust_layout;
mod rust_type;
mod schema;
mod shape;
mod text;
mod typescript;
mod wire;

use crate::protocol::{bounds::Text, names::Namespace, tool::Tool};

pub use checksum::{FileStatus, file_status};
use difference::GENERATED;
pub use difference::{Difference, Stored, difference};
use read::Side;
use shape::{Model, ToolShape};

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

/// What all parts of a file are made from.
struct Task {
    language: Language,
    via: Via,
    /// Each contract once, in order.
    sources: Vec<Source>,
    /// The command that writes the same again. It stands in the text, and in errors about contracts that changed.
    command: String,
    /// What the registry's subjects begin with, less the dot.
    prefix: String,
}

impl Task {
    fn new(order: &Order<'_>, sources: Vec<Source>) -> Self {
        let sources = in_order(sources);
        Self {
            language: order.language,
            via: order.via,
            command: command::command(order, &sources),
            prefix: order.namespace.prefix(),
            sources,
        }
    }

    /// The text, with a place for its checksum.
    fn text(&self) -> String {
        let model = model(&self.sources);
        match self.language {
            Language::Rust => rust::write(&model, self),
            Language::Python => python::write(&model, self),
            Language::Typescript => typescript::write(&model, self),
        }
    }
}

/// The text of a module with a client for all tools.
pub fn generate(order: &Order<'_>) -> String {
    let text = Task::new(order, order.sources.to_vec()).text();
    checksum::filled_in(&text, order)
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

/// Whether there are several contracts of that tool, which are told apart by their versions.
fn is_one_of_several(sources: &[Source], tool: &Tool) -> bool {
    let same = sources.iter().filter(|it| it.contract.name == tool.name);
    same.count() > 1
}

fn model(sources: &[Source]) -> Model {
    let mut model = Model::default();
    for source in sources {
        let tool = &source.contract;
        let several = is_one_of_several(sources, tool);
        let words = if several {
            format!("{} V{}", tool.name, tool.version)
        } else {
            tool.name.to_string()
        };
        let arguments = read::read(
            &mut model.types,
            &tool.input_schema,
            Side::Arguments,
            &words,
        );
        let result = read::read(&mut model.types, &tool.output_schema, Side::Result, &words);
        model.tools.push(ToolShape {
            name: tool.name.to_string(),
            version: several.then(|| tool.version.to_string()),
            hash: source.contract_hash.clone(),
            words,
            docs: docs_of(tool, several),
            arguments,
            result,
        });
    }
    finish::finish(&mut model);
    model
}

/// What is told of a tool, a paragraph each.
fn docs_of(tool: &Tool, several: bool) -> Vec<String> {
    let mut docs: Vec<String> = Vec::new();
    docs.extend(
        tool.description
            .as_ref()
            .map(|it| Text::as_str(it).to_owned()),
    );
    // Where there is one, the version says nothing: calls go to the newest one with the contract.
    let mut facts = vec![if several {
        format!("Tool `{}` {}.", tool.name, tool.version)
    } else {
        format!("Tool `{}`.", tool.name)
    }];
    if tool.idempotent {
        facts.push("Idempotent.".to_owned());
    }
    let mut list = |what: &str, labels: Vec<String>| {
        if !labels.is_empty() {
            facts.push(format!("{what}: {}.", labels.join(", ")));
        }
    };
    list(
        "Errors",
        tool.error_codes.iter().map(ToString::to_string).collect(),
    );
    list(
        "Side effects",
        tool.side_effects.iter().map(ToString::to_string).collect(),
    );
    docs.push(facts.join(" "));
    docs
}

/// What stands at the top of every file, less the marks of comments.
fn header(model: &Model, task: &Task) -> Vec<String> {
    let mut lines = vec![
        format!("{GENERATED}. Do not edit: write it anew, with"),
        String::new(),
        format!("    {}", text::shown(&task.command)),
        String::new(),
        "From these contracts:".to_owned(),
        String::new(),
    ];
    let tools = model.tools.iter().map(|tool| {
        let version = tool.version.iter().map(|version| format!(" {version}"));
        let version: String = version.collect();
        format!("    {}{version}  {}", tool.name, tool.hash)
    });
    lines.extend(tools);
    lines.extend([String::new(), checksum::CHECKSUM_LABEL.to_owned()]);
    lines
}
