//! Checks of values by schemas: how long they take whatever is checked, and which regular expressions there are.

use std::{collections::BTreeSet, time::Duration};

use onex_registry::{
    contract::validator::{SCHEMA_BYTES_MAX, Validator},
    protocol::json::{JSON_LEVELS_MAX, JSON_NUMBER_CHARS_MAX, JsonText},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Bytes that a message may have: no value is longer.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// A schema and a value that take longer the greater the number is.
type Family = (&'static str, fn(usize) -> (Value, Value));

fn all(count: usize, schema: &Value) -> Value {
    json!({"allOf": vec![schema; count]})
}

fn members(count: usize, value: &Value) -> Value {
    let members = (0..count).map(|at| (format!("m{at}"), value.clone()));
    Value::Object(members.collect())
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("m{at}")).collect()
}

/// Trees that are made of lists only, all of them different.
fn trees(count: usize) -> Vec<Value> {
    let mut trees = vec![json!([])];
    let mut from = 0;
    while trees.len() < count {
        let until = trees.len();
        for first in from..until {
            for second in 0..=first {
                trees.push(json!([trees[first], trees[second]]));
                trees.push(json!([trees[second], trees[first], []]));
                if trees.len() >= count {
                    return trees;
                }
            }
        }
        from = until;
    }
    trees
}

fn noise(length: usize) -> String {
    let mut seed: u64 = 0x9E37_79B9_7F4A_7C15;
    let next = |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        if seed >> 63 == 1 { 'a' } else { 'b' }
    };
    (0..length).map(next).collect()
}

/// What takes the most of one keyword: where it holds, and where it does not.
#[expect(clippy::too_many_lines, reason = "a table")]
fn families() -> Vec<Family> {
    vec![
        ("type", |n| {
            (
                json!({"items": all(20, &json!({"type": "number"}))}),
                json!(vec![1; n]),
            )
        }),
        ("type, all wrong", |n| {
            (
                json!({"items": all(20, &json!({"type": "string"}))}),
                json!(vec![1; n]),
            )
        }),
        ("enum", |n| {
            let options: Vec<Value> = (0..400).map(|at| json!([at, "x"])).collect();
            (
                json!({"items": {"enum": options}}),
                json!(vec![json!([399, "x"]); n]),
            )
        }),
        ("enum of texts, all wrong", |n| {
            (
                json!({"items": {"enum": names(2_000)}}),
                json!(vec!["x"; n]),
            )
        }),
        ("const", |n| {
            let value = members(100, &json!("x"));
            (
                all(40, &json!({"const": value.clone()})),
                if n > 7 { value } else { json!(1) },
            )
        }),
        ("multipleOf", |n| {
            (
                json!({"items": all(20, &json!({"multipleOf": 0.1}))}),
                json!(vec![1e15; n]),
            )
        }),
        ("maximum, minimum", |n| {
            let limits =
                json!({"maximum": 5, "minimum": 1, "exclusiveMaximum": 6, "exclusiveMinimum": 0});
            (json!({"items": all(20, &limits)}), json!(vec![3; n]))
        }),
        ("maxLength, minLength", |n| {
            (
                all(400, &json!({"maxLength": 2_000_000, "minLength": 0})),
                json!("é".repeat(n)),
            )
        }),
        ("pattern", |n| {
            (
                all(50, &json!({"pattern": "^[ab]*a[ab]{300}c$"})),
                json!(noise(n)),
            )
        }),
        ("pattern of many characters", |n| {
            (
                all(20, &json!({"pattern": r"(?:[^x]{1,9}[a-y]{1,9}){1,9}!"})),
                json!(noise(n)),
            )
        }),
        ("pattern of short texts", |n| {
            (
                json!({"items": all(20, &json!({"pattern": "a+b+c"}))}),
                json!(vec!["aab"; n]),
            )
        }),
        ("pattern that looks ahead", |n| {
            (
                all(4, &json!({"pattern": "^(?:(?=[ab]*a[ab]{12}c|a|b)[ab])*$"})),
                json!(noise(n)),
            )
        }),
        ("pattern that looks far ahead", |n| {
            (
                all(
                    4,
                    &json!({"pattern": "^(?:(?=[ab]*a[ab]{200}c|a|b)[ab])*$"}),
                ),
                json!(noise(n)),
            )
        }),
        ("pattern that looks ahead of each character", |n| {
            (
                all(4, &json!({"pattern": "^(?:(?!bbbbbbbbb).)*c$"})),
                json!(noise(n)),
            )
        }),
        ("pattern that looks ahead and tries again", |n| {
            (
                all(4, &json!({"pattern": "^(?:(?:a|b|aa|ab)+)+(?!a)(?!b)c"})),
                json!(noise(n)),
            )
        }),
        ("pattern that looks behind", |n| {
            (
                all(4, &json!({"pattern": "(?<=[ab]{0,300})c"})),
                json!(noise(n)),
            )
        }),
        ("pattern of boundaries that looks ahead", |n| {
            (
                all(4, &json!({"pattern": r"(?:\b[ab]|[ab])+(?=c)"})),
                json!(noise(n)),
            )
        }),
        ("maxItems, minItems", |n| {
            (
                json!({"items": all(100, &json!({"maxItems": 9, "minItems": 0}))}),
                json!(vec![json!([1]); n]),
            )
        }),
        ("uniqueItems", |n| {
            let items: Vec<usize> = (0..n).collect();
            (all(450, &json!({"uniqueItems": true})), json!(items))
        }),
        ("uniqueItems of lists in lists", |n| {
            (all(9, &json!({"uniqueItems": true})), json!(trees(n)))
        }),
        ("uniqueItems of great numbers", |n| {
            let items: Vec<u64> = (0..n)
                .map(|at| u64::MAX - u64::try_from(at).unwrap())
                .collect();
            (all(9, &json!({"uniqueItems": true})), json!(items))
        }),
        ("uniqueItems, not so", |n| {
            let mut items = names(n);
            items.push("m0".to_owned());
            let alternatives = vec![json!({"uniqueItems": true}); 100];
            (json!({"anyOf": alternatives}), json!(items))
        }),
        ("maxProperties, minProperties", |n| {
            let limits = json!({"maxProperties": 9, "minProperties": 0});
            (
                json!({"items": all(100, &limits)}),
                json!(vec![json!({}); n]),
            )
        }),
        ("required", |n| {
            (
                all(20, &json!({"required": names(150)})),
                members(n, &json!(1)),
            )
        }),
        ("required, all missing", |n| {
            (
                json!({"items": {"required": names(200)}}),
                json!(vec![json!({}); n]),
            )
        }),
        ("dependentRequired", |n| {
            let needs = Value::Object(
                names(100)
                    .into_iter()
                    .map(|name| (name, json!(names(50))))
                    .collect(),
            );
            (
                json!({"items": {"dependentRequired": needs}}),
                json!(vec![members(100, &json!(1)); n]),
            )
        }),
        ("properties", |n| {
            let value = members(20, &json!(1));
            let known = members(20, &json!({"type": "number"}));
            (
                json!({"items": all(10, &json!({"properties": known}))}),
                json!(vec![value; n]),
            )
        }),
        ("patternProperties", |n| {
            let known = json!({"patternProperties": {"^m[0-9]+$": {"type": "number"}, "5$": {}, "a+b": {}}});
            (all(15, &known), members(n, &json!(1)))
        }),
        ("patternProperties beside additionalProperties", |n| {
            let known = json!({"patternProperties": {"^x[0-9]+$": {}, "x$": {}}, "additionalProperties": {}});
            (all(15, &known), members(n, &json!(1)))
        }),
        ("additionalProperties", |n| {
            (
                all(40, &json!({"additionalProperties": {"type": "number"}})),
                members(n, &json!(1)),
            )
        }),
        ("additionalProperties, none allowed", |n| {
            (
                all(40, &json!({"additionalProperties": false})),
                members(n, &json!(1)),
            )
        }),
        ("propertyNames", |n| {
            let names = json!({"propertyNames": {"pattern": "^m[0-9]{1,100}$", "maxLength": 9, "minLength": 1}});
            (all(20, &names), members(n, &json!(1)))
        }),
        ("items, prefixItems", |n| {
            let schema = json!({"prefixItems": vec![true; 100], "items": {"type": "number"}});
            (all(15, &schema), json!(vec![1; n]))
        }),
        ("contains", |n| {
            (
                all(
                    20,
                    &json!({"contains": {"const": "x"}, "minContains": 0, "maxContains": 2}),
                ),
                json!(vec![1; n]),
            )
        }),
        ("contains, not so", |n| {
            (
                all(20, &json!({"contains": {"const": "x"}})),
                json!(vec![1; n]),
            )
        }),
        ("unevaluatedItems", |n| {
            let all = all(20, &json!({"contains": {"type": "number"}}));
            (
                json!({"allOf": all["allOf"], "unevaluatedItems": false}),
                json!(vec![1; n]),
            )
        }),
        ("unevaluatedItems, none allowed", |n| {
            let one = json!({"prefixItems": [true], "unevaluatedItems": false});
            (json!({"anyOf": vec![one; 20]}), json!(vec![1; n]))
        }),
        ("unevaluatedProperties", |n| {
            let known = members(20, &json!(true));
            let all = all(
                20,
                &json!({"properties": known, "patternProperties": {"^m": true}}),
            );
            (
                json!({"allOf": all["allOf"], "unevaluatedProperties": false}),
                members(n, &json!(1)),
            )
        }),
        ("unevaluatedProperties, none allowed", |n| {
            let one = json!({"properties": {"m1": true}, "unevaluatedProperties": false});
            (json!({"oneOf": vec![one; 20]}), members(n, &json!(1)))
        }),
        ("unevaluatedProperties in each other", |n| {
            let inner = (0..10).fold(
                json!({}),
                |schema, _| json!({"allOf": [schema], "unevaluatedProperties": true}),
            );
            (inner, members(n, &json!(1)))
        }),
        ("anyOf of one great value", |n| {
            (
                json!({"anyOf": vec![json!({"type": "string"}); 900]}),
                json!(vec![1; n]),
            )
        }),
        ("anyOf in each other", |n| {
            let inner = (0..12).fold(
                json!({"items": {"type": "string"}}),
                |schema, _| json!({"anyOf": [schema, {"type": "null"}]}),
            );
            (inner, json!(vec![1; n]))
        }),
        ("anyOf with much that is required", |n| {
            (
                json!({"anyOf": vec![json!({"required": names(100)}); 20]}),
                json!({"x": vec![1; n]}),
            )
        }),
        ("oneOf", |n| {
            let alternatives: Vec<Value> = (0..300).map(|at| json!({"const": at})).collect();
            (
                json!({"items": {"oneOf": alternatives}}),
                json!(vec![299; n]),
            )
        }),
        ("oneOf, none of them", |n| {
            let alternatives: Vec<Value> = (0..300).map(|at| json!({"const": at})).collect();
            (
                json!({"items": {"oneOf": alternatives}}),
                json!(vec!["x"; n]),
            )
        }),
        ("not, if, then, else", |n| {
            let one = json!({"not": {"type": "null"}, "if": {"const": 1}, "then": {"type": "number"}, "else": false});
            (json!({"items": all(20, &one)}), json!(vec![1; n]))
        }),
        ("dependentSchemas", |n| {
            let one = members(100, &json!({"minProperties": 1}));
            (
                json!({"items": {"dependentSchemas": one}}),
                json!(vec![members(100, &json!(1)); n]),
            )
        }),
        ("$ref", |n| {
            let refs = vec![json!({"$ref": "#/$defs/x"}); 400];
            (
                json!({"items": {"allOf": refs}, "$defs": {"x": {"type": "number"}}}),
                json!(vec![1; n]),
            )
        }),
        ("$dynamicRef", |n| {
            let refs = vec![json!({"$dynamicRef": "#x"}); 100];
            let defs = json!({"x": {"$dynamicAnchor": "x", "type": "number"}});
            (
                json!({"items": {"allOf": refs}, "$defs": defs}),
                json!(vec![1; n]),
            )
        }),
        ("a tree of alternatives", |n| {
            let branch = json!({"properties": {"x": {"$ref": "#"}}, "required": ["x"]});
            let value =
                (0..n.min(JSON_LEVELS_MAX)).fold(json!("x"), |value, _| json!({"x": value}));
            (json!({"anyOf": [branch, {"type": "null"}]}), value)
        }),
    ]
}

/// A schema, and a value of so many members that is checked against it.
type OfLength = fn(usize) -> (Value, String);

/// The same for numbers that are as long as any, and that no double is.
fn families_of_long_numbers() -> Vec<(&'static str, OfLength)> {
    fn numbers(count: usize) -> String {
        let number = |at: usize| format!("{}{at:06}", "7".repeat(JSON_NUMBER_CHARS_MAX - 6));
        format!("[{}]", (0..count).map(number).collect::<Vec<_>>().join(","))
    }
    vec![
        ("multipleOf of long numbers", |n| {
            (
                json!({"items": all(20, &json!({"multipleOf": 0.1}))}),
                numbers(n),
            )
        }),
        ("multipleOf of great powers of ten", |n| {
            (
                json!({"items": all(20, &json!({"multipleOf": 7}))}),
                format!("[{}1e400]", "1e400,".repeat(n)),
            )
        }),
        ("maximum, minimum of long numbers", |n| {
            let limits = json!({"maximum": 1e300, "minimum": 1, "exclusiveMaximum": 1e300, "exclusiveMinimum": 0});
            (json!({"items": all(20, &limits)}), numbers(n))
        }),
        ("type, const, enum of long numbers", |n| {
            let one =
                json!({"type": "integer", "not": {"anyOf": [{"const": 7}, {"enum": [1, 2.5]}]}});
            (json!({"items": all(10, &one)}), numbers(n))
        }),
        ("uniqueItems of long numbers", |n| {
            (all(450, &json!({"uniqueItems": true})), numbers(n))
        }),
    ]
}

/// Keywords of a schema that say which values it admits.
fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
    if let Value::Object(members) = schema {
        found.extend(members.keys().cloned());
        for value in members.values() {
            keywords(value, found);
        }
    } else if let Value::Array(items) = schema {
        for item in items {
            keywords(item, found);
        }
    }
}

/// How long this thread has worked: on a machine that is busy, other clocks say nothing.
fn worked() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A check that takes longer is not made greater: where a keyword's steps are not counted, the next ones would take
/// hours.
const FAR_TOO_LONG: Duration = Duration::from_secs(10);

/// How long the greatest check of a family takes that is carried out, and its number.
fn greatest(family: impl Fn(usize) -> (Value, String)) -> (Duration, usize) {
    let mut longest = (Duration::ZERO, 0);
    let mut number = 64;
    while number <= 1 << 20 {
        let (schema, value) = family(number);
        if value.len() > MESSAGE_BYTES_MAX {
            break;
        }
        let value = JsonText::parse(value.as_bytes()).unwrap();
        let value = value.document().unwrap();
        let bytes = schema.to_string().len();
        assert!(
            bytes <= SCHEMA_BYTES_MAX,
            "{bytes}: {}",
            &schema.to_string()[..100]
        );
        let validator = Validator::compile(&schema).unwrap();
        let begun = worked();
        let violations = validator.violations(&value);
        let took = worked().saturating_sub(begun);
        // What is refused has to be refused in time as well.
        longest = longest.max((took, number));
        let is_refused = violations
            .iter()
            .any(|one| one.message.contains("too large"));
        if is_refused || took > FAR_TOO_LONG {
            break;
        }
        number *= 3;
    }
    longest
}

#[test]
fn steps_bound_the_time_of_a_check_for_every_keyword() {
    let mut found = BTreeSet::new();
    let mut slow = Vec::new();
    // As much as is allowed of what a step is made by.
    let numbers = json!({"items": {"type": "number"}});
    let (step, _) = greatest(|n| (numbers.clone(), json!(vec![1; n]).to_string()));
    let mut all = Vec::new();
    for (name, family) in families() {
        keywords(&family(1).0, &mut found);
        let written = move |n| {
            let (schema, value) = family(n);
            (schema, value.to_string())
        };
        all.push((name, greatest(written)));
    }
    for (name, family) in families_of_long_numbers() {
        all.push((name, greatest(family)));
    }
    for (name, (took, number)) in all {
        println!("{took:>12?} {number:>8} {name}");
        if took > step * 4 + Duration::from_secs(1) {
            slow.push((name, took));
        }
    }
    println!("{step:?} for as many numbers");
    assert!(slow.is_empty(), "{slow:?}");
    let wanted = "type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern \
        maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required dependentRequired \
        allOf anyOf oneOf not if then else dependentSchemas prefixItems items contains properties patternProperties \
        additionalProperties propertyNames unevaluatedItems unevaluatedProperties $ref $dynamicRef";
    let missing: Vec<&str> = wanted
        .split_whitespace()
        .filter(|one| !found.contains(*one))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
