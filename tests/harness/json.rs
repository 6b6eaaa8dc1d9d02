//! What the tests say in JSON.

use onex_registry::protocol::json::JsonText;
use serde_json::Value;

/// JSON, with numbers rounded that have no room in a value.
pub(crate) fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    JsonText::parse(text)?.rounded()
}

/// An object with those members as well, in the place of its own of the same names.
pub(crate) fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}
