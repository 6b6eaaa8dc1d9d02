//! What is wrong with a value, and where. Within a union that is told of the alternative that was probably meant.

use std::fmt::{self, Write as _};

use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use onex_protocol::{
    pointer,
    violation::{NOT_ALLOWED, VIOLATION_CHARS_MAX, VIOLATIONS_MAX, Violation, shortened},
};
use serde_json::Value;

use crate::{exact::Node, pattern::Pattern};

/// Enough bytes for a message of that many characters.
const BEGUN_BYTES_MAX: usize = 4 * (VIOLATION_CHARS_MAX + 1);

/// One way to understand a value of a union, by what is wrong with the value then.
type Alternative = [ValidationError<'static>];

/// What a value of a union was meant to be.
enum Meant<'a> {
    One(&'a Alternative),
    /// None of them, for what stands in that place: each wants something else there.
    NoneFor(&'a ValidationError<'static>, Vec<&'a Value>),
    /// That cannot be said.
    Any,
}

/// Adds what is wrong to `violations`, as far as there is room.
pub(super) fn report(
    error: &ValidationError<'_>,
    whole: Node<'_>,
    patterns: &[Pattern],
    violations: &mut Vec<Violation>,
) {
    let at = error.instance_path().as_str();
    let room = VIOLATIONS_MAX.saturating_sub(violations.len());
    let mut one = |at: &str, message: &str| {
        let violation = Violation {
            pointer: at.to_owned(),
            message: shortened(message),
        };
        // Two parts of a schema may ask for the same.
        if !violations.contains(&violation) {
            violations.push(violation);
        }
    };
    match error.kind() {
        _ if room == 0 => {}
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(room) {
                one(&pointer::member(at, name), NOT_ALLOWED);
            }
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => match meant(at, context) {
            Meant::One(errors) => {
                for error in errors.iter().take(room) {
                    report(error, whole, patterns, violations);
                }
            }
            Meant::NoneFor(error, values) => {
                let values: Vec<String> = values.into_iter().map(|value| begun(value)).collect();
                let message = format!(
                    "{} is not one of {}",
                    begun(error.instance()),
                    values.join(", ")
                );
                let message = exactly(message, error, whole);
                one(error.instance_path().as_str(), &message);
            }
            Meant::Any => one(at, &said(error, patterns)),
        },
        // It has a message of this crate's.
        Kind::Custom { .. } => one(at, &begun(error)),
        _ => one(at, &exactly(said(error, patterns), error, whole)),
    }
}

/// The message with a number as it was written, where what it begins with is the nearest that a value has room for.
fn exactly(message: String, error: &ValidationError<'_>, whole: Node<'_>) -> String {
    let exact = whole.number_at(error.instance_path().as_str());
    let nearest = begun(error.instance());
    match (exact, message.strip_prefix(&nearest)) {
        (Some(number), Some(rest)) => format!("{number}{rest}"),
        _ => message,
    }
}

/// An error's own words, as far as they are shown: they may quote all of the value. Regular expressions are named as the
/// schema has them.
fn said(error: &ValidationError<'_>, patterns: &[Pattern]) -> String {
    match error.kind() {
        Kind::PropertyNames { error } => said(error, patterns),
        Kind::Pattern { pattern } => {
            let source = patterns.iter().find(|known| known.written == *pattern);
            let source = source.map_or(pattern.as_str(), |known| &known.source);
            format!("{} does not match \"{source}\"", begun(error.instance()))
        }
        _ => begun(error),
    }
}

/// What can be shown of something: a little more than is told.
fn begun(shown: &dyn fmt::Display) -> String {
    let mut text = Begun(String::new());
    // It fails when there is enough of it.
    let _ = write!(text, "{shown}");
    text.0
}

struct Begun(String);

impl fmt::Write for Begun {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = BEGUN_BYTES_MAX.saturating_sub(self.0.len());
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= room);
        self.0
            .push_str(end.and_then(|end| text.get(..end)).unwrap_or(text));
        if end.is_some() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// Which alternative of a union at that place was meant: the only one for such a type of value; none, where all of them
/// want something else in one place; else the one without a wrong constant that has the fewest faults.
fn meant<'a>(at: &str, all: &'a [Vec<ValidationError<'static>>]) -> Meant<'a> {
    let other_type = |errors: &Alternative| errors.iter().any(|error| is_other_type(at, error));
    let all = all.iter().map(Vec::as_slice);
    let of_type: Vec<&Alternative> = all.filter(|errors| !other_type(errors)).collect();
    let is_named = |errors: &&Alternative| choices(errors).all(|(_, values)| values.len() > 1);
    let named: Vec<&Alternative> = of_type.iter().copied().filter(is_named).collect();
    if let [only] = of_type[..] {
        return Meant::One(only);
    }
    if let Some((error, values)) = nowhere(&of_type) {
        return Meant::NoneFor(error, values);
    }
    let rank = |errors: &Alternative| {
        let here = |error: &&ValidationError<'_>| error.instance_path().as_str() == at;
        let here = errors.iter().filter(here).count();
        (choices(errors).count(), here, errors.len())
    };
    let ranks: Vec<_> = named.iter().map(|errors| rank(errors)).collect();
    let least = ranks.iter().min();
    let mut best = named
        .iter()
        .zip(&ranks)
        .filter(|(_, rank)| Some(*rank) == least);
    match (best.next(), best.next()) {
        (Some((errors, _)), None) => Meant::One(errors),
        _ => Meant::Any,
    }
}

/// A place where every alternative wants something else, and what that may be.
fn nowhere<'a>(all: &[&'a Alternative]) -> Option<(&'a ValidationError<'static>, Vec<&'a Value>)> {
    let (first, others) = all.split_first()?;
    choices(first).find_map(|(error, mut values)| {
        let place = error.instance_path();
        for other in others {
            let (_, more) = choices(other).find(|(other, _)| other.instance_path() == place)?;
            values.extend(more);
        }
        Some((error, values))
    })
}

/// The errors for values that stand where certain ones are wanted, with these: the first few.
fn choices(errors: &Alternative) -> impl Iterator<Item = (&ValidationError<'static>, Vec<&Value>)> {
    errors
        .iter()
        .take(VIOLATIONS_MAX)
        .filter_map(|error| match error.kind() {
            Kind::Constant { expected_value } => Some((error, vec![expected_value.as_ref()])),
            Kind::Enum { options } => Some((error, options.as_array()?.iter().collect())),
            _ => None,
        })
}

/// Whether the value at that place is of a type that was not meant.
fn is_other_type(at: &str, error: &ValidationError<'_>) -> bool {
    let one =
        |errors: &Vec<ValidationError<'_>>| errors.iter().any(|error| is_other_type(at, error));
    error.instance_path().as_str() == at
        && match error.kind() {
            Kind::Type { .. } => true,
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => context.iter().all(one),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validator::Validator;

    use super::*;

    #[track_caller]
    fn check(schema: &Value, value: &Value, shown: &[&str]) {
        let violations = Validator::compile(schema).unwrap().violations(value);
        let found: Vec<String> = violations.iter().map(Violation::to_string).collect();
        assert_eq!(found, shown);
    }

    fn figures() -> Value {
        let figure = |kind: &str, size: &str| {
            json!({
                "type": "object", "required": ["kind", size], "additionalProperties": false,
                "properties": {"kind": {"const": kind}, size: {"type": "number"}, "colour": {"enum": ["red", "blue"]}},
            })
        };
        let both = json!({"$ref": "#/$defs/group"});
        json!({
            "properties": {"figure": {"$ref": "#/$defs/figure"}},
            "$defs": {
                "figure": {"oneOf": [figure("circle", "radius"), figure("square", "side"), both]},
                "group": {
                    "type": "object", "required": ["kind", "of"],
                    "properties": {"kind": {"const": "group"}, "of": {"items": {"$ref": "#/$defs/figure"}}},
                },
            },
        })
    }

    #[test]
    fn a_fault_within_a_union_is_told_where_it_is() {
        let one = |figure: Value, shown: &[&str]| {
            check(&figures(), &json!({"figure": figure}), shown);
        };
        one(json!({"kind": "circle", "radius": 1, "colour": "red"}), &[]);
        one(
            json!({"kind": "circle", "radius": "x"}),
            &["/figure/radius \"x\" is not of type \"number\""],
        );
        one(
            json!({"kind": "square", "side": null, "colour": "blue", "a/b": 1}),
            &[
                "/figure/side null is not of type \"number\"",
                "/figure/a~1b is not a property that is allowed here",
            ],
        );
        one(
            json!({"kind": "square"}),
            &["/figure \"side\" is a required property"],
        );
        // Which one was meant is what is wrong.
        one(
            json!({"kind": "cube", "side": 1}),
            &["/figure/kind \"cube\" is not one of \"circle\", \"square\", \"group\""],
        );
        one(
            json!(1),
            &["/figure 1 is not valid under any of the schemas listed in the 'oneOf' keyword"],
        );
        let inner = json!([{"kind": "circle", "radius": 1}, {"kind": "square", "side": "x"}]);
        one(
            json!({"kind": "group", "of": [{"kind": "group", "of": inner}]}),
            &["/figure/of/0/of/1/side \"x\" is not of type \"number\""],
        );
    }

    #[test]
    fn what_a_union_was_meant_to_be_is_seen_in_other_ways() {
        let object =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
        let or_null = json!({"anyOf": [object, {"type": "null"}]});
        check(
            &or_null,
            &json!({"a": "x"}),
            &["/a \"x\" is not of type \"integer\""],
        );
        // What may be absent, in a union with others.
        let nested = json!({"oneOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, or_null]});
        check(
            &nested,
            &json!({"a": "x"}),
            &["/a \"x\" is not of type \"integer\""],
        );
        check(
            &json!({"oneOf": [{"const": "fast", "title": "Fast"}, {"const": "slow"}, {"enum": [1, 2]}]}),
            &json!("warp"),
            &["\"warp\" is not one of \"fast\", \"slow\", 1, 2"],
        );
        // By what is there, where nothing names it.
        let other =
            json!({"type": "object", "required": ["b"], "properties": {"b": {"type": "integer"}}});
        let either = json!({"anyOf": [object, other]});
        check(
            &either,
            &json!({"b": "x"}),
            &["/b \"x\" is not of type \"integer\""],
        );
        check(
            &either,
            &json!({}),
            &["{} is not valid under any of the schemas listed in the 'anyOf' keyword"],
        );
    }

    #[test]
    fn what_is_told_of_a_union_is_bounded() {
        let items =
            json!({"oneOf": [{"type": "array", "items": {"type": "null"}}, {"type": "string"}]});
        let validator = Validator::compile(&json!({"items": items})).unwrap();
        let value = json!([vec![1; 40], vec![1; 40]]);
        assert_eq!(validator.violations(&value).len(), VIOLATIONS_MAX);
        let names: serde_json::Map<String, Value> =
            (0..100).map(|n| (n.to_string(), Value::Null)).collect();
        let validator =
            Validator::compile(&json!({"properties": {"0": true}, "additionalProperties": false}))
                .unwrap();
        let violations = validator.violations(&Value::Object(names));
        assert_eq!(violations.len(), VIOLATIONS_MAX);
    }
}
