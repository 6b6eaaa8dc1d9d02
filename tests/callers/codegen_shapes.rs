//! Contracts as they occur in practice, `tests/tables/shapes.json`: what servers for agents offer, what is made from
//! descriptions of HTTP interfaces, protocols and formats with schemas of their own. Each language's tools are content
//! with the clients for all of them.

use std::process::Command;

use crate::harness::installed;
use crate::languages::{does, interpreter, mypy, ruff, rustc, tsconfig, written};
use onex_registry::codegen::{Language, Via};
use onex_registry::protocol::json::JsonText;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Of a hundred items in Rust, those that rustfmt may be kept from.
const SKIPPED_PERCENT_MAX: usize = 2;

fn shapes() -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../tables/shapes.json")).unwrap();
    assert!(all.len() >= 60, "{}", all.len());
    all
}

/// A folder with clients for all tools, `registry.py` and `direct.py`.
fn folder(language: Language, ending: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, via) in [("registry", Via::Registry), ("direct", Via::Direct)] {
        let file = folder.path().join(format!("{name}.{ending}"));
        std::fs::write(file, written(language, via, &shapes())).unwrap();
    }
    folder
}

/// Whether rustfmt leaves all texts as they are; each is told by what stands beside it.
#[track_caller]
fn are_formatted(texts: &[(String, String)]) {
    let folder = tempfile::tempdir().unwrap();
    let file = |at: usize| folder.path().join(format!("tools_{at}.rs"));
    for (at, (_, text)) in texts.iter().enumerate() {
        std::fs::write(file(at), text).unwrap();
    }
    let mut rustfmt = Command::new("rustfmt");
    does(
        rustfmt
            .args(["--edition", "2024"])
            .args((0..texts.len()).map(file)),
    );
    for (at, (what, text)) in texts.iter().enumerate() {
        let formatted = std::fs::read_to_string(file(at)).unwrap();
        let lines = text.lines().zip(formatted.lines()).enumerate();
        let differs = lines.filter(|(_, (have, want))| have != want).take(3);
        let differs: Vec<_> = differs.collect();
        assert!(*text == formatted, "{what}: {differs:#?}");
    }
}

/// Beginnings of items, where no indent stands before them.
const ITEMS: [&str; 9] = [
    "pub struct ",
    "pub enum ",
    "pub type ",
    "struct ",
    "impl",
    "fn ",
    "const ",
    "use ",
    "object!",
];

#[test]
fn rustfmt_leaves_generated_rust_unchanged() {
    let mut texts = Vec::new();
    for tool in shapes() {
        let text = written(Language::Rust, Via::Registry, std::slice::from_ref(&tool));
        texts.push((tool["name"].to_string(), text));
    }
    let mut items = 0;
    let mut skipped = 0;
    for via in [Via::Registry, Via::Direct] {
        let text = written(Language::Rust, via, &shapes());
        let begins = |line: &&str| ITEMS.iter().any(|item| line.starts_with(item));
        items += text.lines().filter(begins).count();
        skipped += text.matches("#[rustfmt::skip]").count();
        texts.push((format!("all, {via:?}"), text));
    }
    are_formatted(&texts);
    println!("{skipped} of {items} items are kept from rustfmt");
    assert!(items > 2_000, "{items}");
    assert!(
        skipped * 100 <= items * SKIPPED_PERCENT_MAX,
        "{skipped} of {items}"
    );
}

/// Names and values of every length: wherever rustfmt breaks a line, this does.
#[test]
fn rustfmt_leaves_lines_of_every_length_unchanged() {
    let mut texts = Vec::new();
    for length in 1..=96 {
        let long = "x".repeat(length);
        let wide = "字".repeat(length / 2);
        let pair = |one: &str, other: &str| {
            json!({"type": "array", "prefixItems": [
                {"type": "object", "properties": {one: {"type": "string"}}}, {"$ref": format!("#/$defs/{other}")},
            ], "maxItems": 2})
        };
        let tool = json!({
            "name": format!("t-{long}"), "version": "1.0.0",
            "input_schema": {
                "type": "object", "required": [long, "b", "mixed", wide, "text", format!("X{long}"), format!("X{wide}")],
                "properties": {
                    format!("X{long}"): {"type": "string"}, format!("X{wide}"): {"type": ["string", "null"]},
                    format!("Y{long}"): {"enum": [format!("x{long}"), format!("x{wide}"), "a"]},
                    &long: {"type": "string"}, "b": {"$ref": format!("#/$defs/{long}")}, "text": {"type": "string"},
                    "mixed": {"enum": [1, 0.5, long, format!("{long} {long}"), wide]},
                    "texts": {"enum": ["a", long, wide]}, "pair": pair(&long, &long),
                    "pairs": {"type": "array", "items": pair("a", &long)},
                    "map": {"type": "object", "additionalProperties": {"$ref": format!("#/$defs/{long}")}},
                    &wide: {"type": "array", "items": {"type": ["string", "null"]}},
                    "round": {"$ref": "#/$defs/round"},
                    "either": {"oneOf": [
                        {"type": "object", "required": ["tag"], "properties": {"tag": {"enum": [long, "short"]}}},
                        {"type": "object", "required": ["tag"], "properties": {"tag": {"enum": ["b", "c", "d", "e", "f", wide]}}},
                    ]},
                },
                "$defs": {&long: {"type": "object", "required": ["a"], "additionalProperties": {"type": "number"},
                    "properties": {"a": {"const": long}, &long: {"type": "integer"}}},
                    "round": {"type": "array", "minItems": 2, "items": false, "prefixItems": [
                        {"anyOf": [{"$ref": "#/$defs/round"}, {"type": "null"}]}, {"$ref": format!("#/$defs/{long}")},
                    ]}},
            },
        });
        let text = written(Language::Rust, Via::Registry, &[tool]);
        texts.push((format!("of length {length}"), text));
    }
    are_formatted(&texts);
}

/// Schemas that hold `inner` in tuples of one item and of several, in lists, maps and what may be null.
fn tuples(inner: &Value) -> Vec<Value> {
    let tuple = |items: &[&Value]| json!({"type": "array", "prefixItems": items, "items": false, "minItems": items.len()});
    let or_null = |schema: &Value| json!({"anyOf": [schema, {"type": "null"}]});
    let list = |schema: &Value| json!({"type": "array", "items": schema});
    let map = |schema: &Value| json!({"type": "object", "additionalProperties": schema});
    let text = json!({"type": "string"});
    let one = tuple(&[inner]);
    let two = tuple(&[inner, &text]);
    let mut all = vec![
        tuple(&[&or_null(inner)]),
        tuple(&[&list(inner), &map(inner)]),
    ];
    for tuple in [
        one.clone(),
        two.clone(),
        json!({"type": "array", "items": inner}),
    ] {
        all.extend([
            or_null(&tuple),
            list(&tuple),
            map(&tuple),
            list(&or_null(&map(&tuple))),
            tuple,
        ]);
    }
    all.extend([
        tuple(&[&one]),
        tuple(&[&two]),
        tuple(&[&one, inner]),
        or_null(&tuple(&[&or_null(&one)])),
    ]);
    all.push(json!({"type": "array", "prefixItems": [inner, text], "items": false, "minItems": 1}));
    all
}

/// Types around all widths at which rustfmt breaks a line or gives up, behind members with short names and long ones.
#[test]
fn rustfmt_leaves_tuples_of_every_width_unchanged() {
    let mut texts = Vec::new();
    let (mut items, mut skipped) = (0, 0);
    for length in (20..=92).step_by(2).chain(53..94) {
        let long = "x".repeat(length);
        let inner = json!({"$ref": format!("#/$defs/{long}")});
        let mut properties = serde_json::Map::new();
        for (at, schema) in tuples(&inner).into_iter().enumerate() {
            let more = ["", "-of-some-length", "-of-a-length-that-leaves-little"][at % 3];
            properties.insert(format!("m{at}{more}"), schema.clone());
            properties.insert(format!("o{at}"), schema);
        }
        let required: Vec<&String> = properties.keys().filter(|it| it.starts_with('m')).collect();
        let tool = json!({
            "name": "t", "version": "1.0.0",
            "input_schema": {
                "type": "object", "required": required, "properties": properties,
                "$defs": {&long: {"type": "object", "properties": {"a": {"type": "string"}}}},
            },
            "output_schema": {
                "anyOf": tuples(&inner), "$defs": {
                    &long: {"type": "object", "required": ["b"], "properties": {"b": {"$ref": "#/$defs/alias"}}},
                    "alias": tuples(&inner)[length % 5],
                },
            },
        });
        let text = written(Language::Rust, Via::Registry, &[tool]);
        let begins = |line: &&str| ITEMS.iter().any(|item| line.starts_with(item));
        items += text.lines().filter(begins).count();
        skipped += text.matches("#[rustfmt::skip]").count();
        texts.push((format!("of length {length}"), text));
    }
    are_formatted(&texts);
    println!("{skipped} of {items} items are kept from rustfmt");
    assert!(
        skipped * 100 <= items * SKIPPED_PERCENT_MAX,
        "{skipped} of {items}"
    );
}

#[test]
fn rustc_takes_all_shapes() {
    let folder = folder(Language::Rust, "rs");
    let check = ["--crate-type", "lib", "--emit", "metadata"];
    for via in ["registry.rs", "direct.rs"] {
        does(rustc(&folder.path().join(via)).args(check));
    }
}

#[test]
fn mypy_and_ruff_take_all_shapes() {
    let folder = folder(Language::Python, "py");
    let files = ["registry.py", "direct.py"];
    does(mypy(folder.path()).args(files));
    does(ruff().args(files).current_dir(folder.path()));
    // Rules that were the default once, and projects for the newest Python alone.
    for more in ["--select=E4,E7,E9,F", "--target-version=py314"] {
        does(ruff().arg(more).args(files).current_dir(folder.path()));
    }
}

/// Each alone, for what one of them needs others may have needed as well.
#[test]
fn ruff_takes_each_shape() {
    let folder = tempfile::tempdir().unwrap();
    for (n, tool) in shapes().iter().enumerate() {
        for via in [Via::Registry, Via::Direct] {
            let file = folder
                .path()
                .join(format!("tools_{n}_{via:?}.py").to_lowercase());
            let text = written(Language::Python, via, std::slice::from_ref(tool));
            std::fs::write(file, text).unwrap();
        }
    }
    does(ruff().arg(".").current_dir(folder.path()));
}

const HINTS: &str = "
import dataclasses, json, sys, typing, registry, direct
for module in (registry, direct):
    made = [it for it in vars(module).values() if dataclasses.is_dataclass(it) and it.__module__ == module.__name__]
    assert len(made) > 200, len(made)
    for it in made:
        hints = typing.get_type_hints(it)
        assert set(hints) == {field.name for field in dataclasses.fields(it)}, it
hints = typing.get_type_hints(registry.SnowflakeIdsArguments)
assert hints['sentinel'] is int, hints
assert registry.SnowflakeIdsArguments(after=1).sentinel == 2**64 - 1
assert hints['least'] is int, hints
assert registry.SnowflakeIdsArguments(after=1).least == -(2**63)
assert hints['moles'] is float, hints
assert json.dumps(registry.SnowflakeIdsArguments(after=1).moles) == '6.02214076e+23'
assert hints['far'] == float | None, hints
assert hints['mask'] == typing.Literal[9007199254740993, -(2**63), 2**63 - 1] | None, hints
assert hints['limit'] == typing.Literal[10, 100, -1] | int | None, hints
";

#[test]
fn get_type_hints_works_on_every_dataclass() {
    let folder = folder(Language::Python, "py");
    does(interpreter().args(["-c", HINTS]).current_dir(folder.path()));
}

#[test]
fn tsc_takes_all_shapes() {
    let folder = folder(Language::Typescript, "ts");
    let path = folder.path();
    let modules = installed("nats-js/node_modules");
    std::os::unix::fs::symlink(modules, path.join("node_modules")).unwrap();
    std::fs::write(path.join("package.json"), r#"{"type": "module"}"#).unwrap();
    let config = tsconfig(&["registry.ts", "direct.ts"]);
    std::fs::write(path.join("tsconfig.json"), config.to_string()).unwrap();
    let mut tsc = Command::new(installed("typescript/node_modules/.bin/tsc"));
    does(tsc.args(["--project", ".", "--noEmit"]).current_dir(path));
}

/// Numbers around which JavaScript begins to round.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "0.1",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9007199254740994",
    "100000000000000000",
    "100000000000000001",
    "1152921504606846976",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "6.02214076e+23",
];

/// A literal type is one that a program can have: what JavaScript writes of it is what the contract says.
#[test]
fn typescript_has_literals_for_numbers_that_javascript_can_send() {
    let program = format!("console.log(JSON.stringify([{}]))", NUMBERS.join(", "));
    let node = Command::new("node")
        .args(["-e", &program])
        .output()
        .unwrap();
    let sent: Vec<JsonText> = serde_json::from_slice(&node.stdout).unwrap();
    let mut kept = 0;
    for (number, sent) in NUMBERS.iter().zip(sent) {
        let schema: Value = serde_json::from_str(&format!(r#"{{"const": {number}}}"#)).unwrap();
        let exact = sent.text() == *number;
        let tool = json!({"name": "t", "version": "1.0.0", "input_schema": {
            "type": "object", "required": ["one"], "properties": {
                "one": schema, "maybe": {"anyOf": [schema, {"type": "null"}]},
                "list": {"type": "array", "items": schema}, "some": {"enum": ["a", 7, schema["const"]]},
            },
        }});
        let text = written(Language::Typescript, Via::Registry, &[tool]);
        let told = format!("No number of JavaScript is exactly `{number}`");
        let lines = if exact {
            kept += 1;
            assert!(!text.contains("JavaScript"), "{text}");
            [
                format!("  one: {number};"),
                format!("  maybe?: {number} | null;"),
                format!("  list?: {number}[];"),
                format!("export type TArgumentsSome = \"a\" | 7 | {number};"),
            ]
        } else {
            let told = text.replace("\n * ", " ").matches(&told).count();
            assert_eq!(told, 4, "{text}");
            [
                "export type TArgumentsOne = number;".to_owned(),
                "  maybe?: TArgumentsMaybeOption1 | null;".to_owned(),
                "  list?: TArgumentsListItem[];".to_owned(),
                "export type TArgumentsSome = \"a\" | 7 | number;".to_owned(),
            ]
        };
        for line in lines {
            assert!(text.contains(&line), "{number}: no {line:?} in\n{text}");
        }
    }
    assert_eq!(kept, 8);
}
