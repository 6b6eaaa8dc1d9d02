//! `docs/errors.md` says the same as the code.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used)]

use onex_registry::protocol::error::ErrorCode;

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
