//! The JSON Schema of what a type writes.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// JSON Schema 2020-12 of what is written of a type, `inline` or with each type in it once, under `$defs`. A member that has
/// no value is absent there, never null.
pub(super) fn schema_of<T: JsonSchema>(inline: bool) -> Value {
    let schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| settings.inline_subschemas = inline)
        .into_generator()
        .into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    forbid_null(&mut schema);
    schema
}

/// Takes `null` out of all types.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            let is_null = |one: &Value| *one == "null" || one["type"] == "null" || one.is_null();
            for keyword in ["type", "enum", "anyOf"] {
                if let Some(Value::Array(several)) = keywords.get_mut(keyword) {
                    several.retain(|one| !is_null(one));
                }
            }
            if let Some(Value::Array(several)) = keywords.get_mut("type")
                && several.len() == 1
            {
                let only = several.remove(0);
                keywords.insert("type".to_owned(), only);
            }
            if let Some(Value::Array(several)) = keywords.get_mut("anyOf")
                && several.len() == 1
                && let Value::Object(only) = several.remove(0)
            {
                keywords.remove("anyOf");
                for (keyword, value) in only {
                    keywords.entry(keyword).or_insert(value);
                }
            }
            keywords.values_mut().for_each(forbid_null);
        }
        Value::Array(several) => several.iter_mut().for_each(forbid_null),
        _ => {}
    }
}
