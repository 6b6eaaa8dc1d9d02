//! JSON Schemas of the domain's texts and numbers, which know nothing of schemas themselves.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::domain::ids::{HOST_CHARS_MAX, LABEL_CHARS_MAX, TOKEN_CHARS_MAX, TTL_SECONDS_MAX};

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
    /// A time.
    Time,
    json_schema!({"type": "string", "format": "date-time"})
);
schema!(
    /// A transport.
    TransportText,
    json_schema!({"type": "string", "enum": ["tcp", "udp"]})
);
