//! Rust's enums: values that are named, and one of several.

use serde_json::Value;

use super::{
    names::{self, Names},
    rust_layout::{self, arm, implementation, said, signature},
    rust_type::Ty,
    rust_writer::{Writer, json, string},
    shape::{Kind, Shape, Union},
    text::shown,
};

/// Names that a variant cannot have.
const RESERVED: &[&str] = &["Self"];

/// The names of values, as variants.
pub(super) fn variants(values: &[Value]) -> Vec<String> {
    let mut taken = Names::new(RESERVED, "");
    let name = |value: &Value| taken.take(&names::pascal(&names::of_value(value), "Value"));
    values.iter().map(name).collect()
}

/// One of these values.
pub(super) fn literals(name: &str, values: &[Value]) -> Vec<String> {
    let all = variants(values);
    let texts = values.iter().all(Value::is_string);
    let derived = if texts {
        ", Serialize, Deserialize"
    } else {
        ""
    };
    let mut out = format!(
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash{derived})]\n{}",
        rust_layout::opened(&format!("pub enum {name}"))
    );
    for (variant, value) in all.iter().zip(values) {
        match value {
            Value::String(text) if texts && text != variant => {
                out.push_str(&rust_layout::variant_renamed(&string(text)));
            }
            Value::String(_) if texts => {}
            other => out.push_str(&format!("    /// `{}`\n", shown(&other.to_string()))),
        }
        out.push_str(&format!("    {variant},\n"));
    }
    let mut items = vec![out + "}\n"];
    if !texts {
        items.extend(by_value(name, &all, values));
    }
    items
}

/// How values are read and written that are not all text.
fn by_value(name: &str, all: &[String], values: &[Value]) -> [String; 2] {
    let mut write = String::new();
    let mut read = String::new();
    for (variant, value) in all.iter().zip(values) {
        let value = whole(value);
        let code = match &value {
            Value::String(text) => string(text),
            Value::Number(number) if number.is_f64() => format!("Value::from({number}_f64)"),
            Value::Number(number) if number.is_i64() => format!("Value::from({number}_i64)"),
            Value::Number(number) => format!("Value::from({number}_u64)"),
            other => other.to_string(),
        };
        let pattern = format!("Self::{variant}");
        write.push_str(&arm(12, &[pattern], &code, ".serialize(to)"));
        let read_as = format!("Ok(Self::{variant})");
        read.push_str(&arm(12, &[json(&value)], &read_as, ""));
    }
    let listed: Vec<String> = values.iter().map(ToString::to_string).collect();
    let wrong = string(&format!("must be one of {}", listed.join(", ")));
    let written = format!(
        "{}    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {{\n        \
         match self {{\n{write}        }}\n    }}\n}}\n",
        implementation(" Serialize", name)
    );
    let text = "Value::deserialize(from)?.to_string()";
    [
        written,
        reading(name, &said(8, "let wrong =", &wrong), text, &read),
    ]
}

/// Reads what `arms` tell apart: by `text`, behind `before`.
fn reading(name: &str, before: &str, text: &str, arms: &str) -> String {
    format!(
        "{}    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {{\n{before}        \
         match {text}.as_str() {{\n{arms}            _ => Err(D::Error::custom(wrong)),\n        }}\n    }}\n}}\n",
        implementation("<'de> Deserialize<'de>", name)
    )
}

/// The value as results have it when they are read: numbers of 64 bits as whole where they are.
fn whole(value: &Value) -> Value {
    let float = value.as_f64().filter(|_| value.is_f64());
    // All of its digits, without an exponent.
    let digits = float.map(|float| float.to_string()).unwrap_or_default();
    let whole = digits.parse::<i64>().map(Value::from);
    let whole = whole.or_else(|_| digits.parse::<u64>().map(Value::from));
    whole.unwrap_or_else(|_| value.clone())
}

impl Writer<'_> {
    pub(super) fn union(&self, id: usize, name: &str, union: &Union) -> Vec<String> {
        let mut taken = Names::new(RESERVED, "");
        let all: Vec<(String, Ty)> = union
            .alternatives
            .iter()
            .map(|it| {
                let variant = taken.take(&names::pascal(&it.words, "Option"));
                (variant, self.boxed(id, &it.shape))
            })
            .collect();
        let derived = if union.tag.is_none() {
            ", Deserialize"
        } else {
            ""
        };
        let mut out = format!(
            "#[derive(Debug, Clone, PartialEq, Serialize{derived})]\n#[serde(untagged)]\n{}",
            rust_layout::opened(&format!("pub enum {name}"))
        );
        for (variant, ty) in &all {
            let types = std::slice::from_ref(ty);
            out.push_str(&rust_layout::fields(4, variant, types, "", ','));
        }
        let mut items = vec![out + "}\n"];
        for ((variant, ty), it) in all.iter().zip(&union.alternatives) {
            let object = match &it.shape {
                Shape::Named(id) => matches!(self.model.kind(*id), Some(Kind::Object(_))),
                _ => false,
            };
            if object {
                items.push(from(name, variant, ty));
            }
        }
        if let Some(tag) = &union.tag {
            items.push(told_apart(name, tag, union, &all));
        }
        items
    }
}

/// How one of several is made from one of its alternatives.
fn from(name: &str, variant: &str, ty: &Ty) -> String {
    let head = implementation(&format!(" From<{ty}>"), name);
    let function = signature("fn from", &[("it", Some(ty.clone()))], &"Self".into());
    let body = rust_layout::call(8, &format!("Self::{variant}"), "it");
    format!("{head}{function}{body}    }}\n}}\n")
}

/// How one of several is read that a member tells apart.
fn told_apart(name: &str, tag: &str, union: &Union, all: &[(String, Ty)]) -> String {
    let mut arms = String::new();
    let mut listed = Vec::new();
    for ((variant, _), alternative) in all.iter().zip(&union.alternatives) {
        let tags: Vec<String> = alternative.tags.iter().map(|it| json(&whole(it))).collect();
        let call = format!(".map(Self::{variant})");
        arms.push_str(&arm(12, &tags, "inner(value)", &call));
        listed.extend(alternative.tags.iter().map(ToString::to_string));
    }
    let wrong = string(&format!("{tag} must be one of {}", listed.join(", ")));
    let before = [
        "        let value = Value::deserialize(from)?;\n".to_owned(),
        said(8, "let name =", &string(tag)),
        said(8, "let wrong =", &wrong),
    ];
    reading(name, &before.concat(), "tag(&value, name)", &arms)
}
