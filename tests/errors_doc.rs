//! `docs/errors.md`, and what `docs/protocol.md` has of errors, say the same as the code.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used)]

use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;

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
    for code in ErrorCode::ALL {
        let retry = if code.retryable() { "yes" } else { "no" };
        let start = format!("| `{}` | {} | {retry} |", code.as_str(), code.number());
        assert!(
            rows.iter().any(|row| row.starts_with(&start)),
            "no row begins with: {start}"
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
    let seeing = [ErrorCode::StoreChanged, ErrorCode::Stale];
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
