//! The checks of `onex doctor` in `docs/operations.md` are those that it makes.

use onex_registry::registry::check_names;

#[test]
fn every_check_is_in_the_docs_with_what_to_do() {
    let text = include_str!("../../docs/operations.md");
    let (_, section) = text.split_once("\n## Checks\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut documented = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [names, wrong, remedy] = cells[..] else {
            panic!("{row}");
        };
        assert!(!wrong.is_empty() && !remedy.is_empty(), "{row}");
        documented.extend(names.split('`').skip(1).step_by(2));
    }
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(documented), sorted(check_names().collect()));
}
