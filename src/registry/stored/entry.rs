//! The schema of an entry of the log.

use onex_core::entry::Entry;
use onex_types::entry::ENTRY_HEADER;
use serde_json::{Value, json};

use crate::protocol::{
    message_schema::{Message, remark},
    names::{self, Namespace},
};

use super::{examples, schema::schema_of};

/// The schema of an entry.
pub(super) fn message() -> Message {
    let bucket = Namespace::default().bucket();
    let mut schema = schema_of::<Entry>(false);
    let description = format!(
        "What all commands changed that were decided together. The key `log` of the bucket {bucket} is the log, and its \
        history is what the registry's state is made of; `nats kv get {bucket} log` shows the newest entry. Entries that \
        are older than two snapshots are removed. Members of records that this version does not know may be there, from \
        a later one."
    );
    remark(&mut schema, &description);
    if let Some(schema) = schema.as_object_mut() {
        let subject = names::bucket_subject(&bucket, "log");
        schema.insert("x-nats-subject".to_owned(), json!(subject));
        schema.insert("x-nats-headers".to_owned(), headers());
    }
    Message::new("entry", "Entry of the log", schema, examples::entries())
}

fn headers() -> Value {
    json!({
        "type": "object",
        "required": [ENTRY_HEADER],
        "properties": {
            ENTRY_HEADER: {
                "type": "string",
                "pattern": "^[0-9a-f]{32} [0-9a-f]{32} [0-9]+ [0-9]+ [0-9a-f]{32}$",
                "description": "<id> <predecessor> <format> <snapshot sequence> <snapshot id>: the entry's id, the id of \
                    the valid entry before it, the format of its body, and the newest complete snapshot, by the sequence \
                    and the id of the entry with its first chunk; 0 and zeros where there is none. A message without \
                    this header, or whose predecessor is not the last valid entry, is no entry: it is passed over.",
            },
        },
    })
}
