//! JSON Schemas of texts and numbers of `onex_types`, which know nothing of schemas themselves.

use std::borrow::Cow;

use onex_types::ids::{HOST_CHARS_MAX, LABEL_CHARS_MAX, TOKEN_CHARS_MAX, TTL_SECONDS_MAX};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::Value;

use crate::{
    bounds::{NUMBER_MAX, VERSION_CHARS_MAX},
    uri::URI_CHARS_MAX,
};

/// JSON Schema 2020-12 of a type, all in one piece.
pub(super) fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The same, to stand inside another schema.
pub(super) fn of_part<T: JsonSchema>() -> Value {
    let mut schema = of::<T>();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
    }
    schema
}

/// The same of a request: what it does not name is refused, in the objects within it as well.
pub(super) fn of_request<T: JsonSchema>() -> Value {
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

/// JSON Schema of what is stored: a member that has no value is absent there, never null.
pub(super) fn of_stored<T: JsonSchema>() -> Value {
    let mut schema = of::<T>();
    forbid_null(&mut schema);
    schema
}

/// The same of a large type: each type in it stands once, under `$defs`.
pub(super) fn of_stored_with_parts<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let schema = settings.into_generator().into_root_schema_for::<T>();
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

/// JSON Schema of what a type of somebody else's reads, without the name that it has there.
pub(super) fn read_by<T: JsonSchema>() -> Value {
    nameless::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// JSON Schema of what a type of somebody else's writes, without the name that it has there.
pub(super) fn written_by<T: JsonSchema>() -> Value {
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
        pub struct $name;

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
    /// An id.
    UuidText,
    json_schema!({"type": "string", "format": "uuid"})
);
schema!(
    /// A token.
    TokenText,
    json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1, "maxLength": TOKEN_CHARS_MAX})
);
schema!(
    /// A token with inner single dots.
    NameText,
    json_schema!({
        "type": "string", "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        "minLength": 1, "maxLength": TOKEN_CHARS_MAX,
    })
);
schema!(
    /// A host.
    HostText,
    json_schema!({"type": "string", "minLength": 1, "maxLength": HOST_CHARS_MAX})
);
schema!(
    /// A label.
    LabelText,
    json_schema!({"type": "string", "minLength": 1, "maxLength": LABEL_CHARS_MAX})
);
schema!(
    /// A TTL.
    TtlSeconds,
    json_schema!({"type": "integer", "minimum": 1, "maximum": TTL_SECONDS_MAX})
);
schema!(
    /// A port.
    PortNumber,
    json_schema!({"type": "integer", "minimum": 1, "maximum": 65535})
);
schema!(
    /// The key of a port.
    PortKeyText,
    json_schema!({"type": "string", "pattern": r"^port\.[A-Za-z0-9_=-]+\.(tcp|udp)\.[1-9][0-9]*$"})
);
schema!(
    /// The key of a record in the log.
    KeyText,
    json_schema!({
        "type": "string",
        "pattern": r"^(sys\.(store|settings|named|restored|format)|port\.[A-Za-z0-9_=-]+\.(tcp|udp)\.[1-9][0-9]*|(pool|req|node|live|bus|trust|call|run|exec|host)\.[A-Za-z0-9_=-]+)$",
    })
);
schema!(
    /// A time.
    Time,
    json_schema!({"type": "string", "format": "date-time"})
);
schema!(
    /// A transport.
    TransportText,
    json_schema!({"type": "string", "enum": ["tcp", "udp"]})
);
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
