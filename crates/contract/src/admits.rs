//! Whether a schema admits an object at all: arguments are one.

use onex_protocol::{percent::percent_decoded, pointer};
use serde_json::Value;

/// Schemas that are looked at; then it counts as not to be seen. A short schema may lead to itself by
/// very many ways.
const LOOKS_MAX: usize = 10_000;

/// Where a schema says that no object will do, as a JSON Pointer; none when that cannot be seen. Whether
/// a schema admits anything at all cannot be decided in general: this finds what people get wrong.
///
/// `schema` is well by [`Validator::compile`](super::validator::Validator::compile).
pub(super) fn no_object(schema: &Value) -> Option<String> {
    let mut search = Search {
        root: schema,
        looks: 0,
    };
    search.at(schema, String::new())
}

struct Search<'a> {
    root: &'a Value,
    looks: usize,
}

impl Search<'_> {
    fn at(&mut self, schema: &Value, here: String) -> Option<String> {
        self.looks += 1;
        let members = match schema {
            Value::Bool(false) => return Some(here),
            Value::Object(members) if self.looks <= LOOKS_MAX => members,
            _ => return None,
        };
        members.iter().find_map(|(keyword, value)| {
            let pointer = pointer::member(&here, keyword);
            self.keyword(keyword, value, pointer)
        })
    }

    fn keyword(&mut self, keyword: &str, value: &Value, pointer: String) -> Option<String> {
        let refuses = match (keyword, value) {
            ("type", Value::String(kind)) => kind != "object",
            ("type", Value::Array(kinds)) => !kinds.iter().any(|kind| kind == "object"),
            ("const", value) => !value.is_object(),
            ("enum", Value::Array(values)) => !values.iter().any(Value::is_object),
            ("not", schema) => admits_all(schema),
            ("anyOf" | "oneOf", Value::Array(schemas)) => schemas
                .iter()
                .all(|schema| self.at(schema, String::new()).is_some()),
            ("allOf", Value::Array(schemas)) => {
                let mut schemas = schemas.iter().enumerate();
                return schemas
                    .find_map(|(index, schema)| self.at(schema, format!("{pointer}/{index}")));
            }
            ("$ref", Value::String(target)) => {
                let target = percent_decoded(target.strip_prefix('#')?)?;
                return self.at(self.root.pointer(&target)?, target);
            }
            _ => false,
        };
        refuses.then_some(pointer)
    }
}

fn admits_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(members) => {
            members.is_empty()
                || members.len() == 1 && members.get("type").is_some_and(|kind| kind == "object")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn check(schema: Value, refused_at: Option<&str>) {
        assert_eq!(no_object(&schema).as_deref(), refused_at, "{schema}");
    }

    #[test]
    fn what_admits_no_object_is_found() {
        check(json!(true), None);
        check(json!(false), Some(""));
        check(json!({}), None);
        check(json!({"type": "object"}), None);
        check(json!({"type": ["null", "object"]}), None);
        check(json!({"type": "string"}), Some("/type"));
        check(json!({"type": ["null", "string"]}), Some("/type"));
        check(json!({"const": {"a": 1}}), None);
        check(json!({"const": 1}), Some("/const"));
        check(json!({"enum": [1, {}]}), None);
        check(json!({"enum": [1, []]}), Some("/enum"));
        check(json!({"not": {}}), Some("/not"));
        check(json!({"not": true}), Some("/not"));
        check(json!({"not": {"type": "object"}}), Some("/not"));
        check(json!({"not": {"type": "string"}}), None);
        check(json!({"not": {"required": ["a"]}}), None);
        check(
            json!({"allOf": [{}, {"type": "string"}]}),
            Some("/allOf/1/type"),
        );
        check(json!({"anyOf": [{"type": "string"}, {}]}), None);
        check(
            json!({"anyOf": [{"type": "string"}, false]}),
            Some("/anyOf"),
        );
        check(json!({"oneOf": [{"type": "string"}]}), Some("/oneOf"));
        check(
            json!({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "array"}}}),
            Some("/$defs/a~1b/type"),
        );
        check(
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}, "b": false}}),
            None,
        );
        check(json!({"properties": {"a": false}}), None);
        check(
            json!({"$ref": "#it", "$defs": {"a": {"$anchor": "it", "type": "string"}}}),
            None,
        );
    }

    #[test]
    fn it_does_not_take_for_ever() {
        // Each of these asks for the next one twice.
        let defs: serde_json::Map<String, Value> = (0..30)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
                (format!("d{at}"), json!({"allOf": [next, next]}))
            })
            .chain([("d30".to_owned(), json!({"type": "object"}))])
            .collect();
        let begun = std::time::Instant::now();
        check(json!({"$ref": "#/$defs/d0", "$defs": defs}), None);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }
}
