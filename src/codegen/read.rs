//! From schemas to shapes. What no type can say is said by the widest one that admits it.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::{
    docs::docs,
    schema::{admits_all, both, is_annotation, reference, target},
    shape::{Alternative, Field, Kind, Object, Others, Shape, Type, Union},
};

/// Schemas of one document that are looked at, those that are merged again and again among them; what comes later is
/// anything. A short schema may say very much.
const STEPS_MAX: usize = 20_000;
/// References and lists of schemas that are followed to settle one schema. A registry takes no longer chains.
const SETTLE_MAX: usize = 64;
/// Longest title, in characters, that names an alternative.
const TITLE_CHARS_MAX: usize = 32;

/// Keywords that say of which shape a value is.
const STRUCTURE: &[&str] = &[
    "type",
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "items",
    "prefixItems",
    "enum",
    "const",
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
];

/// Which way values of a schema go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// To the tool. A type may admit less than the schema does.
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
        side,
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

struct Reader<'a> {
    root: &'a Value,
    side: Side,
    tool: &'a str,
    types: &'a mut Vec<Type>,
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
        let any = matches!(kind, Kind::Alias(Shape::Any));
        if let Some(defined) = self.types.get_mut(id) {
            defined.kind = kind;
            defined.docs = docs(schema, any);
        }
    }

    /// What stands in a place; `words` are for the name of a type that this takes.
    fn shape(&mut self, schema: &Value, words: &str) -> Shape {
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

    fn named(&mut self, kind: Kind, words: &str, schema: &Value) -> Shape {
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
        let says = |members: &Map<String, Value>| {
            members
                .keys()
                .any(|keyword| STRUCTURE.contains(&keyword.as_str()))
        };
        let based = says(&base);
        let bare = |schema: &Value| !schema.as_object().is_some_and(says);
        if based && schemas.iter().all(bare) {
            // They tell which members there are together: no type says that.
            return self.kind(&base.into(), words);
        }
        let mut base = base;
        base.retain(|keyword, _| !is_annotation(keyword));
        let mut all = Vec::new();
        for (at, schema) in schemas.iter().enumerate() {
            let hint = self.hint(schema, &base, at);
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
    fn hint(&self, schema: &Value, base: &Map<String, Value>, at: usize) -> String {
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
        let kind = member("type").or_else(|| base.get("type"));
        match kind.and_then(Value::as_str) {
            Some("object") | None => format!("option {}", at + 1),
            Some("array") => "list".to_owned(),
            Some(kind) => kind.to_owned(),
        }
    }

    /// One of these shapes.
    fn one_of(&mut self, all: Vec<(Shape, String)>, words: &str) -> Kind {
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

    fn typed(&mut self, members: &Map<String, Value>, words: &str) -> Kind {
        let has = |keywords: &[&str]| keywords.iter().any(|it| members.contains_key(*it));
        let kinds: Vec<String> = match members.get("type") {
            Some(Value::String(kind)) => vec![kind.clone()],
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                kinds.map(str::to_owned).collect()
            }
            // Whoever names members means an object.
            _ if has(&[
                "properties",
                "required",
                "additionalProperties",
                "patternProperties",
            ]) =>
            {
                vec!["object".to_owned()]
            }
            _ if has(&["items", "prefixItems"]) => vec!["array".to_owned()],
            _ => return Kind::Alias(Shape::Any),
        };
        if let [kind] = kinds.as_slice() {
            return self.of_type(kind, members, words);
        }
        let all = kinds.iter().map(|kind| {
            let words = format!("{words} {kind}");
            let shape = match self.of_type(kind, members, &words) {
                Kind::Alias(shape) => shape,
                other => self.named(other, &words, &Value::Null),
            };
            (shape, kind.clone())
        });
        let all = all.collect();
        self.one_of(all, words)
    }

    fn of_type(&mut self, kind: &str, members: &Map<String, Value>, words: &str) -> Kind {
        let minimum = ["minimum", "exclusiveMinimum"].map(|it| members.get(it)?.as_f64());
        Kind::Alias(match kind {
            "object" => return self.object(members, words),
            "array" => self.list(members, words),
            "string" => Shape::Text,
            "integer" => Shape::Integer {
                unsigned: minimum.iter().flatten().any(|it| *it >= 0.0),
            },
            "number" => Shape::Number,
            "boolean" => Shape::Bool,
            "null" => Shape::Null,
            _ => Shape::Any,
        })
    }

    fn object(&mut self, members: &Map<String, Value>, words: &str) -> Kind {
        let none = Map::new();
        let properties = match members.get("properties") {
            Some(Value::Object(properties)) => properties,
            _ => &none,
        };
        let required: Vec<&str> = match members.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let others = self.others(members, words);
        if properties.is_empty() && required.is_empty() {
            match others {
                Others::Ignored => return Kind::Alias(Shape::Map(Box::new(Shape::Any))),
                Others::Typed(shape) => return Kind::Alias(Shape::Map(Box::new(shape))),
                Others::Refused => {}
            }
        }
        let mut fields = Vec::new();
        for name in &required {
            let schema = properties.get(*name);
            let words = format!("{words} {name}");
            let shape = match (schema, &others) {
                (Some(schema), _) => self.shape(schema, &words),
                (None, Others::Typed(shape)) => shape.clone(),
                (None, _) => Shape::Any,
            };
            fields.push(self.field(name, (shape, &words), true, schema));
        }
        for (name, schema) in properties {
            if !required.contains(&name.as_str()) && schema != &Value::Bool(false) {
                let words = format!("{words} {name}");
                let shape = self.shape(schema, &words);
                fields.push(self.field(name, (shape, &words), false, Some(schema)));
            }
        }
        Kind::Object(Object { fields, others })
    }

    fn field(
        &mut self,
        name: &str,
        (shape, words): (Shape, &str),
        required: bool,
        schema: Option<&Value>,
    ) -> Field {
        let any = shape == Shape::Any;
        // A type of its own would tell the same again.
        let own = match &shape {
            Shape::Nullable(inner) => inner.as_ref(),
            shape => shape,
        };
        if let Shape::Named(id) = own
            && let Some(named) = self.types.get_mut(*id)
            && named.words == words
        {
            named.docs.clear();
        }
        Field {
            name: name.to_owned(),
            shape,
            required,
            docs: schema.map(|schema| docs(schema, any)).unwrap_or_default(),
        }
    }

    /// What members may there be that `properties` does not name?
    fn others(&mut self, members: &Map<String, Value>, words: &str) -> Others {
        let words = format!("{words} value");
        let said = ["additionalProperties", "unevaluatedProperties"];
        let rest = said.iter().find_map(|keyword| members.get(*keyword));
        let patterns = match members.get("patternProperties") {
            Some(Value::Object(patterns)) if !patterns.is_empty() => patterns,
            _ => {
                return match rest {
                    Some(Value::Bool(false)) => Others::Refused,
                    Some(schema) if !admits_all(schema) => {
                        Others::Typed(self.shape(schema, &words))
                    }
                    _ => Others::Ignored,
                };
            }
        };
        let mut all: Vec<&Value> = patterns.values().collect();
        match rest {
            Some(Value::Bool(false)) => {}
            Some(schema) if !admits_all(schema) => all.push(schema),
            _ => return Others::Ignored,
        }
        Others::Typed(self.any_of(&all, &words))
    }

    /// What any of these schemas admits.
    fn any_of(&mut self, schemas: &[&Value], words: &str) -> Shape {
        let all = schemas.iter().enumerate().map(|(at, schema)| {
            let hint = self.hint(schema, &Map::new(), at);
            (self.shape(schema, &format!("{words} {hint}")), hint)
        });
        let all = all.collect();
        match self.one_of(all, words) {
            Kind::Alias(shape) => shape,
            kind => self.named(kind, words, &Value::Null),
        }
    }

    fn list(&mut self, members: &Map<String, Value>, words: &str) -> Shape {
        let words = format!("{words} item");
        let items = members.get("items");
        let Some(Value::Array(prefix)) = members.get("prefixItems").filter(|it| !is_empty(it))
        else {
            let item = items.map_or(Shape::Any, |items| self.shape(items, &words));
            return Shape::List(Box::new(item));
        };
        let bound = |keyword: &str| members.get(keyword).and_then(Value::as_u64);
        let length = u64::try_from(prefix.len()).unwrap_or(u64::MAX);
        let closed =
            items == Some(&Value::Bool(false)) || bound("maxItems").is_some_and(|it| it <= length);
        // A shorter list is admitted where its length is not said. Nobody has to send one.
        let whole =
            bound("minItems").is_some_and(|it| it >= length) || self.side == Side::Arguments;
        if closed && whole {
            let items = prefix.iter().enumerate();
            let shape = |(at, item)| self.shape(item, &format!("{words} {}", at + 1));
            return Shape::Tuple(items.map(shape).collect());
        }
        let mut all: Vec<&Value> = prefix.iter().collect();
        match items {
            Some(Value::Bool(false)) => {}
            Some(items) => all.push(items),
            None if closed => {}
            None => return Shape::List(Box::new(Shape::Any)),
        }
        Shape::List(Box::new(self.any_of(&all, &words)))
    }
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
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
