//! From contracts to the text of a file, in its language.

use crate::protocol::{bounds::Text, tool::Tool};

use super::{
    finish,
    order::{Language, Source, is_one_of_several},
    python,
    read::{self, Side},
    rust,
    shape::{Model, ToolShape},
    task::Task,
    typescript,
};

impl Task {
    /// The text, with a place for its checksum.
    pub(super) fn text(&self) -> String {
        let model = model(&self.sources);
        match self.language {
            Language::Rust => rust::write(&model, self),
            Language::Python => python::write(&model, self),
            Language::Typescript => typescript::write(&model, self),
        }
    }
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
