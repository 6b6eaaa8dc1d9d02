//! JSON Schemas that strangers wrote, and values checked against them in bounded time.

use jsonschema::{Draft, PatternOptions};
use onex_protocol::{
    error::Error,
    pointer::parent_and_name,
    violation::{VIOLATIONS_MAX, Violation, shortened},
};
use serde_json::Value;

use crate::{
    cost::{self, Of},
    dialect,
    ecma::Engine,
    exact::{self, Documents},
    pattern, report,
    schema_graph::{Graph, PATTERN},
    unique,
};

pub use super::{
    cost::VALIDATION_DEPTH_MAX,
    exact::Node,
    pattern::{PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX, PATTERN_RETRIES_MAX},
    schema_graph::{SCHEMA_CHAIN_MAX, SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SCHEMA_PATTERNS_MAX},
};

/// Bytes of a schema, at most, white space not counted.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Steps that checking one value may take, and as many for finding out what is wrong with it. A step is a schema that
/// looks at a value, or as much work as that takes. All of them take a fraction of a second, and no await can be
/// within.
pub const VALIDATION_STEPS_MAX: u64 = 250_000;
/// As how many steps one counts in a value that has numbers of more digits than 64 bits keep, which are compared as texts:
/// measured with numbers as long as any.
const LONG_NUMBER_STEPS: u64 = 8;
/// Steps up to which a value is checked in some milliseconds.
pub const VALIDATION_STEPS_LIGHT: u64 = 10_000;
/// Steps up to which a value is checked in less than a millisecond.
pub const VALIDATION_STEPS_QUICK: u64 = 1_000;

/// What the keyword `type` may say.
const TYPES: &str = "\"array\", \"boolean\", \"integer\", \"null\", \"number\", \"object\", \"string\", or a \
    list of different ones of these";

/// How long a check may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Some milliseconds.
    Light,
    /// A fraction of a second.
    Heavy,
}

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct Validator {
    compiled: jsonschema::Validator<Documents>,
    graph: Graph,
}

impl Validator {
    /// Checks and compiles JSON Schema 2020-12, or an older one that means the same. It must not refer to other
    /// documents, not go round in circles, and stay within the bounds; errors point into the schema.
    pub fn compile(schema: &Value) -> Result<Self, Error> {
        if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
            return Err(Error::invalid(
                "",
                "must be a schema: an object, true or false",
            ));
        }
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            let message = format!("must be at most {SCHEMA_BYTES_MAX} bytes");
            return Err(Error::invalid("", message));
        }
        dialect::check(schema)?;
        let mut graph = Graph::of(schema)?;
        let engine = pattern::settle(&mut graph.patterns)?;
        let mut plain = schema.clone();
        if let Some(members) = plain.as_object_mut() {
            // It is read as 2020-12, whatever it names.
            members.remove("$schema");
        }
        let mut written = plain.clone();
        for pattern in graph.patterns.iter().rev() {
            // From the innermost on: what leads to it has its own name still.
            rewrite(&mut written, &pattern.pointer, &pattern.written);
        }
        match build(&written, engine) {
            Ok(compiled) => Ok(Self { compiled, graph }),
            Err(error) => Err(refused(&plain, &graph, engine, &error)),
        }
    }

    /// How many regular expressions it holds.
    pub fn patterns(&self) -> usize {
        self.graph.patterns.len()
    }

    /// Whether checking the value, and telling what is wrong with it, takes at most so many steps. Finding that out takes
    /// no longer than as many.
    pub fn takes_at_most<'a>(&self, steps: u64, whole: impl Into<Node<'a>>) -> bool {
        let whole = whole.into();
        let steps = steps_for(whole, steps);
        let [deciding, telling] = [Of::Deciding, Of::Telling]
            .map(|of| cost::steps(&self.graph, whole.value(), of, steps));
        let all = deciding.zip(telling);
        all.is_some_and(|(deciding, telling)| deciding + telling <= steps)
    }

    /// What is wrong with a value: the first 64 things. None: it is as the schema says.
    pub fn violations<'a>(&self, whole: impl Into<Node<'a>>) -> Vec<Violation> {
        let value = whole.into();
        let steps = steps_for(value, VALIDATION_STEPS_MAX);
        let within = |of| cost::steps(&self.graph, value.value(), of, steps).is_some();
        let whole = |message: &str| {
            vec![Violation {
                pointer: String::new(),
                message: message.to_owned(),
            }]
        };
        if !within(Of::Deciding) {
            return whole("is too large or too deep for its schema to be checked");
        }
        if self.compiled.is_valid(value) {
            return Vec::new();
        }
        if !within(Of::Telling) {
            return whole("is not as its schema says, and too large for it to be said where");
        }
        let mut violations = Vec::new();
        for error in self.compiled.iter_errors(value).take(VIOLATIONS_MAX) {
            report::report(&error, value, &self.graph.patterns, &mut violations);
        }
        violations
    }
}

/// Steps that a value may take where others may take `steps`: fewer if it has numbers that take longer to look at.
fn steps_for(value: Node<'_>, steps: u64) -> u64 {
    if value.has_long_numbers() {
        steps / LONG_NUMBER_STEPS
    } else {
        steps
    }
}

/// Puts a regular expression, as its engine reads it, in the place of the one at `pointer`.
fn rewrite(schema: &mut Value, pointer: &str, written: &str) {
    let Some((parent, name)) = parent_and_name(pointer) else {
        return;
    };
    match schema.pointer_mut(parent) {
        // The name of the keyword stands there, or a name below `patternProperties`.
        Some(Value::Object(members))
            if name == PATTERN && members.get(PATTERN).is_some_and(Value::is_string) =>
        {
            members.insert(PATTERN.to_owned(), written.into());
        }
        Some(Value::Object(members)) => {
            if let Some(schema) = members.remove(&name) {
                members.insert(written.to_owned(), schema);
            }
        }
        _ => {}
    }
}

/// Why a schema could not be compiled, pointing into it as it was before its expressions were written anew.
fn refused(
    plain: &Value,
    graph: &Graph,
    engine: Engine,
    error: &jsonschema::ValidationError<'_>,
) -> Error {
    if let Err(error) = jsonschema::draft202012::meta::validate(plain) {
        let pointer = error.instance_path().to_string();
        let message = if pointer.ends_with("/type") {
            TYPES.to_owned()
        } else {
            shortened(&error.to_string())
        };
        return Error::invalid(pointer, format!("must be JSON Schema 2020-12: {message}"));
    }
    pattern::fault(&graph.patterns, engine).unwrap_or_else(|| {
        let message = shortened(&error.to_string());
        Error::invalid("", format!("must be JSON Schema 2020-12: {message}"))
    })
}

fn build(
    schema: &Value,
    engine: Engine,
) -> Result<jsonschema::Validator<Documents>, jsonschema::ValidationError<'static>> {
    let options = exact::with_exact_numbers(jsonschema::options_for())
        .with_draft(Draft::Draft202012)
        .offline()
        .with_keyword(unique::UNIQUE_ITEMS, unique::factory);
    let options = match engine {
        Engine::Linear => options.with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_COMPILED_BYTES_MAX)
                .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX),
        ),
        Engine::Backtracking => options.with_pattern_options(
            PatternOptions::fancy_regex()
                .backtrack_limit(PATTERN_RETRIES_MAX)
                .size_limit(PATTERN_COMPILED_BYTES_MAX)
                .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX),
        ),
    };
    options.build(schema)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use onex_protocol::violation::VIOLATION_CHARS_MAX;
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn check(schema: Value, refused_at: Option<&str>) {
        let result = Validator::compile(&schema);
        let pointer = result
            .as_ref()
            .err()
            .map(|error| error.details["pointer"].as_str().unwrap());
        assert_eq!(pointer, refused_at, "{:?}", result.as_ref().err());
    }

    fn nested(depth: usize) -> Value {
        (1..depth).fold(json!({}), |schema, _| json!({"items": schema}))
    }

    fn chain(length: usize) -> Value {
        let defs: serde_json::Map<String, Value> = (1..length)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/{}", at + 1)});
                let last = at + 1 == length;
                (
                    at.to_string(),
                    if last {
                        json!({"type": "object"})
                    } else {
                        next
                    },
                )
            })
            .collect();
        json!({"$defs": defs, "$ref": "#/$defs/1"})
    }

    #[test]
    fn good_schemas_are_taken() {
        check(json!(true), None);
        check(json!({}), None);
        check(
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a"}),
            None,
        );
        check(
            json!({"$id": "https://json-schema.org/draft/2020-12/schema", "type": "object"}),
            None,
        );
        check(
            json!({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}}),
            None,
        );
        check(
            json!({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}),
            None,
        );
        check(
            json!({"$ref": "#/definitions/x", "definitions": {"x": true}}),
            None,
        );
        // It stays itself, whatever it is called.
        for id in [
            "https://json-schema.org/draft/2020-12/schema",
            "add.json",
            "urn:x:y",
            "/a/b",
        ] {
            let schema = json!({
                "$id": id, "items": {"$ref": "#/$defs/own"}, "$defs": {"own": {"type": "null"}},
            });
            violates(schema.clone(), json!([null]), &[]);
            violates(schema, json!([1]), &["/0"]);
        }
        check(
            json!({"items": {"$ref": "#it"}, "$defs": {"x": {"$anchor": "it"}}}),
            None,
        );
        check(json!({"properties": {"child": {"$ref": "#"}}}), None);
        check(
            json!({"$dynamicAnchor": "t", "items": {"$dynamicRef": "#t"}}),
            None,
        );
        check(
            json!({"properties": {"$ref": {"type": "string"}, "$id": {}, "pattern": {}}}),
            None,
        );
        check(
            json!({"enum": [{"$ref": "http://x"}], "default": {"$id": 1}, "x-own": {"pattern": "("}}),
            None,
        );
        check(
            json!({"pattern": r"^\d{3}-[a-z]+\w$", "patternProperties": {"^x-": {}}}),
            None,
        );
        check(nested(SCHEMA_DEPTH_MAX), None);
        check(chain(SCHEMA_CHAIN_MAX), None);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        check(json!("x"), Some(""));
        check(json!(null), Some(""));
        check(json!({"type": "objekt"}), Some("/type"));
        check(
            json!({"properties": {"a": {"minimum": "1"}}}),
            Some("/properties/a/minimum"),
        );
        check(json!({"properties": {"a": 1}}), Some("/properties/a"));
        check(json!({"items": [{}]}), Some("/items"));
        check(
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            Some("/$schema"),
        );
        check(json!({"additionalItems": false}), Some("/additionalItems"));
        check(
            json!({"dependencies": {"a": {"$ref": "#"}}}),
            Some("/dependencies"),
        );
    }

    #[test]
    fn other_documents_are_out_of_reach() {
        check(json!({"$ref": "http://169.254.169.254/"}), Some("/$ref"));
        check(json!({"$ref": "file:///etc/passwd"}), Some("/$ref"));
        check(json!({"$ref": "other.json#/x"}), Some("/$ref"));
        check(json!({"$ref": ""}), Some("/$ref"));
        check(json!({"$ref": 5}), Some("/$ref"));
        check(
            json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
            Some("/$ref"),
        );
        check(
            json!({"items": {"$dynamicRef": "http://x/"}}),
            Some("/items/$dynamicRef"),
        );
        check(
            json!({"items": {"$recursiveRef": "#"}}),
            Some("/items/$recursiveRef"),
        );
        check(
            json!({"properties": {"a/b": {"$id": "http://x/"}}}),
            Some("/properties/a~1b/$id"),
        );
        check(
            json!({"$ref": "#/$defs/b", "$defs": {"a": {}}}),
            Some("/$ref"),
        );
        check(json!({"$ref": "#nowhere"}), Some("/$ref"));
        check(json!({"$ref": "#/enum/0", "enum": [{}]}), Some("/$ref"));
        check(
            json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}),
            Some("/$defs/b/$anchor"),
        );
    }

    #[test]
    fn circles_are_refused() {
        check(json!({"$ref": "#"}), Some(""));
        check(
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}),
            Some("/$defs/a"),
        );
        check(json!({"not": {"$dynamicRef": "#"}}), Some(""));
        check(
            json!({"items": {"anyOf": [{"$ref": "#/items"}]}}),
            Some("/items"),
        );
    }

    #[test]
    fn bounds_hold() {
        check(
            nested(SCHEMA_DEPTH_MAX + 1),
            Some(&"/items".repeat(SCHEMA_DEPTH_MAX)),
        );
        check(chain(SCHEMA_CHAIN_MAX + 1), Some("/$defs/32"));
        check(
            json!({"description": "x".repeat(SCHEMA_BYTES_MAX)}),
            Some(""),
        );
        check(
            json!({"allOf": vec![json!({}); SCHEMA_NODES_MAX]}),
            Some(&format!("/allOf/{}", SCHEMA_NODES_MAX - 1)),
        );
        check(
            json!({"allOf": vec![json!({"pattern": "x"}); SCHEMA_PATTERNS_MAX + 1]}),
            Some(&format!("/allOf/{SCHEMA_PATTERNS_MAX}/pattern")),
        );
        check(
            json!({"pattern": "x".repeat(PATTERN_BYTES_MAX + 1)}),
            Some("/pattern"),
        );
    }

    #[test]
    fn patterns_are_bounded() {
        check(json!({"pattern": "(a{1000}){1000}"}), Some("/pattern"));
        check(json!({"pattern": r"^\p{L}{100}$"}), Some("/pattern"));
        check(json!({"pattern": r"^\p{L}+$"}), None);
        check(json!({"pattern": "(?=a)b"}), None);
        check(json!({"pattern": "(?<!a)b"}), None);
        check(json!({"pattern": r"(a)\1"}), Some("/pattern"));
        check(json!({"pattern": "("}), Some("/pattern"));
        check(
            json!({"patternProperties": {"a/(": {}}}),
            Some("/patternProperties/a~1("),
        );
        check(
            json!({"properties": {"a": {"pattern": r"\p{L}{1000}"}}}),
            Some("/properties/a/pattern"),
        );
    }

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn violates(schema: Value, value: Value, pointers: &[&str]) {
        let violations = Validator::compile(&schema).unwrap().violations(&value);
        let found: Vec<&str> = violations.iter().map(|one| one.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{violations:?}");
    }

    #[test]
    fn violations_say_where() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b/c": {"items": {"maxLength": 2}}},
        });
        violates(schema.clone(), json!({"a": 1, "b/c": ["xy"]}), &[]);
        violates(schema.clone(), json!({}), &[""]);
        violates(schema.clone(), json!({"a": "1"}), &["/a"]);
        violates(
            schema.clone(),
            json!({"a": 1, "b/c": ["", "xyz"]}),
            &["/b~1c/1"],
        );
        violates(schema.clone(), json!({"a": 1, "z": 1}), &["/z"]);
        let many = json!(vec!["x"; 100]);
        let validator = Validator::compile(&json!({"items": {"type": "null"}})).unwrap();
        assert_eq!(validator.violations(&many).len(), VIOLATIONS_MAX);
        let long = json!("x".repeat(10_000));
        let validator = Validator::compile(&json!({"type": "null"})).unwrap();
        let message = &validator.violations(&long)[0].message;
        assert!(message.chars().count() <= VIOLATION_CHARS_MAX + 1);
    }

    /// `{"x": {"x": …}}` with `inner` inside.
    fn deep(depth: usize, inner: Value) -> Value {
        (0..depth).fold(inner, |value, _| json!({"x": value}))
    }

    #[test]
    fn no_schema_takes_for_ever() {
        let begun = Instant::now();
        // Each of 15 definitions asks for the next one twice.
        let defs: serde_json::Map<String, Value> = (0..15)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
                (format!("d{at}"), json!({"allOf": [next, next]}))
            })
            .chain([("d15".to_owned(), json!({"type": "null"}))])
            .collect();
        let flat = json!({"items": {"$ref": "#/$defs/d0"}, "$defs": defs});
        // Twice as much with every level of the value.
        let branch = json!({"properties": {"x": {"$ref": "#"}}});
        let wide = json!({"anyOf": [branch, branch], "properties": {"y": {"type": "null"}}});
        let seen = (0..15).fold(
            json!({}),
            |schema, _| json!({"allOf": [schema], "unevaluatedProperties": true}),
        );
        let seen = json!({"additionalProperties": {"allOf": [seen.clone(), {"properties": {"x": {"$ref": "#"}}}], "unevaluatedProperties": false}});
        for (schema, value) in [
            (flat, json!(vec!["x"; 100])),
            (wide, deep(100, json!({"y": 1}))),
            (seen, deep(60, json!({"y": 1}))),
        ] {
            let violations = Validator::compile(&schema).unwrap().violations(&value);
            assert_eq!(violations.len(), 1, "{violations:?}");
            assert!(
                violations[0].message.contains("too large"),
                "{violations:?}"
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_tree_may_be_as_deep_as_json_is_read() {
        let tree = json!({
            "properties": {"x": {"$ref": "#"}, "y": {"$ref": "#"}},
            "additionalProperties": false,
        });
        violates(tree.clone(), deep(120, json!({"y": {}})), &[]);
        violates(
            tree,
            deep(120, json!({"z": {}})),
            &[&("/x".repeat(120) + "/z")],
        );
        let tree =
            json!({"properties": {"x": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}});
        violates(tree, deep(120, json!({"z": {}})), &[]);
    }

    #[test]
    fn the_deepest_fits_a_stack() {
        // Half of what a thread of the runtime has.
        let run = || {
            let length = SCHEMA_CHAIN_MAX;
            let mut schema = chain(length - 1);
            let last = format!("{}", length - 2);
            schema["$defs"][last] = json!({"properties": {"x": {"$ref": "#"}}, "required": ["y"]});
            let validator = Validator::compile(&schema).unwrap();
            let levels = VALIDATION_DEPTH_MAX / length - 1;
            assert!(
                !validator.violations(&deep(levels, json!({})))[0]
                    .message
                    .contains("too deep")
            );
            assert!(
                validator.violations(&deep(levels + 2, json!({})))[0]
                    .message
                    .contains("too deep")
            );
            drop(Validator::compile(&nested(SCHEMA_DEPTH_MAX)).unwrap());
        };
        let thread = std::thread::Builder::new().stack_size(1024 * 1024);
        thread.spawn(run).unwrap().join().unwrap();
    }
}
