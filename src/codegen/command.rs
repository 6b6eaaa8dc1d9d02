//! The command that writes a file anew. It follows from the contracts, so that it is the same however they were named.

use super::order::{Language, Order, Source, Via, is_one_of_several};

/// What stands for the file.
const A_FILE: &str = "FILE";

/// As a shell takes it.
pub(super) fn command(order: &Order<'_>, sources: &[Source]) -> String {
    let mut words = vec!["onex".to_owned(), "codegen".to_owned()];
    if let Some(namespace) = order.namespace.name() {
        words.extend(["--namespace".to_owned(), namespace.to_owned()]);
    }
    let language = match order.language {
        Language::Rust => "rust",
        Language::Python => "python",
        Language::Typescript => "typescript",
    };
    words.extend(["--lang".to_owned(), language.to_owned()]);
    if order.via == Via::Direct {
        words.extend(["--via".to_owned(), "direct".to_owned()]);
    }
    for source in sources {
        let tool = &source.contract;
        let wanted = if is_one_of_several(sources, tool) {
            format!("{}@={}", tool.name, tool.version)
        } else {
            tool.name.to_string()
        };
        words.extend(["--tool".to_owned(), wanted]);
    }
    words.extend(["--out".to_owned(), A_FILE.to_owned()]);
    // Tools, namespaces and versions have no character that a shell takes for something else.
    words.join(" ")
}
