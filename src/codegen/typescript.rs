//! TypeScript: ESM, strict, on `@nats-io/transport-node` alone.

use serde_json::Value;

use super::{
    header::header,
    names::{self, Names},
    shape::{Kind, Model, Object, Others, Shape, ToolShape, Union},
    task::Task,
    text::{WIDTH, block, quoted, wrapped},
    wire,
};

/// What is the same in every file.
const RUNTIME: &str = include_str!("runtime/typescript.ts.in");

/// Names that the runtime has a use for, or the language.
const TYPES_RESERVED: &[&str] = &[
    "Array",
    "CallOptions",
    "Contract",
    "ContractChanged",
    "Error",
    "JSON",
    "Map",
    "Msg",
    "NatsConnection",
    "Object",
    "Options",
    "Promise",
    "Record",
    "RequestError",
    "TimeoutError",
    "ToolError",
    "Tools",
    "WeakMap",
];

/// Names that methods must not have: a `then` would be waited for.
const METHODS_RESERVED: &[&str] = &["constructor", "then", "toString", "toJSON", "valueOf"];

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
    let runtime = wire::filled(RUNTIME, task, string);
    let (imports, runtime) = runtime.split_once("// ---\n").unwrap_or_default();
    let mut out = block(&header(model, task), "", "// ") + "\n" + imports;
    for id in order_of_types {
        out.push_str(&writer.definition(id));
    }
    out.push_str(&writer.tools());
    out.push_str(runtime);
    out
}

struct Writer<'a> {
    model: &'a Model,
    names: Vec<String>,
}

impl Writer<'_> {
    fn name(&self, id: usize) -> &str {
        self.names.get(id).map_or("unknown", String::as_str)
    }

    fn definition(&self, id: usize) -> String {
        let Some(named) = self.model.types.get(id) else {
            return String::new();
        };
        let name = self.name(id);
        let docs = comment(&named.docs, "");
        match &named.kind {
            Kind::Literals(values) => {
                if self.inline(id).is_some() {
                    return String::new();
                }
                let mut docs = named.docs.clone();
                docs.extend(told_of_rounded(values));
                let docs = comment(&docs, "");
                format!("\n{docs}{}", alternatives(name, &literals(values)))
            }
            Kind::Object(object) => format!("\n{docs}{}", self.object(name, object)),
            Kind::Union(union) => format!("\n{docs}{}", self.union(name, union)),
            Kind::Alias(shape) => {
                format!("\n{docs}export type {name} = {};\n", self.shape(shape))
            }
        }
    }

    /// The value of a type that has but one, and stands for itself: it needs no name.
    fn inline(&self, id: usize) -> Option<&Value> {
        match self.model.kind(id) {
            Some(Kind::Literals(values)) if !self.is_root(id) => match values.as_slice() {
                [value] => Some(value).filter(|value| !is_rounded(value)),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_root(&self, id: usize) -> bool {
        let mut tools = self.model.tools.iter();
        tools.any(|tool| tool.arguments == id || tool.result == id)
    }

    fn union(&self, name: &str, union: &Union) -> String {
        let all = union.alternatives.iter().map(|it| self.shape(&it.shape));
        alternatives(name, &all.collect::<Vec<_>>())
    }

    fn object(&self, name: &str, object: &Object) -> String {
        if object.fields.is_empty() && matches!(object.others, Others::Refused) {
            return format!("export type {name} = {{ [name: string]: never }};\n");
        }
        let mut out = format!("export interface {name} {{\n");
        for field in &object.fields {
            out.push_str(&comment(&field.docs, "  "));
            let mark = if field.required { "" } else { "?" };
            let shape = self.shape(&field.shape);
            out.push_str(&format!("  {}{mark}: {shape};\n", key(&field.name)));
        }
        if let Others::Typed(shape) = &object.others {
            // Members that have a name have to fit in with those that have none.
            let mut all = vec![self.shape(shape)];
            let optional = object.fields.iter().any(|field| !field.required);
            let fields = object.fields.iter().map(|field| self.shape(&field.shape));
            for text in fields.chain(optional.then(|| "undefined".to_owned())) {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
            out.push_str(&format!("  [name: string]: {};\n", all.join(" | ")));
        }
        out + "}\n"
    }

    fn shape(&self, shape: &Shape) -> String {
        match shape {
            Shape::Any => "unknown".to_owned(),
            Shape::Null => "null".to_owned(),
            Shape::Bool => "boolean".to_owned(),
            Shape::Integer { .. } | Shape::Number => "number".to_owned(),
            Shape::Text => "string".to_owned(),
            Shape::List(inner) => match inner.as_ref() {
                Shape::Nullable(_) => format!("({})[]", self.shape(inner)),
                inner => format!("{}[]", self.shape(inner)),
            },
            Shape::Map(inner) => format!("{{ [name: string]: {} }}", self.shape(inner)),
            Shape::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.shape(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Shape::Nullable(inner) => format!("{} | null", self.shape(inner)),
            Shape::Named(id) => match self.inline(*id) {
                Some(value) => literal(value),
                None => self.name(*id).to_owned(),
            },
        }
    }

    fn tools(&self) -> String {
        let mut taken = Names::new(METHODS_RESERVED, "");
        let mut contracts = String::new();
        let mut methods = String::new();
        for tool in &self.model.tools {
            let name = taken.take(&names::camel(&tool.words, "tool"));
            contracts.push_str(&contract(&name, tool));
            methods.push('\n');
            methods.push_str(&comment(&tool.docs, "  "));
            methods.push_str(&self.method(&name, tool));
        }
        format!(
            "\n/** What this file was made from. */\nexport const contracts = {{\n{contracts}}} as const;\n\n\
             /** The tools, each a method, over a connection that stays the caller's. */\nexport class Tools {{\n  \
             readonly #nc: NatsConnection;\n  readonly #options: Options;\n\n  \
             constructor(nc: NatsConnection, options: Options = {{}}) {{\n    this.#nc = nc;\n    \
             this.#options = options;\n  }}\n{methods}}}\n\n"
        )
    }

    fn method(&self, name: &str, tool: &ToolShape) -> String {
        let (arguments, result) = (self.name(tool.arguments), self.name(tool.result));
        let parts = [
            format!("args: {arguments}"),
            "options: CallOptions = {}".to_owned(),
        ];
        let head = format!(
            "  async {name}({}): Promise<{result}> {{\n",
            parts.join(", ")
        );
        let head = if head.chars().count() <= WIDTH {
            head
        } else {
            format!(
                "  async {name}(\n    {},\n  ): Promise<{result}> {{\n",
                parts.join(",\n    ")
            )
        };
        format!(
            "{head}    const call = merged(this.#options, options);\n    \
             return (await invoke(this.#nc, contracts.{name}, args, call)) as {result};\n  }}\n"
        )
    }
}

fn contract(name: &str, tool: &ToolShape) -> String {
    format!(
        "  {name}: {{\n    name: {},\n    hash: {},\n  }},\n",
        string(&tool.name),
        string(&tool.hash),
    )
}

fn alternatives(name: &str, all: &[String]) -> String {
    let one = format!("export type {name} = {};\n", all.join(" | "));
    if one.chars().count() <= WIDTH {
        return one;
    }
    format!("export type {name} =\n  | {};\n", all.join("\n  | "))
}

fn comment(docs: &[String], indent: &str) -> String {
    let lines = wrapped(docs, WIDTH - indent.len() - 3);
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.replace("*/", "*\\/"))
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        [line] => format!("{indent}/** {line} */\n"),
        lines => format!("{indent}/**\n{}{indent} */\n", block(lines, indent, " * ")),
    }
}

fn key(name: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    let starts = !name.starts_with(|c: char| c.is_ascii_digit());
    if starts && !name.is_empty() && name.chars().all(good) {
        name.to_owned()
    } else {
        string(name)
    }
}

/// The type of these values: literals, and `number` for those that are none in JavaScript.
fn literals(values: &[Value]) -> Vec<String> {
    let (rounded, exact): (Vec<&Value>, _) = values.iter().partition(|value| is_rounded(value));
    let mut all: Vec<String> = exact.into_iter().map(literal).collect();
    all.extend((!rounded.is_empty()).then(|| "number".to_owned()));
    all
}

/// Whether JavaScript has no such number: it would write another one.
fn is_rounded(value: &Value) -> bool {
    // Integers of 64 bits, no other number is rounded. Both languages write the shortest digits that stand for a double.
    let digits = |text: String| text.parse::<i128>().ok();
    let exact = digits(value.to_string());
    exact.is_some() && exact != value.as_f64().and_then(|it| digits(it.to_string()))
}

fn told_of_rounded(values: &[Value]) -> Option<String> {
    let rounded = values.iter().filter(|value| is_rounded(value));
    let rounded: Vec<String> = rounded.map(|value| format!("`{value}`")).collect();
    (!rounded.is_empty()).then(|| {
        format!(
            "No number of JavaScript is exactly {}: it cannot be sent, and is read rounded.",
            rounded.join(" or ")
        )
    })
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

fn string(text: &str) -> String {
    quoted(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}
