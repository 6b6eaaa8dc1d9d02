//! Which JSON Schema a schema is written in. All are read as 2020-12; older ones where they mean the same there.

use serde_json::{Map, Value};

use crate::{
    keyword::{Holds, holds},
    schema_graph::SCHEMA_DEPTH_MAX,
};
use onex_protocol::{error::Error, json::Decimal, pointer};

/// Places that are named in one message, beside the one that it points to.
const OTHERS_NAMED_MAX: usize = 5;

const DEFAULT: &str = "https://json-schema.org/draft/2020-12/schema";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Draft7,
    Draft2019,
    Draft2020,
}

/// Keywords that 2020-12 does not have, but a validator may heed, and what to write in their place.
const GONE: &[(&str, &str)] = &[
    (
        "$recursiveRef",
        "write \"$ref\": \"#\", or, where $recursiveAnchor is true, \"$dynamicRef\": \"#node\" with \"$dynamicAnchor\": \
         \"node\"",
    ),
    (
        "$recursiveAnchor",
        "write \"$dynamicAnchor\": \"node\", and \"$dynamicRef\": \"#node\" in the place of $recursiveRef, or leave it out",
    ),
    (
        "additionalItems",
        "use prefixItems for the first items, and items for the others",
    ),
    ("dependencies", "use dependentSchemas or dependentRequired"),
    ("divisibleBy", "use multipleOf"),
];

/// What to write in the place of a keyword that draft-03 or draft-04 had, where it has a value as there. Others are what
/// 2020-12 takes them for: annotations.
fn earlier(
    keyword: &str,
    value: &Value,
    is_part: bool,
    members: &Map<String, Value>,
) -> Option<&'static str> {
    const TYPES: [&str; 8] = [
        "any", "array", "boolean", "integer", "null", "number", "object", "string",
    ];
    let is_type = |value: &Value| {
        value.is_object() || value.as_str().is_some_and(|name| TYPES.contains(&name))
    };
    let all = |is: &dyn Fn(&Value) -> bool| match value {
        Value::Array(values) => !values.is_empty() && values.iter().all(is),
        value => is(value),
    };
    let id = value.as_str().filter(|_| keyword == "id");
    match keyword {
        "disallow" if all(&is_type) => Some("use not, as in \"not\": {\"type\": \"string\"}"),
        "extends" if all(&Value::is_object) => Some("use allOf"),
        _ if id.is_some_and(|id| id.starts_with('#')) => {
            Some("use $anchor, with the name without '#'")
        }
        _ if id.is_some() && is_part && members.values().any(refers) => {
            Some("leave it out, for it would be the base of the $ref in it")
        }
        _ => None,
    }
}

/// Whether there is a reference somewhere in it.
fn refers(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(refers),
        Value::Object(members) => members.contains_key("$ref") || members.values().any(refers),
        _ => false,
    }
}

/// How a keyword is written in 2020-12 that has the value which an earlier draft gave it.
fn respelled(members: &Map<String, Value>, keyword: &str, value: &Value) -> Option<String> {
    let bound = match keyword {
        "exclusiveMinimum" => "minimum",
        "exclusiveMaximum" => "maximum",
        "required" if value.is_boolean() => {
            return Some(
                "is a boolean, as draft-03 has it: in 2020-12 the object around it lists the names of its members, as in \
                 \"required\": [\"a\"]"
                    .to_owned(),
            );
        }
        "type" if is_any(value) => {
            return Some(
                "is written as in draft-03: in 2020-12 leave it out where it is any type, and use anyOf where it holds schemas"
                    .to_owned(),
            );
        }
        "items" if value.is_array() => {
            return Some(
                "is a list, as earlier drafts have it: in 2020-12 that is prefixItems".to_owned(),
            );
        }
        _ => return None,
    };
    let said = match (value, members.get(bound)) {
        (Value::Bool(false), _) => "leave it out".to_owned(),
        (Value::Bool(true), Some(Value::Number(number))) => {
            format!("in 2020-12 that is \"{keyword}\": {number}, without {bound}")
        }
        (Value::Bool(true), _) => {
            format!("in 2020-12 it is the number that is excluded, as in \"{keyword}\": 0")
        }
        _ => return None,
    };
    Some(format!("is a boolean, as draft-04 has it: {said}"))
}

/// Whether a type is any, or a schema is among several types.
fn is_any(value: &Value) -> bool {
    let is = |value: &Value| value == "any" || value.is_object();
    match value {
        Value::Array(values) => values.iter().any(is),
        value => is(value),
    }
}

/// Keywords that came with 2019-09.
const SINCE_2019: &[&str] = &[
    "$anchor",
    "dependentRequired",
    "dependentSchemas",
    "maxContains",
    "minContains",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that came with 2020-12.
const SINCE_2020: &[&str] = &["$dynamicAnchor", "$dynamicRef", "prefixItems"];

/// Keywords that say which values are admitted, beside those that hold schemas.
const LIMITS: &[&str] = &[
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "required",
];

impl Dialect {
    fn named(uri: &str) -> Option<Self> {
        let uri = uri.strip_suffix('#').unwrap_or(uri);
        let uri = uri
            .strip_prefix("https://")
            .or_else(|| uri.strip_prefix("http://"))?;
        match uri.strip_prefix("json-schema.org/")? {
            "draft-07/schema" => Some(Self::Draft7),
            "draft/2019-09/schema" => Some(Self::Draft2019),
            "draft/2020-12/schema" => Some(Self::Draft2020),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Draft7 => "draft-07",
            Self::Draft2019 => "2019-09",
            Self::Draft2020 => "2020-12",
        }
    }

    /// Why a keyword does not mean in 2020-12 what it means here.
    fn differs(self, members: &Map<String, Value>, keyword: &str, value: &Value) -> Option<String> {
        let name = self.name();
        if let Some((_, instead)) = GONE.iter().find(|(gone, _)| *gone == keyword) {
            return Some(format!("is not part of 2020-12: {instead}"));
        }
        if keyword == "$vocabulary" {
            return Some("is for meta-schemas only".to_owned());
        }
        let later = match self {
            Self::Draft7 => SINCE_2019.contains(&keyword) || SINCE_2020.contains(&keyword),
            Self::Draft2019 => SINCE_2020.contains(&keyword),
            Self::Draft2020 => false,
        };
        if later {
            return Some(format!(
                "is not part of {name}, which $schema names: leave out $schema where it is meant"
            ));
        }
        if let Some(why) = respelled(members, keyword, value) {
            return Some(why);
        }
        let is_beside = self == Self::Draft7 && members.contains_key("$ref") && keyword != "$ref";
        (is_beside && limits(keyword)).then(|| {
            "stands beside $ref, where draft-07 ignores it and 2020-12, as which schemas are read, does not: leave it \
             out, or put $ref into an allOf"
                .to_owned()
        })
    }
}

/// 2^64: integers below it are kept as they are written, where that is without an exponent.
const INTEGERS_END: f64 = 18_446_744_073_709_551_616.0;

/// A number that a value must be and that is another one by its digits than as a double, and where it stands in `value`.
fn ambiguous(value: &Value) -> Option<(String, String)> {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|float| float.abs() < INTEGERS_END)?;
            let exact = format!("{float:.0}");
            let same = float.fract() != 0.0 || Decimal::of(number) == Decimal::parse(&exact);
            (!same).then(|| {
                let message = format!(
                    "must be written without an exponent: {number} would be {exact} as a double"
                );
                (String::new(), message)
            })
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let (below, message) = ambiguous(item)?;
            Some((format!("/{index}{below}"), message))
        }),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            let (below, message) = ambiguous(member)?;
            Some((pointer::member("", name) + &below, message))
        }),
        _ => None,
    }
}

/// Whether a keyword says which values are admitted.
fn limits(keyword: &str) -> bool {
    let only_holds = matches!(keyword, "$defs" | "definitions" | "contentSchema");
    LIMITS.contains(&keyword) || !only_holds && holds(keyword).is_some()
}

/// Refuses a schema that means something else in 2020-12 than in the dialect that it names. The error points to the
/// first keyword, and names others.
pub(super) fn check(schema: &Value) -> Result<(), Error> {
    let named = schema.get("$schema");
    let is_named = named.is_some();
    let Some(dialect) = named.map_or(Some(Dialect::Draft2020), |named| {
        Dialect::named(named.as_str()?)
    }) else {
        return Err(Error::invalid("/$schema", unknown()));
    };
    let mut search = Search {
        dialect,
        heeds_earlier: !is_named || dialect != Dialect::Draft2020,
        found: Vec::new(),
        unevaluated_items: Vec::new(),
        has_contains: false,
    };
    search.at(schema, "", 1);
    search.outcome()
}

fn unknown() -> String {
    format!(
        "must be {DEFAULT}, or draft-07 or 2019-09 where those mean the same, or absent; the schema is read as 2020-12"
    )
}

struct Search {
    dialect: Dialect,
    /// Whether keywords of draft-03 and draft-04 are pointed out: not where 2020-12 is meant for sure.
    heeds_earlier: bool,
    /// Where, and why.
    found: Vec<(String, String)>,
    unevaluated_items: Vec<String>,
    has_contains: bool,
}

impl Search {
    fn at(&mut self, schema: &Value, here: &str, depth: usize) {
        let Value::Object(members) = schema else {
            return;
        };
        if depth > SCHEMA_DEPTH_MAX {
            // Which is refused for that.
            return;
        }
        for (keyword, value) in members {
            let pointer = pointer::member(here, keyword);
            if keyword == "$schema" && value.as_str().and_then(Dialect::named) != Some(self.dialect)
            {
                let message = format!(
                    "must be that of the whole schema, {}, or absent",
                    self.dialect.name()
                );
                self.found.push((pointer, message));
                continue;
            }
            if let Some(message) = self.dialect.differs(members, keyword, value) {
                self.found.push((pointer, message));
                continue;
            }
            if self.heeds_earlier
                && let Some(instead) = earlier(keyword, value, !here.is_empty(), members)
            {
                let message = format!(
                    "is of an earlier draft, and means nothing in 2020-12, as which schemas are read: {instead}"
                );
                self.found.push((pointer, message));
                continue;
            }
            if matches!(keyword.as_str(), "const" | "enum")
                && let Some((below, message)) = ambiguous(value)
            {
                self.found.push((pointer + &below, message));
                continue;
            }
            match keyword.as_str() {
                "contains" => self.has_contains = true,
                "unevaluatedItems" => self.unevaluated_items.push(pointer.clone()),
                _ => {}
            }
            match (holds(keyword), value) {
                (Some(Holds::Schema), schema) => self.at(schema, &pointer, depth + 1),
                (Some(Holds::List), Value::Array(schemas)) => {
                    for (index, schema) in schemas.iter().enumerate() {
                        self.at(schema, &format!("{pointer}/{index}"), depth + 1);
                    }
                }
                (Some(Holds::Named), Value::Object(schemas)) => {
                    for (name, schema) in schemas {
                        self.at(schema, &pointer::member(&pointer, name), depth + 1);
                    }
                }
                _ => {}
            }
        }
    }

    fn outcome(mut self) -> Result<(), Error> {
        if self.dialect == Dialect::Draft2019 && self.has_contains {
            let message = "leaves out what `contains` has found in 2020-12, as which schemas are read, and does not \
                in 2019-09: use one of the two only";
            let more = std::mem::take(&mut self.unevaluated_items).into_iter();
            self.found
                .extend(more.map(|pointer| (pointer, message.to_owned())));
        }
        let mut found = self.found.into_iter();
        let Some((pointer, mut message)) = found.next() else {
            return Ok(());
        };
        let others: Vec<String> = found.map(|(pointer, _)| pointer).collect();
        if let Some(named) = others
            .get(..others.len().min(OTHERS_NAMED_MAX))
            .filter(|named| !named.is_empty())
        {
            message.push_str("; there is more at ");
            message.push_str(&named.join(", "));
            if others.len() > named.len() {
                message.push_str(" and elsewhere");
            }
        }
        Err(Error::invalid(pointer, message))
    }
}
