//! From schemas to shapes. What no type can say is said by the widest one that admits it.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::{
    docs::{docs, is_loose},
    schema::{admits_all, both, bounds_only, is_annotation, reference, says_shape, target},
    shape::{Alternative, Kind, Shape, Type, Union},
};

/// Schemas of one document that are looked at, those that are merged again and again among them; what comes later is
/// anything. A short schema may say very much.
const STEPS_MAX: usize = 20_000;
/// References and lists of schemas that are followed to settle one schema. A registry takes no longer chains.
const SETTLE_MAX: usize = 64;
/// Longest title, in characters, that names an alternative.
const TITLE_CHARS_MAX: usize = 32;

/// Which way values of a schema go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// To the tool.
    Arguments,
    /// From the tool.
    Result,
}

/// Adds the type of a whole schema to `types`, with all that it needs: which one it is.
pub(super) fn read(types: &mut Vec<Type>, root: &Value, side: Side, tool: &str) -> usize {
    let words = match side {
        Side::Arguments => format!("{tool} arguments"),
        Side::Result => format!("{tool} result"),
    };
    let mut reader = Reader {
        root,
        tool,
        types,
        known: HashMap::new(),
        pending: VecDeque::new(),
        steps: 0,
    };
    let mut schema = root.clone();
    if let (Side::Arguments, Value::Object(members)) = (side, &root) {
        // Arguments are an object, whatever else is admitted.
        let object = Map::from_iter([("type".to_owned(), json!("object"))]);
        let reference = reference(members).is_some();
        if let Some(members) = both(members, &object).filter(|_| !reference) {
            schema = members.into();
        }
    } else if side == Side::Arguments {
        schema = json!({"type": "object"});
    }
    let id = reader.add(&words, &schema);
    reader.known.insert("#".to_owned(), id);
    reader.pending.push_back((id, schema));
    while let Some((id, schema)) = reader.pending.pop_front() {
        reader.define(id, &schema);
    }
    id
}

/// Reads one document.
pub(super) struct Reader<'a> {
    root: &'a Value,
    tool: &'a str,
    pub(super) types: &'a mut Vec<Type>,
    /// Types by where their schema stands, `#/…`, or by what it says.
    known: HashMap<String, usize>,
    /// Types that are still to be defined: not at once, for they may lead to each other in long chains.
    pending: VecDeque<(usize, Value)>,
    steps: usize,
}

/// What is left of a schema when its references and lists of schemas are followed.
enum Settled {
    Members(Map<String, Value>),
    /// It is that type.
    Type(usize),
    /// Nothing is admitted.
    Nothing,
}

impl Reader<'_> {
    fn add(&mut self, words: &str, schema: &Value) -> usize {
        self.types.push(Type {
            words: words.to_owned(),
            docs: docs(schema, false),
            kind: Kind::Alias(Shape::Any),
            passing: false,
        });
        self.types.len() - 1
    }

    fn define(&mut self, id: usize, schema: &Value) {
        let words = self.types.get(id).map(|it| it.words.clone());
        let kind = self.kind(schema, &words.unwrap_or_default());
        let loose = matches!(&kind, Kind::Alias(shape) if is_loose(shape, schema));
        if let Some(defined) = self.types.get_mut(id) {
            defined.kind = kind;
            defined.docs = docs(schema, loose);
        }
    }

    /// What stands in a place; `words` are for the name of a type that this takes.
    pub(super) fn shape(&mut self, schema: &Value, words: &str) -> Shape {
        let Value::Object(members) = schema else {
            return Shape::Any;
        };
        if let Some(id) = self.plain_reference(members) {
            return Shape::Named(id);
        }
        let merges = reference(members).is_some() || members.contains_key("allOf");
        if merges {
            let text = schema.to_string();
            if let Some(known) = self.known.get(&text) {
                return Shape::Named(*known);
            }
            let id = self.add(words, schema);
            if let Some(added) = self.types.get_mut(id) {
                added.passing = true;
            }
            self.known.insert(text, id);
            self.pending.push_back((id, schema.clone()));
            return Shape::Named(id);
        }
        match self.kind(schema, words) {
            Kind::Alias(shape) => shape,
            kind => self.named(kind, words, schema),
        }
    }

    pub(super) fn named(&mut self, kind: Kind, words: &str, schema: &Value) -> Shape {
        let id = self.add(words, schema);
        if let Some(added) = self.types.get_mut(id) {
            added.kind = kind;
        }
        Shape::Named(id)
    }

    /// The type that a schema refers to, where it does nothing else.
    fn plain_reference(&mut self, members: &Map<String, Value>) -> Option<usize> {
        let rest = |keyword: &str| !is_annotation(keyword);
        let mut keywords = members.keys().filter(|keyword| rest(keyword));
        let (only, None) = (keywords.next()?, keywords.next()) else {
            return None;
        };
        if only == "allOf" {
            let parts = members.get(only)?.as_array()?;
            let mut parts = parts.iter().filter(|part| !admits_all(part));
            let (Some(Value::Object(part)), None) = (parts.next(), parts.next()) else {
                return None;
            };
            return self.plain_reference(&part.clone());
        }
        let pointer = target(self.root, reference(members)?)?;
        let place = format!("#{pointer}");
        if let Some(known) = self.known.get(&place) {
            return Some(*known);
        }
        let schema = self.root.pointer(&pointer)?.clone();
        let last = pointer.rsplit('/').next().unwrap_or_default();
        let words = format!("{} {last}", self.tool);
        let id = self.add(&words, &schema);
        self.known.insert(place, id);
        self.pending.push_back((id, schema));
        Some(id)
    }

    fn kind(&mut self, schema: &Value, words: &str) -> Kind {
        self.steps += 1;
        let members = match schema {
            Value::Object(members) if self.steps <= STEPS_MAX => members.clone(),
            _ => return Kind::Alias(Shape::Any),
        };
        let members = match self.settled(members) {
            Settled::Members(members) => members,
            Settled::Type(id) => return Kind::Alias(Shape::Named(id)),
            Settled::Nothing => return Kind::Alias(Shape::Any),
        };
        if let Some(value) = members.get("const") {
            return self.literals(std::slice::from_ref(value), words);
        }
        if let Some(Value::Array(values)) = members.get("enum") {
            return self.literals(&values.clone(), words);
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(Value::Array(schemas)) = members.get(keyword) {
                let schemas = schemas.clone();
                let mut base = members;
                base.remove(keyword);
                return self.alternatives(base, &schemas, words);
            }
        }
        self.typed(&members, words)
    }

    /// Follows references, and merges what must all be so.
    fn settled(&mut self, mut members: Map<String, Value>) -> Settled {
        for _ in 0..SETTLE_MAX {
            if let Some(id) = self.plain_reference(&members) {
                return Settled::Type(id);
            }
            let Some(merged) = self.settled_once(&members) else {
                return Settled::Nothing;
            };
            if merged == members {
                break;
            }
            members = merged;
        }
        Settled::Members(members)
    }

    fn settled_once(&self, members: &Map<String, Value>) -> Option<Map<String, Value>> {
        let mut rest = members.clone();
        let mut parts = Vec::new();
        if let Some(reference) = reference(members) {
            let pointer = target(self.root, reference);
            parts.extend(pointer.and_then(|it| self.root.pointer(&it)).cloned());
            rest.remove("$ref");
            rest.remove("$dynamicRef");
        }
        if let Some(Value::Array(all)) = rest.remove("allOf") {
            // References among them are the next to be followed.
            parts.extend(all);
        }
        for part in parts {
            match part {
                Value::Object(part) if reference(&part).is_some() && reference(&rest).is_some() => {
                    // One at a time.
                    let more = rest.entry("allOf").or_insert_with(|| json!([]));
                    if let Value::Array(more) = more {
                        more.push(part.into());
                    }
                }
                Value::Object(part) => rest = both(&rest, &part)?,
                Value::Bool(false) => return None,
                _ => {}
            }
        }
        Some(rest)
    }

    /// One of these values.
    fn literals(&mut self, values: &[Value], words: &str) -> Kind {
        if values.iter().any(|it| it.is_array() || it.is_object()) {
            let schemas: Vec<Value> = values.iter().map(of_value).collect();
            return self.alternatives(Map::new(), &schemas, words);
        }
        let mut values = values.to_vec();
        let before = values.len();
        values.retain(|value| !value.is_null());
        let nullable = values.len() < before;
        let both = |value| values.contains(&Value::Bool(value));
        let kind = match values.len() {
            0 => return Kind::Alias(if nullable { Shape::Null } else { Shape::Any }),
            2 if both(true) && both(false) => Kind::Alias(Shape::Bool),
            _ => Kind::Literals(values),
        };
        self.nullable(kind, nullable, words)
    }

    fn nullable(&mut self, kind: Kind, nullable: bool, words: &str) -> Kind {
        match kind {
            kind if !nullable => kind,
            Kind::Alias(shape) => Kind::Alias(shape.or_null()),
            kind => Kind::Alias(self.named(kind, words, &Value::Null).or_null()),
        }
    }

    /// One of several schemas, `base` besides.
    fn alternatives(&mut self, base: Map<String, Value>, schemas: &[Value], words: &str) -> Kind {
        let based = says_shape(&base);
        if based && schemas.iter().all(bounds_only) {
            // No type says that.
            return self.kind(&base.into(), words);
        }
        let mut base = base;
        base.retain(|keyword, _| !is_annotation(keyword));
        let mut all = Vec::new();
        for (at, schema) in schemas.iter().enumerate() {
            let hint = Self::hint(schema, &base, at);
            let words = if schemas.len() == 1 {
                words.to_owned()
            } else {
                format!("{words} {hint}")
            };
            let shape = match schema {
                Value::Object(members) if based => {
                    let Some(members) = self.based(members, &base) else {
                        continue;
                    };
                    self.shape(&members.into(), &words)
                }
                Value::Bool(false) => continue,
                _ if based => self.shape(&base.clone().into(), &words),
                schema => self.shape(schema, &words),
            };
            all.push((shape, hint));
        }
        self.one_of(all, words)
    }

    /// An alternative with what is said beside all of them.
    fn based(
        &mut self,
        members: &Map<String, Value>,
        base: &Map<String, Value>,
    ) -> Option<Map<String, Value>> {
        let mut members = members.clone();
        for _ in 0..SETTLE_MAX {
            let merged = self.settled_once(&members)?;
            if merged == members {
                break;
            }
            members = merged;
        }
        both(&members, base)
    }

    /// What an alternative is called.
    pub(super) fn hint(schema: &Value, base: &Map<String, Value>, at: usize) -> String {
        let member = |name: &str| schema.get(name);
        let title = member("title").and_then(Value::as_str);
        if let Some(title) = title.filter(|it| it.chars().count() <= TITLE_CHARS_MAX) {
            return title.to_owned();
        }
        if let Some(reference) = member("$ref").and_then(Value::as_str) {
            return reference.rsplit('/').next().unwrap_or_default().to_owned();
        }
        if let Some(Value::Object(properties)) = member("properties") {
            let constant = |schema: &Value| match (schema.get("const"), schema.get("enum")) {
                (Some(value), _) => value.as_str().map(str::to_owned),
                (None, Some(Value::Array(values))) => match values.as_slice() {
                    [Value::String(value)] => Some(value.clone()),
                    _ => None,
                },
                _ => None,
            };
            if let Some(tag) = properties.values().find_map(constant) {
                return tag;
            }
        }
        if let (Some(Value::Array(names)), None) = (member("required"), member("properties")) {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            let words = format!("with {}", names.join(" "));
            if words.chars().count() <= TITLE_CHARS_MAX {
                return words;
            }
        }
        let kind = member("type").or_else(|| base.get("type"));
        match kind.and_then(Value::as_str) {
            Some("object") | None => format!("option {}", at + 1),
            Some("array") => "list".to_owned(),
            Some(kind) => kind.to_owned(),
        }
    }

    /// One of these shapes.
    pub(super) fn one_of(&mut self, all: Vec<(Shape, String)>, words: &str) -> Kind {
        let mut nullable = false;
        let mut alternatives: Vec<Alternative> = Vec::new();
        for (shape, words) in all {
            let shape = match shape {
                Shape::Any => return Kind::Alias(Shape::Any),
                Shape::Null => {
                    nullable = true;
                    continue;
                }
                Shape::Nullable(inner) => {
                    nullable = true;
                    *inner
                }
                other => other,
            };
            if alternatives.iter().all(|other| other.shape != shape) {
                let tags = Vec::new();
                alternatives.push(Alternative { shape, words, tags });
            }
        }
        if alternatives.iter().any(|it| it.shape == Shape::Number) {
            alternatives.retain(|it| !matches!(it.shape, Shape::Integer { .. }));
        }
        let kind = match (alternatives.len(), nullable) {
            (0, true) => return Kind::Alias(Shape::Null),
            (0, false) => return Kind::Alias(Shape::Any),
            (1, _) => Kind::Alias(alternatives.remove(0).shape),
            _ => Kind::Union(Union {
                alternatives,
                tag: None,
            }),
        };
        self.nullable(kind, nullable, words)
    }
}

/// A schema that admits that value only, where it is a list or an object.
fn of_value(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let constant = |(name, value): (&String, &Value)| (name.clone(), of_value(value));
            let names: Vec<&String> = members.keys().collect();
            json!({
                "type": "object", "required": names, "additionalProperties": false,
                "properties": members.iter().map(constant).collect::<Map<_, _>>(),
            })
        }
        Value::Array(items) if !items.is_empty() => {
            let all: Vec<Value> = items.iter().map(of_value).collect();
            json!({"type": "array", "prefixItems": all, "items": false, "minItems": items.len()})
        }
        Value::Array(_) => json!({"type": "array", "items": false}),
        value => json!({ "const": value }),
    }
}
