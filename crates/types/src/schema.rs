//! JSON Schemas of texts and numbers: what the constructors check, as far as a schema can say it.

/// Gives a type a JSON Schema that stands wherever the type is used.
#[macro_export]
macro_rules! impl_schema {
    ($name:ident, $schema:expr) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}
