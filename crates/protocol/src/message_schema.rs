//! The JSON Schema of a message, with what every one of them has.

use serde_json::{Value, json};

/// What the `$id` of every schema begins with.
const URN: &str = "urn:onex:registry:v1:";

/// A kind of message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The name of its schema: `port.lease.request`, `event.port.leased`, …
    pub name: String,
    /// JSON Schema 2020-12, with examples.
    pub schema: Value,
}

impl Message {
    /// With what every schema has.
    pub fn new(name: &str, title: &str, mut schema: Value, examples: Vec<Value>) -> Self {
        if let Some(members) = schema.as_object_mut() {
            members.insert("$id".to_owned(), json!(format!("{URN}{name}")));
            members.insert("title".to_owned(), json!(title));
            members.insert("examples".to_owned(), Value::Array(examples));
        }
        Self {
            name: name.to_owned(),
            schema,
        }
    }
}

/// Puts a description of its own into a schema.
pub fn remark(schema: &mut Value, description: &str) {
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), json!(description));
    }
}
