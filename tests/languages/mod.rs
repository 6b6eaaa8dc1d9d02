//! Generated clients, and what their languages say of them.

#![allow(dead_code, reason = "each test file uses a part of it")]
// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;

use onex_registry::codegen::{Language, Order, Source, Via, generate};
use onex_registry::{
    contract::canonical::contract_hash,
    protocol::{names::Namespace, tool::Tool},
};
use serde_json::{Value, json};

use super::harness::{installed, root};

/// What came of a program: whether it was content, and what it said.
pub(crate) fn ran(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[track_caller]
pub(crate) fn does(command: &mut Command) {
    let (good, said) = ran(command);
    assert!(good, "{command:?}:\n{said}");
}

/// A client for these tools.
pub(crate) fn written(language: Language, via: Via, tools: &[Value]) -> String {
    let sources: Vec<Source> = tools
        .iter()
        .map(|tool| {
            let contract: Tool = serde_json::from_value(tool.clone()).unwrap();
            let contract_hash = contract_hash(&contract);
            Source {
                contract,
                contract_hash,
            }
        })
        .collect();
    generate(&Order {
        language,
        via,
        sources: &sources,
        namespace: &Namespace::default(),
    })
}

/// A Python that finds nats-py.
pub(crate) fn interpreter() -> Command {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    let path = std::env::join_paths([installed("nats-py"), installed("mypy")]).unwrap();
    command
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Checks types in a folder; the files are to be added.
pub(crate) fn mypy(here: &Path) -> Command {
    let mut command = interpreter();
    command.args(["-m", "mypy", "--strict", "--cache-dir"]);
    command.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("mypy"));
    command.current_dir(here);
    command
}

/// By the default rules; the files are to be added.
pub(crate) fn ruff() -> Command {
    let mut command = Command::new(installed("ruff/bin/ruff"));
    command.args(["check", "--isolated", "--no-cache"]);
    command
}

/// The strictest configuration.
pub(crate) fn tsconfig(files: &[&str]) -> Value {
    let types = installed("typescript/node_modules/@types");
    json!({
        "compilerOptions": {
            "strict": true, "target": "es2022", "module": "nodenext", "types": ["node"], "typeRoots": [types],
            "noUncheckedIndexedAccess": true, "exactOptionalPropertyTypes": true, "noUnusedLocals": true,
            "noPropertyAccessFromIndexSignature": true, "noUnusedParameters": true, "noImplicitReturns": true,
            "verbatimModuleSyntax": true, "isolatedModules": true, "erasableSyntaxOnly": true,
            // Those of others.
            "skipLibCheck": true,
        },
        "files": files,
    })
}

/// Compiles a file against the libraries of this test.
pub(crate) fn rustc(file: &Path) -> Command {
    let mut command = Command::new("rustc");
    command.args(["--edition", "2024", "-D", "warnings", "-C", "debuginfo=0"]);
    for (name, file) in libraries() {
        let folder = file.parent().unwrap().display();
        command.arg("-L").arg(format!("dependency={folder}"));
        command
            .arg("--extern")
            .arg(format!("{name}={}", file.display()));
    }
    command.arg(file).current_dir(file.parent().unwrap());
    command
}

/// The libraries that this test was built with: the name of each, and its file.
fn libraries() -> Vec<(String, PathBuf)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "test",
        "--no-run",
        "--locked",
        "--offline",
        "--test",
        env!("CARGO_CRATE_NAME"),
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command
        .args(["--message-format", "json"])
        .current_dir(root());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let wanted = ["onex_client", "serde", "serde_json", "async_nats", "tokio"];
        let files = message["filenames"].as_array().into_iter().flatten();
        let mut files = files.filter_map(Value::as_str).map(PathBuf::from);
        let library = files.find(|file| file.extension().is_some_and(|of| of == "rlib"));
        if let Some(library) = library.filter(|_| wanted.contains(&name)) {
            found.push((name.to_owned(), library));
        }
    }
    assert_eq!(found.len(), 5, "{found:?}");
    found
}
