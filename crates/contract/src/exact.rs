//! Values with exact numbers, as `jsonschema` looks at them. Its own comparisons know 64 bits, so the keywords that compare
//! numbers are here.

use std::{borrow::Cow, cmp::Ordering, fmt::Write as _, ptr};

use jsonschema::{
    JsonType, Keyword, ValidationError, ValidationOptions,
    json::{self, Array, Json, JsonNumber, NodeIdentity, Object, SerdeJson, cmp},
};
use serde_json::{Map, Number, Value, map};

use onex_protocol::json::{Decimal, Document, Exact};

/// How [`Document`]s are looked at.
pub(super) struct Documents;

/// A value to be checked: a document, or a part of one.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    value: &'a Value,
    exact: Option<&'a Exact>,
}

/// A number in a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeral<'a> {
    nearest: &'a Number,
    exact: Option<&'a str>,
}

#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    members: &'a Map<String, Value>,
    exact: Option<&'a Exact>,
}

#[derive(Clone, Copy)]
pub(super) struct Items<'a> {
    items: &'a [Value],
    exact: Option<&'a Exact>,
}

pub(super) struct EachMember<'a>(map::Iter<'a>, Option<&'a Exact>);

pub(super) struct EachItem<'a>(
    std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    Option<&'a Exact>,
);

impl<'a> From<&'a Document> for Node<'a> {
    fn from(document: &'a Document) -> Self {
        Self {
            value: &document.value,
            exact: document.exact.as_ref(),
        }
    }
}

impl<'a> From<&'a Value> for Node<'a> {
    fn from(value: &'a Value) -> Self {
        Self { value, exact: None }
    }
}

impl<'a> Node<'a> {
    pub(super) fn value(self) -> &'a Value {
        self.value
    }

    /// Whether it has numbers that a value would round: looking at one takes as long as looking at several others.
    pub(super) fn has_long_numbers(self) -> bool {
        self.exact.is_some()
    }

    /// The number at a JSON Pointer as it is written, where a value would round it.
    pub(super) fn number_at(self, pointer: &str) -> Option<&'a str> {
        let mut parts = pointer.split('/').skip(1);
        let there = parts.try_fold(self.exact?, |exact, part| match exact {
            Exact::Items(_) => exact.item(part.parse().ok()?),
            _ => exact.member(&part.replace("~1", "/").replace("~0", "~")),
        });
        there?.number()
    }

    fn item(value: &'a Value, exact: Option<&'a Exact>, index: usize) -> Self {
        let exact = exact.and_then(|exact| exact.item(index));
        Self { value, exact }
    }

    fn member(value: &'a Value, exact: Option<&'a Exact>, name: &str) -> Self {
        let exact = exact.and_then(|exact| exact.member(name));
        Self { value, exact }
    }
}

impl Json for Documents {
    type Node<'a> = Node<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(Node<'_>) -> T) -> T {
        SerdeJson::with_string_node(buffer, string, |value| f(Node { value, exact: None }))
    }
}

impl<'a> json::Node<'a, Documents> for Node<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = Numeral<'a>;

    fn as_object(&self) -> Option<Members<'a>> {
        let (members, exact) = (self.value.as_object()?, self.exact);
        Some(Members { members, exact })
    }

    fn as_array(&self) -> Option<Items<'a>> {
        let (items, exact) = (self.value.as_array()?, self.exact);
        Some(Items { items, exact })
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        self.value.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<Numeral<'a>> {
        let Value::Number(nearest) = self.value else {
            return None;
        };
        let exact = self.exact.and_then(Exact::number);
        Some(Numeral { nearest, exact })
    }

    fn as_boolean(&self) -> Option<bool> {
        self.value.as_bool()
    }

    fn is_null(&self) -> bool {
        self.value.is_null()
    }

    fn json_type(&self) -> JsonType {
        json::Node::<SerdeJson>::json_type(&self.value)
    }

    /// No number of a schema is one that has no room in a [`Number`].
    fn equals_value(&self, expected: &Value) -> bool {
        self.exact.is_none() && cmp::equal(self.value, expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Borrowed(self.value)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(ptr::from_ref(self.value).addr()))
    }
}

impl<'a> Object<'a, Documents> for Members<'a> {
    type Node = Node<'a>;
    type MemberName = &'a str;
    type MembersIter = EachMember<'a>;

    fn len(&self) -> usize {
        self.members.len()
    }

    fn get(&self, key: &String) -> Option<Node<'a>> {
        let value = self.members.get(key)?;
        Some(Node::member(value, self.exact, key))
    }

    fn members(&self) -> EachMember<'a> {
        EachMember(self.members.iter(), self.exact)
    }
}

impl<'a> Iterator for EachMember<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        Some((name, Node::member(value, self.1, name)))
    }
}

impl<'a> Array<'a, Documents> for Items<'a> {
    type Node = Node<'a>;
    type ElementsIter = EachItem<'a>;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn elements(&self) -> EachItem<'a> {
        EachItem(self.items.iter().enumerate(), self.exact)
    }
}

impl<'a> Iterator for EachItem<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let (index, value) = self.0.next()?;
        Some(Node::item(value, self.1, index))
    }
}

/// Writes a value so that equal ones, by JSON Schema, are written alike.
pub(super) fn write(node: Node<'_>, out: &mut String) {
    let Node { value, exact } = node;
    // Writing to a string does not fail.
    let _ = match value {
        Value::Number(nearest) => {
            let exact = exact.and_then(Exact::number);
            let number = Numeral { nearest, exact };
            match number.as_i64() {
                Some(number) => write!(out, "{number}"),
                None => write!(out, "{}", number.decimal()),
            }
        }
        Value::Array(items) => {
            out.push('[');
            for item in EachItem(items.iter().enumerate(), exact) {
                write(item, out);
                out.push(',');
            }
            write!(out, "]")
        }
        Value::Object(members) => {
            out.push('{');
            for (name, member) in EachMember(members.iter(), exact) {
                let _ = write!(out, "{}:", Value::from(name));
                write(member, out);
                out.push(',');
            }
            write!(out, "}}")
        }
        other => write!(out, "{other}"),
    };
}

impl Numeral<'_> {
    fn decimal(&self) -> Decimal {
        Decimal::parse(&self.as_str())
    }
}

/// One that has no room in a [`Number`] is none of these: it equals no number of a schema.
impl JsonNumber for Numeral<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.nearest.as_u64().filter(|_| self.exact.is_none())
    }

    fn as_i64(&self) -> Option<i64> {
        self.nearest.as_i64().filter(|_| self.exact.is_none())
    }

    fn as_f64(&self) -> Option<f64> {
        self.nearest.as_f64().filter(|_| self.exact.is_none())
    }

    fn as_str(&self) -> Cow<'_, str> {
        match self.exact {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.nearest.to_string()),
        }
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Borrowed(self.nearest)
    }

    fn is_integer(&self) -> bool {
        match self.exact {
            Some(text) => Decimal::parse(text).is_whole(),
            None => self.nearest.is_integer(),
        }
    }
}

/// A keyword that compares a number with its own.
struct Compared {
    limit: Number,
    exactly: Decimal,
    rule: Rule,
}

#[derive(Clone, Copy)]
enum Rule {
    Minimum,
    Maximum,
    Above,
    Below,
    MultipleOf,
}

impl Rule {
    const ALL: [(&'static str, Self); 5] = [
        ("minimum", Self::Minimum),
        ("maximum", Self::Maximum),
        ("exclusiveMinimum", Self::Above),
        ("exclusiveMaximum", Self::Below),
        ("multipleOf", Self::MultipleOf),
    ];

    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Minimum => order.is_ge(),
            Self::Maximum => order.is_le(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
            Self::MultipleOf => true,
        }
    }

    fn broken(self) -> &'static str {
        match self {
            Self::Minimum => "is less than the minimum of",
            Self::Maximum => "is greater than the maximum of",
            Self::Above => "is less than or equal to the minimum of",
            Self::Below => "is greater than or equal to the maximum of",
            Self::MultipleOf => "is not a multiple of",
        }
    }
}

impl<'i> Keyword<'i, Documents> for Compared {
    fn validate(&self, node: Node<'i>) -> Result<(), ValidationError<'i>> {
        match json::Node::as_number(&node) {
            Some(number) if !self.admits(number) => {
                let (number, limit) = (number.as_str(), &self.limit);
                let message = format!("{number} {} {limit}", self.rule.broken());
                Err(ValidationError::custom(message))
            }
            _ => Ok(()),
        }
    }

    fn is_valid(&self, node: Node<'i>) -> bool {
        json::Node::as_number(&node).is_none_or(|number| self.admits(number))
    }
}

impl Compared {
    fn admits(&self, number: Numeral<'_>) -> bool {
        if let Rule::MultipleOf = self.rule {
            return number.decimal().is_multiple_of(&self.exactly);
        }
        let order = match (number.as_i64(), self.limit.as_i64()) {
            (Some(number), Some(limit)) => number.cmp(&limit),
            _ => number.decimal().cmp(&self.exactly),
        };
        self.rule.admits(order)
    }
}

/// With the keywords that compare numbers.
pub(super) fn with_exact_numbers<R>(
    options: ValidationOptions<'_, R, Documents>,
) -> ValidationOptions<'_, R, Documents> {
    Rule::ALL
        .into_iter()
        .fold(options, |options, (name, rule)| {
            options.with_keyword(name, move |_, limit, path| match limit {
                Value::Number(limit) => Ok(Box::new(Compared {
                    limit: limit.clone(),
                    exactly: Decimal::of(limit),
                    rule,
                })),
                // The meta-schema has refused it before.
                _ => Err(ValidationError::custom(format!("{path} must be a number"))),
            })
        })
}
