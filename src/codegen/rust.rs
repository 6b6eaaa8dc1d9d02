//! Rust: structs and enums with serde, on this crate's client.

use super::{
    header::header,
    names::{self, Names},
    order::Via,
    rust_enum, rust_layout,
    rust_type::Ty,
    rust_writer::{Writer, string},
    shape::{Field, Kind, Model, Object, Others, Shape, TUPLE_ITEMS_MAX},
    task::Task,
    text::{block, wrapped},
    wire,
};

/// What is the same in every file.
const RUNTIME: &str = include_str!("runtime/rust.rs.in");

/// Columns of documentation.
const DOC_WIDTH: usize = 88;

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

pub(super) fn write(model: &Model, task: &Task) -> String {
    let order_of_types = model.in_order();
    let mut taken = Names::new(TYPES_RESERVED, "");
    let mut names = vec![String::new(); model.types.len()];
    for id in &order_of_types {
        if let (Some(name), Some(named)) = (names.get_mut(*id), model.types.get(*id)) {
            *name = taken.take(&names::pascal(&named.words, "Tool"));
        }
    }
    let writer = Writer { model, names };
    let again = rust_layout::said(0, "const MAKE_ANEW: &str =", &string(&task.command));
    // The command comes last, for it may hold anything.
    let runtime = wire::filled(RUNTIME, task, string).replace("@{MAKE_ANEW}\n", &again);
    let (imports, runtime) = runtime.split_once("// ---\n").unwrap_or_default();
    let mut body = String::new();
    for id in order_of_types {
        body.push_str(&writer.definition(id));
    }
    body.push_str(&writer.tools(task.via));
    block(&header(model, task), "", "// ") + "\n" + imports + &body + runtime
}

impl Writer<'_> {
    fn definition(&self, id: usize) -> String {
        let Some(named) = self.model.types.get(id) else {
            return String::new();
        };
        let name = self.name(id);
        let derived = "#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]\n";
        let mut items = match &named.kind {
            Kind::Object(object) => self.object(id, name, object),
            Kind::Literals(values) => rust_enum::literals(name, values),
            Kind::Union(union) => self.union(id, name, union),
            Kind::Alias(Shape::Tuple(items)) if items.len() > TUPLE_ITEMS_MAX => {
                let items: Vec<Ty> = items.iter().map(|item| self.boxed(id, item)).collect();
                let head = format!("pub struct {name}");
                let body = rust_layout::fields(0, &head, &items, "pub ", ';');
                vec![format!("{derived}{body}")]
            }
            Kind::Alias(shape) if self.model.is_circular_alias(id) => {
                let shape = self.boxed(id, shape);
                let head = format!("pub struct {name}");
                let body = rust_layout::fields(0, &head, &[shape], "pub ", ';');
                vec![format!("{derived}#[serde(transparent)]\n{body}")]
            }
            Kind::Alias(shape) => {
                let head = format!("pub type {name} =");
                vec![rust_layout::alias(&head, &self.shape(shape))]
            }
        };
        if let Some(first) = items.first_mut() {
            first.insert_str(0, &comment(&named.docs, ""));
        }
        let items = items.into_iter().map(rust_layout::item);
        items.flat_map(|item| ["\n".to_owned(), item]).collect()
    }

    fn object(&self, id: usize, name: &str, object: &Object) -> Vec<String> {
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
        let reading = rust_layout::called("object!", name);
        if members.is_empty() && matches!(object.others, Others::Refused) {
            return vec![out + &rust_layout::empty(name), reading];
        }
        out.push_str(&rust_layout::opened(&format!("pub struct {name}")));
        for (member, field) in &members {
            out.push_str(&self.field(id, member, field));
        }
        if let Others::Typed(shape) = &object.others {
            out.push_str("    /// All members that have no name here.\n    #[serde(flatten)]\n");
            let all = map_of(self.shape(shape));
            out.push_str(&rust_layout::member("pub others:", &all));
        }
        let mut items = vec![out + "}\n", reading];
        if !default && (filled || matches!(object.others, Others::Typed(_))) {
            items.push(self.constructor(id, name, &members, object));
        }
        items
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
            out.push_str(&rust_layout::member_renamed(&string(&field.name)));
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
        let head = format!("pub {name}:");
        out + &rust_layout::member(&head, &self.of_field(id, field))
    }

    fn of_field(&self, id: usize, field: &Field) -> Ty {
        let shape = self.boxed(id, &field.shape);
        if field.required {
            shape
        } else {
            Ty::of("Option", shape)
        }
    }

    fn constructor(
        &self,
        id: usize,
        name: &str,
        members: &[(String, &Field)],
        object: &Object,
    ) -> String {
        let mut parameters: Vec<(&str, Option<Ty>)> = Vec::new();
        let mut values: Vec<(&str, Option<String>)> = Vec::new();
        for (member, field) in members {
            let value = match (self.constant(&field.shape), field.required, &field.shape) {
                (_, false, _) => Some("None".to_owned()),
                (Some(value), true, _) => Some(value),
                (None, true, Shape::Text) => {
                    let into = Ty::of("Into", "String".into());
                    parameters.push((member, Some(Ty::Impl(Box::new(into)))));
                    Some(format!("{member}.into()"))
                }
                (None, true, _) => {
                    parameters.push((member, Some(self.of_field(id, field))));
                    None
                }
            };
            values.push((member, value));
        }
        if matches!(object.others, Others::Typed(_)) {
            values.push(("others", Some("BTreeMap::new()".to_owned())));
        }
        let head = rust_layout::signature("pub fn new", &parameters, &"Self".into());
        let body = rust_layout::literal(8, &values);
        let of = rust_layout::implementation("", name);
        format!("{of}    /// With what must be there.\n{head}{body}    }}\n}}\n")
    }

    /// A shape in a type that it may lead back to.
    pub(super) fn boxed(&self, id: usize, shape: &Shape) -> Ty {
        self.written(shape, Some(id))
    }

    fn shape(&self, shape: &Shape) -> Ty {
        self.written(shape, None)
    }

    fn written(&self, shape: &Shape, within: Option<usize>) -> Ty {
        match shape {
            Shape::Any => "Value".into(),
            Shape::Null => "()".into(),
            Shape::Bool => "bool".into(),
            Shape::Integer { unsigned: true } => "u64".into(),
            Shape::Integer { unsigned: false } => "i64".into(),
            Shape::Number => "f64".into(),
            Shape::Text => "String".into(),
            Shape::List(inner) => Ty::of("Vec", self.shape(inner)),
            Shape::Map(inner) => map_of(self.shape(inner)),
            // An empty list; `()` would be null.
            Shape::Tuple(items) if items.is_empty() => "[(); 0]".into(),
            Shape::Tuple(items) => {
                let items = items.iter().map(|item| self.written(item, within));
                Ty::Tuple(items.collect())
            }
            Shape::Nullable(inner) => Ty::of("Option", self.written(inner, within)),
            Shape::Named(id) => {
                let name = Ty::from(self.name(*id));
                match within {
                    Some(owner) if self.is_boxed(*id, owner) => Ty::of("Box", name),
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
        let mut out = String::new();
        for (name, tool) in methods.iter().zip(&self.model.tools) {
            let arguments = format!("&{}", self.name(tool.arguments));
            let parameters = [
                ("&self", None),
                ("arguments", Some(arguments.as_str().into())),
            ];
            let result = vec![self.name(tool.result).into(), "CallError".into()];
            let result = Ty::Path("Result".to_owned(), result);
            let head = format!("pub async fn {name}");
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&comment(&tool.docs, "    "));
            out.push_str(&rust_layout::signature(&head, &parameters, &result));
            out.push_str(&rust_layout::said(8, "let name =", &string(&tool.name)));
            out.push_str(&rust_layout::said(8, "let hash =", &string(&tool.hash)));
            out.push_str("        self.call(name, hash, arguments).await\n    }\n");
        }
        let methods = rust_layout::item(format!("impl Tools {{\n{out}}}\n"));
        format!(
            "\n/// The tools, each a method.\n#[derive(Debug, Clone)]\npub struct Tools {{\n    client: {client},\n    \
             /// How they are called.\n    pub options: Options,\n}}\n\n{methods}"
        )
    }
}

fn map_of(values: Ty) -> Ty {
    Ty::Path("BTreeMap".to_owned(), vec!["String".into(), values])
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
