//! Clients that `onex codegen` writes: checked by the compilers of each language, and run against tools that live.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use onex_registry::codegen::{Language, Order, Source, Via, generate};
use onex_registry::protocol::{canonical::contract_hash, tool::Tool};
use serde_json::Value;

/// Contracts with all that one can say; each is the input of a tool that answers with its arguments.
fn contracts() -> Vec<Value> {
    let mut all: Vec<Value> = serde_json::from_str(include_str!("tables/contracts.json")).unwrap();
    for tool in &mut all {
        if tool.get("output_schema").is_none() && tool.get("input_schema").is_some() {
            tool["output_schema"] = tool["input_schema"].clone();
        }
    }
    all
}

fn sources() -> Vec<Source> {
    let all = contracts().into_iter().map(|tool| {
        let contract: Tool = serde_json::from_value(tool).unwrap();
        let contract_hash = contract_hash(&contract);
        Source {
            contract,
            contract_hash,
        }
    });
    all.collect()
}

fn written(language: Language, via: Via) -> String {
    generate(&Order {
        language,
        via,
        sources: &sources(),
        command: "onex codegen --tool 'add@^1'",
        prefix: "onex.registry.v1",
    })
}

#[test]
fn dump() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codegen");
    std::fs::create_dir_all(&folder).unwrap();
    for (language, name) in [
        (Language::Typescript, "ts"),
        (Language::Python, "py"),
        (Language::Rust, "rs"),
    ] {
        for (via, way) in [(Via::Registry, "registry"), (Via::Direct, "direct")] {
            std::fs::write(folder.join(format!("{way}.{name}")), written(language, via)).unwrap();
        }
    }
}
