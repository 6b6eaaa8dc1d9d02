//! Rust: structs and enums with serde, on this crate's client.

use serde_json::Value;

use super::{
    Order, Via, header,
    names::{self, Names},
    rust_enum,
    shape::{Field, Kind, Model, Object, Others, Shape, TUPLE_ITEMS_MAX},
    text::{block, quoted, wrapped},
    wire,
};

/// What is the same in every file.
const RUNTIME: &str = include_str!("runtime/rust.rs.in");

/// Columns of documentation.
const DOC_WIDTH: usize = 88;
/// Columns of code.
const CODE_WIDTH: usize = 100;

/// Names that the runtime has a use for, or the language.
const TYPES_RESERVED: &[&str] = &[
    "BTreeMap",
    "Box",
    "CallError",
    "Client",
    "Default",
    "Deserialize",
    "DeserializeOwned",
    "Deserializer",
    "Direct",
    "Duration",
    "Err",
    "Error",
    "ErrorCode",
    "Executed",
    "From",
    "Into",
    "InvokeRequest",
    "Members",
    "NodeId",
    "None",
    "Ok",
    "Option",
    "Options",
    "Policy",
    "RequestId",
    "Result",
    "Self",
    "Serialize",
    "Serializer",
    "Some",
    "String",
    "Tools",
    "Value",
    "Vec",
    "Visitor",
];

/// Words of the language, those that it keeps for later among them.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "others",
];

pub(super) fn write(model: &Model, order: &Order<'_>) -> String {
    let order_of_types = model.in_order();
    let mut taken = Names::new(TYPES_RESERVED, "");
    let mut names = vec![String::new(); model.types.len()];
    for id in &order_of_types {
        if let (Some(name), Some(named)) = (names.get_mut(*id), model.types.get(*id)) {
            *name = taken.take(&names::pascal(&named.words, "Tool"));
        }
    }
    let writer = Writer { model, names };
    let runtime = wire::filled(RUNTIME, order, string);
    let (imports, runtime) = runtime.split_once("// ---\n").unwrap_or_default();
    let mut body = String::new();
    for id in order_of_types {
        body.push_str(&writer.definition(id));
    }
    body.push_str(&writer.tools(order.via));
    block(&header(model, order), "", "// ") + "\n" + imports + &body + runtime
}

pub(super) struct Writer<'a> {
    pub(super) model: &'a Model,
    names: Vec<String>,
}

impl Writer<'_> {
    pub(super) fn name(&self, id: usize) -> &str {
        self.names.get(id).map_or("Value", String::as_str)
    }

    fn definition(&self, id: usize) -> String {
        let Some(named) = self.model.types.get(id) else {
            return String::new();
        };
        let name = self.name(id);
        let docs = comment(&named.docs, "");
        let text = match &named.kind {
            Kind::Object(object) => self.object(id, name, object),
            Kind::Literals(values) => rust_enum::literals(name, values),
            Kind::Union(union) => self.union(id, name, union),
            Kind::Alias(Shape::Tuple(items)) if items.len() > TUPLE_ITEMS_MAX => {
                let items = items.iter().map(|item| self.boxed(id, item));
                let items: Vec<String> = items.map(|it| format!("    pub {it},\n")).collect();
                format!(
                    "#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]\npub struct {name}(\n{});\n",
                    items.concat()
                )
            }
            Kind::Alias(shape) if self.model.is_circular_alias(id) => {
                let shape = self.boxed(id, shape);
                format!(
                    "#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]\n#[serde(transparent)]\n\
                     pub struct {name}(pub {shape});\n"
                )
            }
            Kind::Alias(shape) => format!("pub type {name} = {};\n", self.shape(shape)),
        };
        format!("\n{docs}{text}")
    }

    fn object(&self, id: usize, name: &str, object: &Object) -> String {
        let all: Vec<&str> = object
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let members = names::members(&all, KEYWORDS, |name| names::snake(name, "field_"));
        let members: Vec<(String, &Field)> = members.into_iter().zip(&object.fields).collect();
        let filled = members.iter().any(|(_, field)| self.is_filled(field));
        let given = members.iter().any(|(_, field)| !self.is_filled(field));
        let constant = |field: &Field| field.required && self.is_filled(field);
        let default = !given && !members.iter().any(|(_, field)| constant(field));
        let derived = if default { ", Default" } else { "" };
        let mut out =
            format!("#[derive(Debug, Clone, PartialEq{derived}, Serialize, Deserialize)]\n");
        out.push_str(match object.others {
            Others::Refused => "#[serde(remote = \"Self\", deny_unknown_fields)]\n",
            _ => "#[serde(remote = \"Self\")]\n",
        });
        if members.is_empty() && matches!(object.others, Others::Refused) {
            return out + &format!("pub struct {name} {{}}\n\nobject!({name});\n");
        }
        out.push_str(&format!("pub struct {name} {{\n"));
        for (member, field) in &members {
            out.push_str(&self.field(id, member, field));
        }
        if let Others::Typed(shape) = &object.others {
            let shape = self.shape(shape);
            out.push_str(&format!(
                "    /// All members that have no name here.\n    #[serde(flatten)]\n    \
                 pub others: BTreeMap<String, {shape}>,\n"
            ));
        }
        out.push_str(&format!("}}\n\nobject!({name});\n"));
        if !default && (filled || matches!(object.others, Others::Typed(_))) {
            out.push_str(&self.constructor(id, name, &members, object));
        }
        out
    }

    /// Whether there is no need to give it.
    fn is_filled(&self, field: &Field) -> bool {
        !field.required || self.constant(&field.shape).is_some()
    }

    /// The only value of a shape that has no other.
    fn constant(&self, shape: &Shape) -> Option<String> {
        let Shape::Named(id) = shape else {
            return None;
        };
        match self.model.kind(*id) {
            Some(Kind::Literals(values)) if values.len() == 1 => {
                let variant = rust_enum::variants(values).pop()?;
                Some(format!("{}::{variant}", self.name(*id)))
            }
            _ => None,
        }
    }

    fn field(&self, id: usize, name: &str, field: &Field) -> String {
        let mut out = comment(&field.docs, "    ");
        if name != field.name {
            out.push_str(&format!("    #[serde(rename = {})]\n", string(&field.name)));
        }
        if !field.required {
            out.push_str("    #[serde(default, skip_serializing_if = \"Option::is_none\")]\n");
            if self.model.is_nullable(&field.shape) {
                out.push_str("    #[serde(deserialize_with = \"there\")]\n");
            }
        } else if !matches!(field.shape, Shape::Any | Shape::Null)
            && self.model.is_nullable(&field.shape)
        {
            // What serde reads as null where it is missing.
            out.push_str("    #[serde(deserialize_with = \"given\")]\n");
        }
        out + &format!("    pub {name}: {},\n", self.of_field(id, field))
    }

    fn of_field(&self, id: usize, field: &Field) -> String {
        let shape = self.boxed(id, &field.shape);
        if field.required {
            shape
        } else {
            format!("Option<{shape}>")
        }
    }

    fn constructor(
        &self,
        id: usize,
        name: &str,
        members: &[(String, &Field)],
        object: &Object,
    ) -> String {
        let mut parameters = Vec::new();
        let mut lines = String::new();
        for (member, field) in members {
            let line = match (self.constant(&field.shape), field.required, &field.shape) {
                (_, false, _) => format!("{member}: None"),
                (Some(value), true, _) => format!("{member}: {value}"),
                (None, true, Shape::Text) => {
                    parameters.push(format!("{member}: impl Into<String>"));
                    format!("{member}: {member}.into()")
                }
                (None, true, _) => {
                    parameters.push(format!("{member}: {}", self.of_field(id, field)));
                    member.clone()
                }
            };
            lines.push_str(&format!("            {line},\n"));
        }
        if matches!(object.others, Others::Typed(_)) {
            lines.push_str("            others: BTreeMap::new(),\n");
        }
        let all = parameters.join(", ");
        let one = format!("    pub fn new({all}) -> Self {{\n");
        let head = if one.chars().count() <= CODE_WIDTH + 1 {
            one
        } else {
            let lines = parameters.join(",\n        ");
            format!("    pub fn new(\n        {lines},\n    ) -> Self {{\n")
        };
        format!(
            "\nimpl {name} {{\n    /// With what must be there.\n{head}        Self {{\n{lines}        }}\n    }}\n}}\n"
        )
    }

    /// A shape in a type that it may lead back to.
    pub(super) fn boxed(&self, id: usize, shape: &Shape) -> String {
        self.written(shape, Some(id))
    }

    fn shape(&self, shape: &Shape) -> String {
        self.written(shape, None)
    }

    fn written(&self, shape: &Shape, within: Option<usize>) -> String {
        match shape {
            Shape::Any => "Value".to_owned(),
            Shape::Null => "()".to_owned(),
            Shape::Bool => "bool".to_owned(),
            Shape::Integer { unsigned: true } => "u64".to_owned(),
            Shape::Integer { unsigned: false } => "i64".to_owned(),
            Shape::Number => "f64".to_owned(),
            Shape::Text => "String".to_owned(),
            Shape::List(inner) => format!("Vec<{}>", self.shape(inner)),
            Shape::Map(inner) => format!("BTreeMap<String, {}>", self.shape(inner)),
            Shape::Tuple(items) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| self.written(item, within))
                    .collect();
                let comma = if items.len() == 1 { "," } else { "" };
                format!("({}{comma})", items.join(", "))
            }
            Shape::Nullable(inner) => format!("Option<{}>", self.written(inner, within)),
            Shape::Named(id) => {
                let name = self.name(*id).to_owned();
                match within {
                    Some(owner) if self.is_boxed(*id, owner) => format!("Box<{name}>"),
                    _ => name,
                }
            }
        }
    }

    /// Whether a type would be without end if it stood in `owner` as it is. Objects box what they hold, so a union need
    /// not box objects.
    fn is_boxed(&self, id: usize, owner: usize) -> bool {
        let union = matches!(self.model.kind(owner), Some(Kind::Union(_)));
        self.model.leads(id, owner, !union)
    }

    fn tools(&self, via: Via) -> String {
        let all: Vec<&str> = self
            .model
            .tools
            .iter()
            .map(|tool| tool.words.as_str())
            .collect();
        let mut reserved = KEYWORDS.to_vec();
        reserved.extend(["call", "new", "with", "clone"]);
        let methods = names::members(&all, &reserved, |words| names::snake(words, "tool_"));
        let client = match via {
            Via::Registry => "Client",
            Via::Direct => "Direct",
        };
        let mut out = format!(
            "\n/// The tools, each a method.\n#[derive(Debug, Clone)]\npub struct Tools {{\n    client: {client},\n    \
             /// How they are called.\n    pub options: Options,\n}}\n\nimpl Tools {{\n"
        );
        let texts = methods.iter().zip(&self.model.tools).map(|(name, tool)| {
            let (arguments, result) = (self.name(tool.arguments), self.name(tool.result));
            let parts = ["&self".to_owned(), format!("arguments: &{arguments}")];
            let result = format!("Result<{result}, CallError>");
            let one = format!("    pub async fn {name}({}) -> {result} {{\n", parts.join(", "));
            let head = if one.chars().count() <= CODE_WIDTH + 1 {
                one
            } else {
                let lines = parts.join(",\n        ");
                format!("    pub async fn {name}(\n        {lines},\n    ) -> {result} {{\n")
            };
            let hash = string(&tool.hash);
            format!(
                "{}{head}        let hash = {hash};\n        self.call({}, hash, arguments).await\n    }}\n",
                comment(&tool.docs, "    "),
                string(&tool.name),
            )
        });
        out.push_str(&texts.collect::<Vec<_>>().join("\n"));
        out + "}\n"
    }
}

pub(super) fn comment(docs: &[String], indent: &str) -> String {
    // What would be a program to the documentation is none.
    let docs: Vec<String> = docs
        .iter()
        .map(|it| it.replace("```", "'''").replace("~~~", "'''"))
        .collect();
    let lines = wrapped(&docs, DOC_WIDTH - indent.len() - 4);
    block(&lines, indent, "/// ")
}

pub(super) fn string(text: &str) -> String {
    quoted(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}

/// A value as JSON text in a literal: how values are told apart.
pub(super) fn json(value: &Value) -> String {
    string(&value.to_string())
}
