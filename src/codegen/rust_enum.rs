//! Rust's enums: values that are named, and one of several.

use serde_json::Value;

use super::{
    names::{self, Names},
    rust::{Writer, json, string},
    shape::{Kind, Shape, Union},
};

/// Names that a variant cannot have.
const RESERVED: &[&str] = &["Self"];

/// Numbers from here on stay as they are, in the runtime too.
const WHOLE_MAX: f64 = 9e15;

/// The names of values, as variants.
pub(super) fn variants(values: &[Value]) -> Vec<String> {
    let mut taken = Names::new(RESERVED, "");
    let name = |value: &Value| taken.take(&names::pascal(&names::of_value(value), "Value"));
    values.iter().map(name).collect()
}

/// One of these values.
pub(super) fn literals(name: &str, values: &[Value]) -> String {
    let all = variants(values);
    let texts = values.iter().all(Value::is_string);
    let derived = if texts {
        ", Serialize, Deserialize"
    } else {
        ""
    };
    let mut out = format!(
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash{derived})]\npub enum {name} {{\n"
    );
    for (variant, value) in all.iter().zip(values) {
        match value {
            Value::String(text) if texts && text != variant => {
                out.push_str(&format!("    #[serde(rename = {})]\n", string(text)));
            }
            Value::String(_) if texts => {}
            other => out.push_str(&format!("    /// `{other}`\n")),
        }
        out.push_str(&format!("    {variant},\n"));
    }
    out.push_str("}\n");
    if !texts {
        out.push_str(&by_value(name, &all, values));
    }
    out
}

/// How values are read and written that are not all text.
fn by_value(name: &str, all: &[String], values: &[Value]) -> String {
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
        write.push_str(&format!(
            "            Self::{variant} => {code}.serialize(to),\n"
        ));
        read.push_str(&format!(
            "            {} => Ok(Self::{variant}),\n",
            json(&value)
        ));
    }
    let shown: Vec<String> = values.iter().map(ToString::to_string).collect();
    let wrong = string(&format!("must be one of {}", shown.join(", ")));
    format!(
        "\nimpl Serialize for {name} {{\n    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {{\n        \
         match self {{\n{write}        }}\n    }}\n}}\n\nimpl<'de> Deserialize<'de> for {name} {{\n    \
         fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {{\n        \
         let wrong = {wrong};\n        match Value::deserialize(from)?.to_string().as_str() {{\n{read}            _ => Err(D::Error::custom(wrong)),\n        \
         }}\n    }}\n}}\n"
    )
}

/// The value as results have it when they are read: numbers as whole where they are.
fn whole(value: &Value) -> Value {
    let float = value.as_f64().filter(|_| value.is_f64());
    match float.filter(|it| it.fract() == 0.0 && it.abs() < WHOLE_MAX) {
        Some(float) => format!("{float:.0}")
            .parse()
            .map_or(Value::Null, |it: i64| it.into()),
        None => value.clone(),
    }
}

impl Writer<'_> {
    pub(super) fn union(&self, id: usize, name: &str, union: &Union) -> String {
        let mut taken = Names::new(RESERVED, "");
        let all: Vec<(String, String)> = union
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
            "#[derive(Debug, Clone, PartialEq, Serialize{derived})]\n#[serde(untagged)]\npub enum {name} {{\n"
        );
        for (variant, shape) in &all {
            out.push_str(&format!("    {variant}({shape}),\n"));
        }
        out.push_str("}\n");
        for ((variant, shape), it) in all.iter().zip(&union.alternatives) {
            let object = match &it.shape {
                Shape::Named(id) => matches!(self.model.kind(*id), Some(Kind::Object(_))),
                _ => false,
            };
            if object {
                out.push_str(&format!(
                    "\nimpl From<{shape}> for {name} {{\n    fn from(it: {shape}) -> Self {{\n        \
                     Self::{variant}(it)\n    }}\n}}\n"
                ));
            }
        }
        if let Some(tag) = &union.tag {
            out.push_str(&told_apart(name, tag, union, &all));
        }
        out
    }
}

/// How one of several is read that a member tells apart.
fn told_apart(name: &str, tag: &str, union: &Union, all: &[(String, String)]) -> String {
    let mut arms = String::new();
    let mut shown = Vec::new();
    for ((variant, _), alternative) in all.iter().zip(&union.alternatives) {
        let tags: Vec<String> = alternative.tags.iter().map(|it| json(&whole(it))).collect();
        arms.push_str(&format!(
            "            {} => inner(value).map(Self::{variant}),\n",
            tags.join(" | ")
        ));
        shown.extend(alternative.tags.iter().map(ToString::to_string));
    }
    let wrong = string(&format!("{tag} must be one of {}", shown.join(", ")));
    let tag = string(tag);
    format!(
        "\nimpl<'de> Deserialize<'de> for {name} {{\n    \
         fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {{\n        \
         let value = Value::deserialize(from)?;\n        let wrong = {wrong};\n        \
         \
         match tag(&value, {tag}).as_str() {{\n{arms}            _ => Err(D::Error::custom(wrong)),\n        }}\n    }}\n}}\n"
    )
}
