//! Python's names for what is no object. They are types when the module is loaded, and not texts, so that
//! `typing.get_type_hints` makes types of the members that have them. Hence they come in the order in which they need
//! each other; one that leads back to itself has its name in quotes, and that in brackets.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    python_writer::{Writer, docstring, is_long, is_whole, literal},
    shape::{Kind, Shape},
    text::called,
};

impl Writer<'_> {
    /// All other names of types, behind the classes.
    pub(super) fn aliases(&self, ids: &[usize]) -> String {
        let mut out = String::new();
        let mut defined: HashSet<usize> = ids
            .iter()
            .copied()
            .filter(|id| !self.is_alias(*id))
            .collect();
        // What stands further down in a contract is needed by what stands above.
        for id in ids.iter().rev() {
            self.alias(*id, &mut defined, &mut out);
        }
        out
    }

    /// Whether a type gets a name of its own, and no class.
    fn is_alias(&self, id: usize) -> bool {
        match self.model.kind(id) {
            None | Some(Kind::Object(_)) => false,
            Some(Kind::Literals(_)) => self.constant(id).is_none() || self.is_root(id),
            Some(_) => true,
        }
    }

    fn alias(&self, id: usize, defined: &mut HashSet<usize>, out: &mut String) {
        let mut open = vec![(id, false)];
        let mut begun = HashSet::new();
        while let Some((id, ready)) = open.pop() {
            if ready {
                if defined.insert(id) {
                    out.push_str(&self.definition(id, defined));
                }
            } else if !defined.contains(&id) && begun.insert(id) {
                open.push((id, true));
                let shapes = self.model.kind(id).into_iter().flat_map(Kind::shapes);
                open.extend(shapes.filter_map(directly).map(|id| (id, false)));
            }
        }
    }

    /// The value of a shape that has but one, and no name of its own.
    fn value(&self, shape: &Shape) -> Option<&Value> {
        match shape {
            Shape::Named(id) if !self.is_root(*id) => self.constant(*id),
            _ => None,
        }
    }

    fn definition(&self, id: usize, defined: &HashSet<usize>) -> String {
        let (Some(named), name) = (self.model.types.get(id), self.name(id)) else {
            return String::new();
        };
        let head = format!("{name}: TypeAlias = ");
        // Its own name is there when the line is done.
        let known = |other: usize| other != id && defined.contains(&other);
        let before = head.chars().count();
        let text = match &named.kind {
            Kind::Literals(values) => {
                let (items, wider) = listed_literals(values);
                let wider = wider.map(|wider| format!(" | {wider}"));
                let close = format!("]{}", wider.unwrap_or_default());
                match items.as_slice() {
                    [] => literals(values),
                    items => called(("Literal[", &close), items, (before, 0), (0, 4)),
                }
            }
            Kind::Union(union) => {
                let mut values = Vec::new();
                let mut others = Vec::new();
                for it in &union.alternatives {
                    match self.value(&it.shape) {
                        Some(value) => values.push(value.clone()),
                        None => others.push(self.text(&it.shape, &known)),
                    }
                }
                let values = (!values.is_empty()).then(|| literals(&values));
                alternatives(values.into_iter().chain(others), before)
            }
            Kind::Alias(shape) => self.text(shape, &known),
            Kind::Object(_) => return String::new(),
        };
        format!("\n\n{head}{text}\n{}", docstring(&named.docs, ""))
    }
}

/// The type that must be there before a shape can be written.
fn directly(shape: &Shape) -> Option<usize> {
    match shape {
        Shape::Named(id) => Some(*id),
        Shape::Nullable(inner) => directly(inner),
        _ => None,
    }
}

/// One of these types, each once: on one line, or on a line each.
fn alternatives(types: impl Iterator<Item = String>, before: usize) -> String {
    let mut all: Vec<String> = Vec::new();
    for one in types {
        // Literals may bring a wider type with them, which another one may be as well.
        let (head, tail) = match one.rsplit_once(" | ") {
            Some((head, wider @ ("int" | "float"))) => (head.to_owned(), Some(wider.to_owned())),
            _ => (one, None),
        };
        for one in std::iter::once(head).chain(tail) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    let one = all.join(" | ");
    if before + one.chars().count() <= super::text::WIDTH {
        return one;
    }
    format!("(\n    {}\n)", all.join("\n    | "))
}

/// A type that has these values, as an annotation.
pub(super) fn literals(values: &[Value]) -> String {
    // In an annotation mypy reads the number behind the sign for itself.
    let is_least = |it: &Value| it.as_i64() == Some(i64::MIN);
    let (items, wider) = match values {
        [value] if is_least(value) => (Vec::new(), Some("int")),
        values => listed_literals(values),
    };
    let literal = (!items.is_empty()).then(|| format!("Literal[{}]", items.join(", ")));
    let wider = wider.map(str::to_owned);
    let all: Vec<String> = literal.into_iter().chain(wider).collect();
    all.join(" | ")
}

/// The values that can be literals, and a type for those that cannot: fractions, and numbers beyond what type checkers
/// take as a literal, which is 64 bits.
fn listed_literals(values: &[Value]) -> (Vec<String>, Option<&'static str>) {
    let is_literal = |it: &&Value| !it.is_number() || it.as_i64().is_some() || is_short(it);
    let mut items: Vec<String> = Vec::new();
    for item in values.iter().filter(is_literal).map(literal) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    let wider = match values.iter().filter(|it| !is_literal(it)).count() {
        0 => None,
        _ if values
            .iter()
            .all(|it| !it.is_number() || is_whole(it) && !is_long(it)) =>
        {
            Some("int")
        }
        _ => Some("float"),
    };
    (items, wider)
}

/// Whether a number that is written with a fraction or an exponent is an integer of 64 bits.
fn is_short(value: &Value) -> bool {
    // 2^63, exactly.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    is_whole(value) && value.is_f64() && value.as_f64().is_some_and(|it| it.abs() < BOUND)
}
