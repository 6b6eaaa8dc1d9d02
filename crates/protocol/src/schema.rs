//! How the JSON Schema of a type is made, and schemas of what has no type of its own.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::Value;

use crate::{
    bounds::{NUMBER_MAX, VERSION_CHARS_MAX},
    uri::URI_CHARS_MAX,
};

/// JSON Schema 2020-12 of a type, all in one piece.
pub(crate) fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The same, to stand inside another schema.
pub(crate) fn of_part<T: JsonSchema>() -> Value {
    let mut schema = of::<T>();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
    }
    schema
}

/// The same of a request: what it does not name is refused, in the objects within it as well.
pub(crate) fn of_request<T: JsonSchema>() -> Value {
    let mut schema = of::<T>();
    if let Some(object) = schema.as_object_mut() {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    close(&mut schema);
    schema
}

/// Objects whose members have names have no others. What is free JSON names none.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            if keywords.contains_key("properties") {
                keywords.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            keywords.values_mut().for_each(close);
        }
        Value::Array(several) => several.iter_mut().for_each(close),
        _ => {}
    }
}

/// JSON Schema of what a type of somebody else's reads, without the name that it has there.
pub(crate) fn read_by<T: JsonSchema>() -> Value {
    nameless::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// JSON Schema of what a type of somebody else's writes, without the name that it has there.
pub(crate) fn written_by<T: JsonSchema>() -> Value {
    nameless::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn nameless<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let mut schema = settings
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>();
    schema.remove("$schema");
    schema.remove("title");
    schema.to_value()
}

macro_rules! schema {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(
    /// A semantic version.
    VersionText,
    json_schema!({"type": "string", "pattern": r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$", "maxLength": VERSION_CHARS_MAX})
);
schema!(
    /// A range of semantic versions.
    VersionRangeText,
    json_schema!({"type": "string", "minLength": 1, "maxLength": VERSION_CHARS_MAX, "examples": ["^1.2", ">=1, <3"]})
);
schema!(
    /// A number that every JSON library keeps exactly.
    SafeNumber,
    json_schema!({"type": "integer", "minimum": 0, "maximum": NUMBER_MAX})
);
schema!(
    /// An address.
    UriText,
    json_schema!({"type": "string", "minLength": 1, "maxLength": URI_CHARS_MAX})
);
schema!(
    /// A JSON Schema.
    SchemaDocument,
    json_schema!({"type": ["object", "boolean"]})
);
schema!(
    /// Any JSON.
    AnyJson,
    json_schema!(true)
);
