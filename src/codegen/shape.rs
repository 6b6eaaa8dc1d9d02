//! What generated code is made of, before any language has its say.

use std::collections::HashSet;

use serde_json::Value;

/// Items of a tuple beyond which it has a name: Rust does not compare more of them.
pub(super) const TUPLE_ITEMS_MAX: usize = 12;

/// Tools, and all types that they need.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) tools: Vec<ToolShape>,
    /// What [`Shape::Named`] points into.
    pub(super) types: Vec<Type>,
}

/// A tool that is called.
#[derive(Debug)]
pub(super) struct ToolShape {
    /// As the registry knows it.
    pub(super) name: String,
    /// Where there are several contracts of it.
    pub(super) version: Option<String>,
    pub(super) hash: String,
    /// What its names in code are made of.
    pub(super) words: String,
    /// What is told of it, a paragraph each.
    pub(super) docs: Vec<String>,
    /// Which type its arguments have.
    pub(super) arguments: usize,
    /// Which type its result has.
    pub(super) result: usize,
}

/// A type with a name.
#[derive(Debug)]
pub(super) struct Type {
    /// What its name is made of.
    pub(super) words: String,
    /// What is told of it, a paragraph each.
    pub(super) docs: Vec<String>,
    pub(super) kind: Kind,
    /// Whether it needs no name where it turns out to be but another name.
    pub(super) passing: bool,
}

/// What a type with a name is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Object(Object),
    /// One of these, none of them a list or an object; at least one.
    Literals(Vec<Value>),
    Union(Union),
    /// Another name for it.
    Alias(Shape),
}

/// An object with named members.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// Those that must be there first.
    pub(super) fields: Vec<Field>,
    pub(super) others: Others,
}

/// Members that are not named.
#[derive(Debug, Clone)]
pub(super) enum Others {
    /// There may be any, and nobody cares.
    Ignored,
    /// There must be none.
    Refused,
    /// They are of that shape.
    Typed(Shape),
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// On the wire.
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Whether it must be there.
    pub(super) required: bool,
    /// What is told of it, a paragraph each.
    pub(super) docs: Vec<String>,
}

/// One of several.
#[derive(Debug, Clone)]
pub(super) struct Union {
    /// At least two, those that say more before those that would admit the same value.
    pub(super) alternatives: Vec<Alternative>,
    /// The member that tells which it is, where one does.
    pub(super) tag: Option<String>,
}

/// One of those.
#[derive(Debug, Clone)]
pub(super) struct Alternative {
    pub(super) shape: Shape,
    /// What its name is made of, where it needs one.
    pub(super) words: String,
    /// The values of the tag that mean this one.
    pub(super) tags: Vec<Value>,
}

/// What stands in a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Anything; the contract says no more, or no type can say it.
    Any,
    Null,
    Bool,
    /// A whole number; whether it is never below zero.
    Integer {
        unsigned: bool,
    },
    Number,
    Text,
    List(Box<Shape>),
    /// Names to values.
    Map(Box<Shape>),
    Tuple(Vec<Shape>),
    /// That, or null.
    Nullable(Box<Shape>),
    /// One of [`Model::types`].
    Named(usize),
}

impl Shape {
    /// That, or null.
    pub(super) fn or_null(self) -> Self {
        match self {
            Self::Any | Self::Null | Self::Nullable(_) => self,
            other => Self::Nullable(Box::new(other)),
        }
    }

    /// The types that it holds without a list or map between, and those that it holds at all.
    pub(super) fn named(&self, held: &mut dyn FnMut(usize, bool)) {
        self.walk(true, held);
    }

    /// Puts what `with` says in the place of each type that it holds.
    pub(super) fn replace(&mut self, with: &dyn Fn(usize) -> Shape) {
        match self {
            Self::Named(id) => *self = with(*id),
            Self::Nullable(inner) => {
                inner.replace(with);
                *self = inner.as_ref().clone().or_null();
            }
            Self::List(inner) | Self::Map(inner) => inner.replace(with),
            Self::Tuple(items) => items.iter_mut().for_each(|item| item.replace(with)),
            _ => {}
        }
    }

    fn walk(&self, inline: bool, held: &mut dyn FnMut(usize, bool)) {
        match self {
            Self::Named(id) => held(*id, inline),
            Self::Nullable(inner) => inner.walk(inline, held),
            Self::List(inner) | Self::Map(inner) => inner.walk(false, held),
            Self::Tuple(items) => items.iter().for_each(|item| item.walk(inline, held)),
            _ => {}
        }
    }
}

impl Kind {
    /// The same for writing.
    pub(super) fn shapes_mut(&mut self) -> Vec<&mut Shape> {
        match self {
            Self::Object(object) => {
                let fields = object.fields.iter_mut().map(|field| &mut field.shape);
                let others = match &mut object.others {
                    Others::Typed(shape) => Some(shape),
                    _ => None,
                };
                fields.chain(others).collect()
            }
            Self::Literals(_) => Vec::new(),
            Self::Union(union) => {
                let all = union.alternatives.iter_mut();
                all.map(|it| &mut it.shape).collect()
            }
            Self::Alias(shape) => vec![shape],
        }
    }

    /// The shapes in it, in their order.
    pub(super) fn shapes(&self) -> Vec<&Shape> {
        match self {
            Self::Object(object) => {
                let fields = object.fields.iter().map(|field| &field.shape);
                let others = match &object.others {
                    Others::Typed(shape) => Some(shape),
                    _ => None,
                };
                fields.chain(others).collect()
            }
            Self::Literals(_) => Vec::new(),
            Self::Union(union) => union.alternatives.iter().map(|it| &it.shape).collect(),
            Self::Alias(shape) => vec![shape],
        }
    }
}

impl Model {
    /// The types that tools need, each once: a tool's arguments, all that is in them, then its result. And whose they are.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = vec![false; self.types.len()];
        for tool in &self.tools {
            for root in [tool.arguments, tool.result] {
                self.visit(root, &mut seen, &mut order);
            }
        }
        order
    }

    /// Of all types, whether one of these needs it.
    pub(super) fn reached(&self, roots: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut seen = vec![false; self.types.len()];
        for root in roots {
            self.visit(root, &mut seen, &mut Vec::new());
        }
        seen
    }

    fn visit(&self, root: usize, seen: &mut [bool], order: &mut Vec<usize>) {
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            let (Some(seen), Some(found)) = (seen.get_mut(id), self.types.get(id)) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            order.push(id);
            let mut below = Vec::new();
            for shape in found.kind.shapes() {
                shape.named(&mut |id, _| below.push(id));
            }
            open.extend(below.into_iter().rev());
        }
    }

    /// The kind of a type.
    pub(super) fn kind(&self, id: usize) -> Option<&Kind> {
        self.types.get(id).map(|found| &found.kind)
    }

    /// Whether null is a value of that shape, by whatever name.
    pub(super) fn is_nullable(&self, shape: &Shape) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![shape];
        while let Some(shape) = open.pop() {
            match shape {
                Shape::Any | Shape::Null | Shape::Nullable(_) => return true,
                Shape::Named(id) if seen.insert(*id) => {
                    if let Some(kind @ (Kind::Alias(_) | Kind::Union(_))) = self.kind(*id) {
                        open.extend(kind.shapes());
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Whether `from` holds `to` at last, without a list or map between, nor an object unless these count.
    pub(super) fn leads(&self, from: usize, to: usize, objects: bool) -> bool {
        let mut seen = vec![false; self.types.len()];
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            let Some(mark) = seen.get_mut(id) else {
                continue;
            };
            if std::mem::replace(mark, true) {
                continue;
            }
            let between = |kind: &&Kind| objects || !matches!(kind, Kind::Object(_));
            for shape in self
                .kind(id)
                .filter(between)
                .into_iter()
                .flat_map(Kind::shapes)
            {
                shape.named(&mut |id, inline| {
                    if inline {
                        open.push(id);
                    }
                });
            }
        }
        false
    }

    /// Whether a type is but another name for something that it is itself part of.
    pub(super) fn is_circular_alias(&self, id: usize) -> bool {
        let Some(Kind::Alias(shape)) = self.kind(id) else {
            return false;
        };
        let mut seen = vec![false; self.types.len()];
        let mut open: Vec<usize> = Vec::new();
        shape.named(&mut |id, _| open.push(id));
        while let Some(at) = open.pop() {
            if at == id {
                return true;
            }
            let Some(mark) = seen.get_mut(at) else {
                continue;
            };
            // Types of their own end the circle.
            if let (false, Some(Kind::Alias(shape))) =
                (std::mem::replace(mark, true), self.kind(at))
            {
                shape.named(&mut |id, _| open.push(id));
            }
        }
        false
    }
}
