//! Requests and replies of the `schema.*` endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bounds::{Open, Text},
    port::{Limit, PAGE_ITEMS_MAX},
    schema::AnyJson,
};

/// Longest name of a schema, in characters.
pub const SCHEMA_NAME_CHARS_MAX: usize = 512;

/// What a schema describes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SchemaKind {
    /// A request or reply of the registry: `port.lease.request`.
    Message,
    /// What a tool takes or gives: `add@1.0.0.input`.
    Tool,
    /// A node's inputs or outputs.
    Node,
}

/// Asks for schemas, in the order of kind and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaListRequest {
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SchemaKind>,
    /// Items of this page, at most: 1 to 1,000, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u16>", range(min = 1, max = PAGE_ITEMS_MAX))]
    pub limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A schema, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaItem {
    /// What it describes.
    pub kind: Open<SchemaKind>,
    /// By which it is asked for.
    pub name: String,
    /// What it is, for people.
    pub title: String,
}

/// Asks for one schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaGetRequest {
    /// Its name, as in `schema.list`.
    pub name: Text<SCHEMA_NAME_CHARS_MAX>,
    /// What it describes, where schemas of several kinds have that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SchemaKind>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// One schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaGetReply {
    /// What it describes.
    pub kind: Open<SchemaKind>,
    /// Its name.
    pub name: String,
    /// JSON Schema 2020-12 for messages and tools; for a node what it announced.
    #[schemars(with = "AnyJson")]
    pub schema: Value,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
