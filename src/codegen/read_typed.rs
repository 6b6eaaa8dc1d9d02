//! Shapes of lists and objects: of schemas whose references and alternatives are settled.

use serde_json::{Map, Value};

use super::{
    docs::{docs, is_loose},
    read::Reader,
    schema::admits_all,
    shape::{Field, Kind, Object, Others, Shape, TUPLE_ITEMS_MAX},
};

/// Lengths that a tuple may have; beyond that it is a list. Each is an alternative in code.
const TUPLE_LENGTHS_MAX: usize = 8;

impl Reader<'_> {
    /// By what `type` says, or else by what is said of members and items.
    pub(super) fn typed(&mut self, members: &Map<String, Value>, words: &str) -> Kind {
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
            _ if has(&["items", "prefixItems", "unevaluatedItems"]) => vec!["array".to_owned()],
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
            "array" => return self.list(members, words),
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
        let loose = schema.is_some_and(|schema| is_loose(&shape, schema));
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
            docs: schema.map(|schema| docs(schema, loose)).unwrap_or_default(),
        }
    }

    /// What members may there be that `properties` does not name?
    fn others(&mut self, members: &Map<String, Value>, words: &str) -> Others {
        let words = format!("{words} value");
        let rest = members
            .get("additionalProperties")
            .or_else(|| unevaluated(members, "unevaluatedProperties"));
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
            let hint = Self::hint(schema, &Map::new(), at);
            (self.shape(schema, &format!("{words} {hint}")), hint)
        });
        let all = all.collect();
        match self.one_of(all, words) {
            Kind::Alias(shape) => shape,
            kind => self.named(kind, words, &Value::Null),
        }
    }

    fn list(&mut self, members: &Map<String, Value>, words: &str) -> Kind {
        let item_words = format!("{words} item");
        let items = members
            .get("items")
            .or_else(|| unevaluated(members, "unevaluatedItems"));
        let Some(Value::Array(prefix)) = members.get("prefixItems").filter(|it| !is_empty(it))
        else {
            let item = items.map_or(Shape::Any, |items| self.shape(items, &item_words));
            return Kind::Alias(Shape::List(Box::new(item)));
        };
        let bound = |keyword: &str| {
            let bound = members.get(keyword)?.as_u64()?;
            Some(usize::try_from(bound).unwrap_or(usize::MAX))
        };
        let most = bound("maxItems").unwrap_or(usize::MAX).min(prefix.len());
        let closed = items == Some(&Value::Bool(false))
            || bound("maxItems").is_some_and(|it| it <= prefix.len());
        let least = bound("minItems").unwrap_or_default().min(most);
        if closed && most - least < TUPLE_LENGTHS_MAX {
            let items = prefix.iter().take(most).enumerate();
            let shape = |(at, item)| self.shape(item, &format!("{item_words} {}", at + 1));
            let items: Vec<Shape> = items.map(shape).collect();
            return self.tuples(&items, least, words);
        }
        let mut all: Vec<&Value> = prefix.iter().collect();
        match items {
            Some(Value::Bool(false)) => {}
            Some(items) => all.push(items),
            None if closed => {}
            None => return Kind::Alias(Shape::List(Box::new(Shape::Any))),
        }
        Kind::Alias(Shape::List(Box::new(self.any_of(&all, &item_words))))
    }

    /// The first `least` of these items at least, and then as many more as are wanted: a tuple of each length.
    fn tuples(&mut self, items: &[Shape], least: usize, words: &str) -> Kind {
        let lengths = (least..=items.len()).filter_map(|length| {
            let tuple = Shape::Tuple(items.get(..length)?.to_vec());
            if length <= TUPLE_ITEMS_MAX {
                return Some((tuple, format!("of {length}")));
            }
            let words = format!("{words} tuple");
            let named = self.named(Kind::Alias(tuple), &words, &Value::Null);
            Some((named, format!("of {length}")))
        });
        let lengths = lengths.collect();
        self.one_of(lengths, words)
    }
}

/// What is said of members or items that nothing else names: not known where what stands beside it may name some.
fn unevaluated<'a>(members: &'a Map<String, Value>, keyword: &str) -> Option<&'a Value> {
    let beside = ["if", "dependentSchemas", "contains"];
    let known = !beside.iter().any(|it| members.contains_key(*it));
    members.get(keyword).filter(|_| known)
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}
