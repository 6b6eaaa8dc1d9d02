//! What the tests say in JSON.

use serde_json::Value;

/// An object with those members as well, in the place of its own of the same names.
pub(crate) fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}
