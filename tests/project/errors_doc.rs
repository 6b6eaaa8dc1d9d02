//! `docs/errors.md`, and what `docs/protocol.md` has of errors, say the same as the code.

use std::{collections::BTreeSet, fs, path::Path};

use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;

/// The codes that stand in the second argument of `Failure::new` in the sources of the command line.
fn codes_of_the_command_line() -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli")];
    let mut codes = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            let calls = ["Failure::new(", "Self::new("].map(|call| text.split(call).skip(1));
            for arguments in calls.into_iter().flatten() {
                let Some((exit, rest)) = arguments.split_once(',') else {
                    continue;
                };
                let literal = rest.trim_start().strip_prefix('"');
                let code = literal.and_then(|literal| literal.split('"').next());
                let is_exit = ["Exit::", "exit"].map(|word| exit.trim_start().starts_with(word));
                codes.extend(
                    code.filter(|code| is_exit.contains(&true) && !code.is_empty())
                        .map(str::to_owned),
                );
            }
        }
    }
    codes
}

/// Both ways: a code without a row, and a row that no code has.
#[test]
fn the_codes_of_the_command_line_are_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("## What `onex` says itself").unwrap();
    let mut documented = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.split('|').nth(2).unwrap();
        documented.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let of_a_registry: BTreeSet<_> = ErrorCode::ALL
        .iter()
        .map(|code| code.as_str().to_owned())
        .collect();
    let own: BTreeSet<_> = &codes_of_the_command_line() - &of_a_registry;
    assert!(own.contains("NO_SERVER") && own.contains("FILE"), "{own:?}");
    assert_eq!(own, documented);
}

fn listed<'a>(codes: impl Iterator<Item = &'a ErrorCode>) -> String {
    let texts: Vec<String> = codes.map(|code| format!("`{}`", code.as_str())).collect();
    texts.join(", ")
}

#[test]
fn every_code_is_in_the_docs_with_its_number() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for (place, code) in ErrorCode::ALL.iter().enumerate() {
        let retry = if code.retryable() { "yes" } else { "no" };
        let start = format!("| `{}` | {} | {retry} |", code.as_str(), code.number());
        assert!(
            rows.get(place).is_some_and(|row| row.starts_with(&start)),
            "row {place}, in the order of the codes, does not begin with: {start}"
        );
    }
    assert_eq!(rows.len(), ErrorCode::ALL.len(), "a row that no code has");
}

/// Once what every endpoint may answer and what comes with `min_revision`; then what is an endpoint's own.
#[test]
fn the_codes_of_every_endpoint_are_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let at_every = |code: &&ErrorCode| {
        let has_it = |endpoint: &Endpoint| endpoint.errors().contains(code);
        Endpoint::ALL.iter().all(has_it)
    };
    let every: Vec<&ErrorCode> = ErrorCode::ALL.iter().filter(at_every).collect();
    let seeing = [
        ErrorCode::StoreChanged,
        ErrorCode::Stale,
        ErrorCode::StoreUnavailable,
    ];
    let sentence = format!(
        "every endpoint: {}. One that takes `min_revision`: {}.",
        listed(every.iter().copied()),
        listed(seeing.iter())
    );
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains(&sentence),
        "docs/protocol.md lacks: {sentence}"
    );
    let mut rows = 0;
    for endpoint in Endpoint::ALL {
        let errors = endpoint.errors();
        let own = errors
            .iter()
            .filter(|code| !every.contains(code) && !seeing.contains(code));
        let own = listed(own);
        if !own.is_empty() {
            rows += 1;
            let row = format!("| `{}` | {own} |", endpoint.name());
            assert!(
                text.lines().any(|line| line == row),
                "docs/protocol.md lacks: {row}"
            );
        }
    }
    let (_, section) = text.split_once("## Errors by endpoint").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let found = section.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(found.count(), rows, "a row that no endpoint has");
}
