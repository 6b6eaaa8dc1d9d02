//! Python: dataclasses and async functions, on nats-py alone.

use super::{
    header::header,
    names::{self, Names},
    python_alias::literals,
    python_read::readers,
    python_writer::{Writer, docstring, literal, string},
    shape::{Field, Kind, Model, Object, Others, Shape},
    task::Task,
    text::{WIDTH, block, called},
    wire,
};

/// What is the same in every file.
const RUNTIME: &str = include_str!("runtime/python.py.in");

/// Names that the runtime has a use for, or the language.
const TYPES_RESERVED: &[&str] = &[
    "Any",
    "Callable",
    "Client",
    "ContractChanged",
    "Enum",
    "Exception",
    "False",
    "Literal",
    "Msg",
    "Misfit",
    "NoRespondersError",
    "None",
    "Options",
    "ReadTimeout",
    "ToolError",
    "Tools",
    "True",
    "TypeAlias",
    "TypeVar",
    "Unset",
    "ValueError",
];

/// Words of the language, and what a class's own members must not hide from it.
const MEMBERS_RESERVED: &[&str] = &[
    "and",
    "as",
    "assert",
    "async",
    "await",
    "bool",
    "break",
    "class",
    "classmethod",
    "cls",
    "continue",
    "def",
    "del",
    "dict",
    "elif",
    "else",
    "except",
    "field",
    "finally",
    "float",
    "for",
    "from",
    "from_json",
    "global",
    "if",
    "import",
    "in",
    "int",
    "is",
    "lambda",
    "list",
    "nonlocal",
    "not",
    "object",
    "or",
    "others",
    "pass",
    "raise",
    "return",
    "self",
    "str",
    "to_json",
    "try",
    "tuple",
    "while",
    "with",
    "yield",
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
    let results = model.tools.iter().map(|tool| tool.result);
    let arguments = model.tools.iter().map(|tool| tool.arguments);
    let writer = Writer {
        model,
        names,
        read: model.reached(results),
        written: model.reached(arguments),
    };
    let mut types: String = order_of_types.iter().map(|id| writer.class(*id)).collect();
    types.push_str(&writer.aliases(&order_of_types));
    let runtime = wire::filled(RUNTIME, task, string);
    let (imports, runtime) = runtime.split_once("# ---\n").unwrap_or_default();
    let mut imports = imports.to_owned();
    for (place, name, used) in [
        ("@{FIELD}", "field, ", types.contains("= field(")),
        (
            "@{TYPE_ALIAS}",
            "TypeAlias, ",
            types.contains(": TypeAlias = "),
        ),
    ] {
        imports = imports.replace(place, if used { name } else { "" });
    }
    let mut out = block(&header(model, task), "", "# ") + "\n" + &imports + &types;
    out.push_str(&writer.tools());
    out.push_str(runtime);
    let readers = readers(&writer, &order_of_types);
    if !readers.is_empty() {
        out.push_str("\n\n# ---- How results are read ");
        out.push_str(&"-".repeat(WIDTH - 28));
        out.push('\n');
        out.push_str(&readers);
    }
    out
}

impl Writer<'_> {
    /// The members of an object, with their names in code.
    fn members(object: &Object) -> Vec<(String, &Field)> {
        let all: Vec<&str> = object
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let form = |name: &str| names::snake(name, "field_");
        let named = names::members(&all, MEMBERS_RESERVED, form);
        named.into_iter().zip(&object.fields).collect()
    }

    /// The class of an object; nothing for what is none.
    fn class(&self, id: usize) -> String {
        let Some(named) = self.model.types.get(id) else {
            return String::new();
        };
        let Kind::Object(object) = &named.kind else {
            return String::new();
        };
        let name = self.name(id);
        let mut out = format!("\n\n@dataclass(kw_only=True, slots=True)\nclass {name}:\n");
        let mut empty = true;
        let mut section = |out: &mut String, text: String| {
            if !text.is_empty() {
                if !empty {
                    out.push('\n');
                }
                empty = false;
                out.push_str(&text);
            }
        };
        section(&mut out, docstring(&named.docs, "    "));
        let members = Self::members(object);
        let mut fields = String::new();
        for (name, field) in &members {
            fields.push_str(&self.field(name, field));
        }
        if let Others::Typed(shape) = &object.others {
            let shape = self.shape(shape);
            fields.push_str(&format!(
                "    others: dict[str, {shape}] = field(default_factory=dict)\n    \
                 \"\"\"All members that have no name here.\"\"\"\n"
            ));
        }
        section(&mut out, fields);
        if self.written.get(id) == Some(&true) {
            section(&mut out, self.to_json(&members, object));
        }
        if self.is_read(id) {
            section(&mut out, self.reading(name, &members, object));
        }
        out
    }

    fn field(&self, name: &str, field: &Field) -> String {
        let shape = self.shape(&field.shape);
        let constant = match &field.shape {
            Shape::Named(id) => self.constant(*id),
            _ => None,
        };
        let line = match (field.required, &field.shape) {
            (true, _) => match constant {
                Some(value) => format!("{name}: {shape} = {}", literal(value)),
                None => format!("{name}: {shape}"),
            },
            (false, shaped) if self.model.is_nullable(shaped) => {
                format!("{name}: {shape} | Unset = Unset.UNSET")
            }
            (false, _) => format!("{name}: {shape} | None = None"),
        };
        format!("    {line}\n{}", docstring(&field.docs, "    "))
    }

    fn to_json(&self, members: &[(String, &Field)], object: &Object) -> String {
        let mut out = "    def to_json(self) -> dict[str, object]:\n".to_owned();
        out.push_str(match object.others {
            Others::Typed(_) => {
                "        out = {name: _json(it) for name, it in self.others.items()}\n"
            }
            _ => "        out: dict[str, object] = {}\n",
        });
        for (name, field) in members {
            let (indent, condition) = match (field.required, self.model.is_nullable(&field.shape)) {
                (true, _) => ("", String::new()),
                (false, true) => (
                    "    ",
                    format!("        if self.{name} is not Unset.UNSET:\n"),
                ),
                (false, false) => ("    ", format!("        if self.{name} is not None:\n")),
            };
            let wire = string(&field.name);
            out.push_str(&format!(
                "{condition}        {indent}out[{wire}] = _json(self.{name})\n"
            ));
        }
        out + "        return out\n"
    }

    pub(super) fn shape(&self, shape: &Shape) -> String {
        self.text(shape, &|_| true)
    }

    /// A shape as code; where that is carried out when the module is loaded, `defined` says which types are there by
    /// then. Others stand in quotes, in brackets: elsewhere quotes would be no type.
    pub(super) fn text(&self, shape: &Shape, defined: &dyn Fn(usize) -> bool) -> String {
        let inner = |shape: &Shape| {
            let mut early = false;
            let mut at = shape;
            while let Shape::Nullable(inner) = at {
                at = inner;
            }
            if let Shape::Named(id) = at {
                early = !defined(*id);
            }
            let text = self.text(shape, defined);
            if early { string(&text) } else { text }
        };
        match shape {
            Shape::Any => "object".to_owned(),
            Shape::Null => "None".to_owned(),
            Shape::Bool => "bool".to_owned(),
            Shape::Integer { .. } => "int".to_owned(),
            Shape::Number => "float".to_owned(),
            Shape::Text => "str".to_owned(),
            Shape::List(item) => format!("list[{}]", inner(item)),
            Shape::Map(item) => format!("dict[str, {}]", inner(item)),
            Shape::Tuple(items) if items.is_empty() => "tuple[()]".to_owned(),
            Shape::Tuple(items) => {
                let items: Vec<String> = items.iter().map(inner).collect();
                format!("tuple[{}]", items.join(", "))
            }
            Shape::Nullable(inner) => format!("{} | None", self.text(inner, defined)),
            Shape::Named(id) => match self.constant(*id) {
                Some(value) if !self.is_root(*id) => literals(std::slice::from_ref(value)),
                _ => self.name(*id).to_owned(),
            },
        }
    }

    fn tools(&self) -> String {
        let all: Vec<&str> = self
            .model
            .tools
            .iter()
            .map(|tool| tool.words.as_str())
            .collect();
        let mut reserved = MEMBERS_RESERVED.to_vec();
        reserved.push("options");
        let methods = names::members(&all, &reserved, |words| names::snake(words, "tool_"));
        let mut out = "\n\nclass Tools:\n    \"\"\"The tools, each a method, over a connection that stays the \
            caller's.\"\"\"\n\n    def __init__(self, nc: Client, options: Options | None = None) -> None:\n        \
            self._nc = nc\n        self.options = options or Options()\n"
            .to_owned();
        for (name, tool) in methods.iter().zip(&self.model.tools) {
            let (arguments, result) = (self.name(tool.arguments), self.name(tool.result));
            let head = format!("    async def {name}");
            let items = [
                "self".to_owned(),
                format!("arguments: {arguments}"),
                "options: Options | None = None".to_owned(),
            ];
            let after = format!(" -> {result}:").chars().count();
            let parts = called(("(", ")"), &items, (head.chars().count(), after), (4, 4));
            let contract = [&tool.name, &tool.hash].map(|it| string(it));
            let contract = contract.map(|it| format!("            {it},\n")).concat();
            out.push_str(&format!(
                "\n{head}{parts} -> {result}:\n{}        return await _call(\n            self._nc,\n            \
                 _merged(self.options, options),\n{contract}            arguments,\n            {},\n        )\n",
                docstring(&tool.docs, "        "),
                self.reader(&Shape::Named(tool.result)),
            ));
        }
        out
    }
}
