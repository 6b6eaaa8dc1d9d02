//! A tool's arguments and result on one line, from its schemas:
//! `add(a: number, b: number, mode?: "fast"|"exact") -> number`.
//!
//! It is for people who look for a tool. What it leaves out is marked with `…`; the schema has all.

use serde_json::{Map, Value};

/// Arguments that are shown.
const ARGUMENTS_MAX: usize = 12;
/// Members of a nested object that are shown.
const MEMBERS_MAX: usize = 4;
/// Alternatives that are shown.
const ALTERNATIVES_MAX: usize = 5;
/// Objects, lists and references within each other that are shown.
const DEPTH_MAX: usize = 4;
/// Characters of a name or of a constant that are shown.
const WORD_CHARS_MAX: usize = 32;
/// Characters of the whole.
const CHARS_MAX: usize = 480;

const MORE: &str = "…";
const ANYTHING: &str = "any";
const NOTHING: &str = "never";

/// The signature of a tool.
pub(super) fn signature(name: &str, input: &Value, output: &Value) -> String {
    let arguments = Document(input).arguments();
    let result = Document(output).kind(output, 0);
    limited(format!("{name}({arguments}) -> {result}"), CHARS_MAX)
}

/// The arguments that a schema names, those that must be there first, in the order that it names them:
/// name, schema, and whether it must be there.
pub(super) fn arguments(input: &Value) -> Vec<(&str, &Value, bool)> {
    let object = Document(input).resolved(input);
    object.as_object().map_or_else(Vec::new, members)
}

/// What `schema`, which stands in `root`, admits, in a few words.
pub(super) fn kind(root: &Value, schema: &Value) -> String {
    limited(Document(root).kind(schema, 0), CHARS_MAX)
}

/// A whole schema, in which references are looked up.
#[derive(Clone, Copy)]
struct Document<'a>(&'a Value);

impl<'a> Document<'a> {
    fn arguments(self) -> String {
        let input = self.resolved(self.0);
        let Some(object) = input.as_object() else {
            return MORE.to_owned();
        };
        if !object.contains_key("properties") {
            return match object.get("additionalProperties") {
                Some(Value::Bool(false)) => String::new(),
                _ if is_alternative(object) => format!("arguments: {}", self.kind(input, 0)),
                _ => MORE.to_owned(),
            };
        }
        self.named(object, ARGUMENTS_MAX, 1)
    }

    /// `a: number, b?: string`
    fn named(self, object: &'a Map<String, Value>, most: usize, depth: usize) -> String {
        let all = members(object);
        let shown = all.iter().take(most).map(|(name, schema, required)| {
            let mark = if *required { "" } else { "?" };
            format!("{}{mark}: {}", member_name(name), self.kind(schema, depth))
        });
        let mut shown: Vec<String> = shown.collect();
        if all.len() > most {
            shown.push(MORE.to_owned());
        }
        shown.join(", ")
    }

    fn kind(self, schema: &'a Value, depth: usize) -> String {
        let object = match schema {
            Value::Bool(false) => return NOTHING.to_owned(),
            Value::Object(object) => object,
            _ => return ANYTHING.to_owned(),
        };
        if depth > DEPTH_MAX {
            return MORE.to_owned();
        }
        if let Some(Value::String(reference)) = object.get("$ref") {
            return self.reference(reference, depth);
        }
        if let Some(constant) = object.get("const") {
            return literal(constant);
        }
        if let Some(Value::Array(values)) = object.get("enum") {
            return alternatives(values.iter().map(literal));
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(Value::Array(schemas)) = object.get(word) {
                return alternatives(schemas.iter().map(|schema| self.kind(schema, depth + 1)));
            }
        }
        match object.get("type") {
            Some(Value::String(kind)) => self.of_type(kind, object, depth),
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                alternatives(kinds.map(|kind| self.of_type(kind, object, depth)))
            }
            _ => self.untyped(object, depth),
        }
    }

    fn of_type(self, kind: &str, object: &'a Map<String, Value>, depth: usize) -> String {
        match kind {
            "array" => self.list(object, depth),
            "object" => self.object(object, depth),
            other => word(other),
        }
    }

    /// By what it says besides.
    fn untyped(self, object: &'a Map<String, Value>, depth: usize) -> String {
        if let Some(Value::Array(schemas)) = object.get("allOf") {
            let parts: Vec<String> = schemas
                .iter()
                .take(ALTERNATIVES_MAX)
                .map(|schema| self.kind(schema, depth + 1))
                .filter(|kind| kind != ANYTHING)
                .collect();
            if !parts.is_empty() {
                return parts.join("&");
            }
        }
        if object.contains_key("properties") || object.contains_key("required") {
            return self.object(object, depth);
        }
        if object.contains_key("items") || object.contains_key("prefixItems") {
            return self.list(object, depth);
        }
        ANYTHING.to_owned()
    }

    fn list(self, object: &'a Map<String, Value>, depth: usize) -> String {
        if let Some(Value::Array(schemas)) = object.get("prefixItems") {
            let shown = schemas.iter().take(MEMBERS_MAX);
            let mut shown: Vec<String> = shown.map(|item| self.kind(item, depth + 1)).collect();
            if schemas.len() > MEMBERS_MAX || object.get("items") != Some(&Value::Bool(false)) {
                shown.push(MORE.to_owned());
            }
            return format!("[{}]", shown.join(", "));
        }
        let item = object
            .get("items")
            .map_or_else(|| ANYTHING.to_owned(), |item| self.kind(item, depth + 1));
        if item.contains(['|', '&']) && !item.starts_with(['{', '[']) {
            return format!("({item})[]");
        }
        item + "[]"
    }

    fn object(self, object: &'a Map<String, Value>, depth: usize) -> String {
        if object.contains_key("properties") {
            if depth >= DEPTH_MAX {
                return format!("{{{MORE}}}");
            }
            return format!("{{{}}}", self.named(object, MEMBERS_MAX, depth + 1));
        }
        match object.get("additionalProperties") {
            Some(Value::Bool(false)) => "{}".to_owned(),
            Some(values @ Value::Object(_)) => {
                format!("{{[name]: {}}}", self.kind(values, depth + 1))
            }
            _ => "object".to_owned(),
        }
    }

    /// The name of what is referred to; where that is no object, what it admits.
    fn reference(self, reference: &str, depth: usize) -> String {
        let name = reference.rsplit('/').next().unwrap_or_default();
        let name = match name {
            "" | "#" => "itself".to_owned(),
            name => word(&name.replace("~1", "/").replace("~0", "~")),
        };
        match self.target(reference) {
            Some(target) if is_plain(target) => self.kind(target, depth + 1),
            _ => name,
        }
    }

    fn target(self, reference: &str) -> Option<&'a Value> {
        self.0.pointer(reference.strip_prefix('#')?)
    }

    /// What `schema` says, or what it refers to where it says nothing else.
    fn resolved(self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..DEPTH_MAX {
            let reference = schema.get("$ref").and_then(Value::as_str);
            match reference.and_then(|reference| self.target(reference)) {
                Some(target) if schema.get("properties").is_none() => schema = target,
                _ => break,
            }
        }
        schema
    }
}

/// Whether its name says less than what it admits.
fn is_plain(schema: &Value) -> bool {
    let deep = [
        "properties",
        "items",
        "prefixItems",
        "anyOf",
        "oneOf",
        "allOf",
    ];
    let kind = schema.get("type").and_then(Value::as_str);
    let says = ["type", "enum", "const", "$ref"];
    !matches!(kind, Some("object" | "array"))
        && says.iter().any(|word| schema.get(word).is_some())
        && !deep.iter().any(|word| schema.get(word).is_some())
}

fn is_alternative(object: &Map<String, Value>) -> bool {
    ["anyOf", "oneOf", "allOf"]
        .iter()
        .any(|word| object.contains_key(*word))
}

/// The members of an object: those that must be there first, in the order in which they are required.
fn members(object: &Map<String, Value>) -> Vec<(&str, &Value, bool)> {
    let Some(Value::Object(properties)) = object.get("properties") else {
        return Vec::new();
    };
    let required: Vec<&str> = match object.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let place = |name: &str| required.iter().position(|other| *other == name);
    let mut members: Vec<_> = properties
        .iter()
        .map(|(name, schema)| (name.as_str(), schema, place(name).is_some()))
        .collect();
    members.sort_by_key(|(name, ..)| place(name).unwrap_or(usize::MAX));
    members
}

/// `"fast"|"exact"`, each once.
fn alternatives(all: impl Iterator<Item = String>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for one in all {
        if shown.contains(&one) {
            continue;
        }
        if shown.len() == ALTERNATIVES_MAX {
            shown.push(MORE.to_owned());
            break;
        }
        shown.push(one);
    }
    if shown.is_empty() {
        return NOTHING.to_owned();
    }
    shown.join("|")
}

fn literal(value: &Value) -> String {
    limited(value.to_string(), WORD_CHARS_MAX)
}

fn word(text: &str) -> String {
    limited(text.to_owned(), WORD_CHARS_MAX)
}

/// A name as it is, or in quotes where it would read as something else.
fn member_name(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '$';
    if !name.is_empty() && name.chars().all(plain) {
        return word(name);
    }
    literal(&Value::from(name))
}

fn limited(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(MORE.chars()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `of` is a schema, and `text` what it admits.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn check(of: Value, text: &str) {
        assert_eq!(kind(&of, &of), text, "{of:#}");
    }

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn check_tool(input: Value, output: Value, text: &str) {
        assert_eq!(
            signature("f", &input, &output),
            text,
            "{input:#} {output:#}"
        );
    }

    #[test]
    fn a_signature_says_what_goes_in_and_what_comes_out() {
        let input = json!({
            "type": "object", "required": ["b", "a"],
            "properties": {
                "a": {"type": "number"}, "b": {"type": "number"}, "mode": {"enum": ["fast", "exact"]},
            },
        });
        let text = "f(b: number, a: number, mode?: \"fast\"|\"exact\") -> number";
        check_tool(input.clone(), json!({"type": "number"}), text);
        let root = json!({"$ref": "#/$defs/In", "$defs": {"In": input}});
        check_tool(root, json!({"type": "number"}), text);
        check_tool(json!({"type": "object"}), json!(true), "f(…) -> any");
        let none = json!({"type": "object", "additionalProperties": false});
        check_tool(none, json!({}), "f() -> any");
        let either = json!({"oneOf": [{"properties": {"a": true}}, {"properties": {"b": true}}]});
        check_tool(
            either,
            json!(false),
            "f(arguments: {a?: any}|{b?: any}) -> never",
        );
    }

    #[test]
    fn types_are_short() {
        check(json!({"type": "integer"}), "integer");
        check(json!({"type": ["string", "null"]}), "string|null");
        check(json!({"const": 7}), "7");
        check(json!({"enum": [1, 2, 3, 4, 5, 6, 7]}), "1|2|3|4|5|…");
        check(json!({"enum": []}), "never");
        check(
            json!({"anyOf": [{"type": "string"}, {"type": "string"}]}),
            "string",
        );
        check(
            json!({"allOf": [{"minimum": 1}, {"type": "number"}]}),
            "number",
        );
        check(json!({"minLength": 1}), "any");
        check(json!({"type": "array"}), "any[]");
        check(json!({"items": {"type": "string"}}), "string[]");
        check(
            json!({"type": "array", "items": {"enum": ["a", "b"]}}),
            "(\"a\"|\"b\")[]",
        );
        let pair = json!({"prefixItems": [{"type": "string"}, true], "items": false});
        check(pair, "[string, any]");
        check(json!({"type": "object"}), "object");
        check(
            json!({"type": "object", "additionalProperties": {"type": "number"}}),
            "{[name]: number}",
        );
        check(
            json!({"properties": {"at": {"properties": {"x": {"type": "number"}}, "required": ["x"]}}}),
            "{at?: {x: number}}",
        );
        let wide = json!({"properties": {"a": true, "b": true, "c": true, "d": true, "e": true}});
        check(wide, "{a?: any, b?: any, c?: any, d?: any, …}");
        check(
            json!({"properties": {"odd name": true, "": true}}),
            "{\"\"?: any, \"odd name\"?: any}",
        );
        check(
            json!({"const": "x".repeat(99)}),
            &format!("\"{}…", "x".repeat(30)),
        );
    }

    #[test]
    fn references_are_names_unless_they_say_less() {
        let with = |schema: Value| {
            let mut schema = schema;
            schema["$defs"] = json!({
                "Mode": {"enum": ["fast", "exact"]}, "Alias": {"$ref": "#/$defs/Mode"},
                "Point": {"type": "object", "properties": {"x": {"type": "number"}}},
                "a/b": {"type": "object"}, "Round": {"$ref": "#/$defs/Round"}, "Empty": {},
            });
            schema
        };
        check(with(json!({"$ref": "#/$defs/Point"})), "Point");
        check(with(json!({"$ref": "#/$defs/Mode"})), "\"fast\"|\"exact\"");
        check(with(json!({"$ref": "#/$defs/Alias"})), "\"fast\"|\"exact\"");
        check(with(json!({"items": {"$ref": "#/$defs/Point"}})), "Point[]");
        check(with(json!({"$ref": "#/$defs/a~1b"})), "a/b");
        check(with(json!({"$ref": "#/$defs/Round"})), "…");
        check(with(json!({"$ref": "#/$defs/Empty"})), "Empty");
        check(with(json!({"$ref": "#/$defs/Gone"})), "Gone");
        check(
            json!({"properties": {"next": {"$ref": "#"}}}),
            "{next?: itself}",
        );
    }

    #[test]
    fn it_is_bounded_whatever_the_schema() {
        let mut deep = json!({"type": "string"});
        for _ in 0..50 {
            deep =
                json!({"type": "object", "properties": {"a": deep.clone(), "b": {"items": deep}}});
            if deep.to_string().len() > 60_000 {
                break;
            }
        }
        let text = signature("f", &deep, &deep);
        assert!(text.chars().count() <= CHARS_MAX, "{text}");
        assert!(text.contains(MORE), "{text}");
        let many: Map<String, Value> = (0..500)
            .map(|n| (format!("argument-{n}"), json!({})))
            .collect();
        let text = signature("f", &json!({"properties": many}), &json!(true));
        assert_eq!(text.matches("argument-").count(), ARGUMENTS_MAX);
        for odd in [
            json!(null),
            json!([]),
            json!({"type": 7, "required": 1, "properties": []}),
        ] {
            signature("f", &odd, &odd);
        }
    }
}
