//! Tools as nodes announce them, and the requests and replies of `tool.*` but `tool.invoke`.

use onex_types::ids::{Host, Invalid, Label, Name, NodeId, RequestId, RequesterId, Token};
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    bounds::{
        self, ATTEMPT_TIMEOUT_MILLIS_MAX, ATTEMPT_TIMEOUT_MILLIS_MIN, DESCRIPTION_CHARS_MAX, Open,
        Text, list, or_default,
    },
    json::exact_value,
    port::{Limit, PAGE_ITEMS_MAX},
    schema::{self, AnyJson, SafeNumber, SchemaDocument, VersionRangeText, VersionText},
    subject::SUBJECT_CHARS_MAX,
    trust::TrustState,
    warning::Warning,
};

/// Error codes of one tool, at most.
pub const TOOL_ERROR_CODES_MAX: usize = 64;
/// Side effects of one tool, at most.
pub const TOOL_SIDE_EFFECTS_MAX: usize = 32;
/// Tags of one tool, at most.
pub const TOOL_TAGS_MAX: usize = 32;
/// Providers that a list names of one tool; `providers` counts them all.
pub const PROVIDERS_SHOWN_MAX: usize = 16;
/// Versions, and tags, that a list shows of one tool: no item is larger than a page.
pub const VERSIONS_SHOWN_MAX: usize = 64;
/// Other contracts by the same name and version that are named, at most.
pub const VARIANTS_SHOWN_MAX: usize = 64;
/// Bytes that those of them take together that are shown in full.
pub const VARIANTS_BYTES_MAX: usize = 64 * 1024;

/// What others may call, and on which terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// By which it is called.
    pub name: Token,
    /// Which version of it: a semantic version.
    #[serde(deserialize_with = "bounds::version")]
    #[schemars(with = "VersionText")]
    pub version: Version,
    /// What it does, for people and for agents that choose a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<DESCRIPTION_CHARS_MAX>>,
    /// What its arguments must be: JSON Schema 2020-12 that admits an object, at most 64 levels deep. `$ref` within it
    /// only. Default: any object.
    #[serde(default = "any_object", deserialize_with = "input_schema")]
    #[schemars(with = "Option<SchemaDocument>")]
    pub input_schema: Value,
    /// What its result is: JSON Schema 2020-12, at most 64 levels deep. `$ref` within it only. Default: anything.
    #[serde(default = "anything", deserialize_with = "output_schema")]
    #[schemars(with = "Option<SchemaDocument>")]
    pub output_schema: Value,
    /// Errors that it may answer with, at most 64.
    #[serde(
        default,
        deserialize_with = "list::<_, _, TOOL_ERROR_CODES_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Label>>", length(max = TOOL_ERROR_CODES_MAX))]
    pub error_codes: Vec<Label>,
    /// What it changes beyond its result, at most 32.
    #[serde(
        default,
        deserialize_with = "list::<_, _, TOOL_SIDE_EFFECTS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Label>>", length(max = TOOL_SIDE_EFFECTS_MAX))]
    pub side_effects: Vec<Label>,
    /// Whether calling it twice with the same arguments does no more than calling it once. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub idempotent: bool,
    /// How long one node is given to answer a call, in milliseconds: 10 to 300,000. Then another node is asked where the
    /// tool is idempotent, and else the call has failed. Default: as long as the call may take. What the call itself
    /// says counts before this.
    #[serde(
        default,
        deserialize_with = "bounds::attempt_timeout",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<u64>", range(min = ATTEMPT_TIMEOUT_MILLIS_MIN, max = ATTEMPT_TIMEOUT_MILLIS_MAX))]
    pub attempt_timeout_ms: Option<u64>,
    /// By which it can be found, at most 32.
    #[serde(
        default,
        deserialize_with = "list::<_, _, TOOL_TAGS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Name>>", length(max = TOOL_TAGS_MAX))]
    pub tags: Vec<Name>,
    /// Where it listens. Default: a subject made of its name and the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text<SUBJECT_CHARS_MAX>>,
}

impl Tool {
    /// A tool that takes an `Input` and gives an `Output`, with the contract that follows from these types: what
    /// `Input` reads, and what `Output` writes. Doc comments become descriptions. `Input` has to be a struct, or
    /// something else that stands as an object in JSON.
    ///
    /// ```
    /// use onex_protocol::tool::Tool;
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Add {
    ///     /// What to add up.
    ///     terms: Vec<f64>,
    /// }
    ///
    /// #[derive(Serialize, JsonSchema)]
    /// struct Sum {
    ///     sum: f64,
    /// }
    ///
    /// let add = Tool { idempotent: true, ..Tool::of::<Add, Sum>("add", "1.0.0")? };
    /// assert_eq!(add.input_schema["required"], serde_json::json!(["terms"]));
    /// # Ok::<_, onex_types::ids::Invalid>(())
    /// ```
    pub fn of<Input: JsonSchema, Output: JsonSchema>(
        name: &str,
        version: &str,
    ) -> Result<Self, Invalid> {
        Ok(Self {
            name: name
                .parse()
                .map_err(|error| Invalid(format!("the name of a tool {error}")))?,
            version: bounds::parse_version(version)
                .map_err(|error| Invalid(format!("the version of a tool {error}")))?,
            description: None,
            input_schema: schema::read_by::<Input>(),
            output_schema: schema::written_by::<Output>(),
            error_codes: Vec::new(),
            side_effects: Vec::new(),
            idempotent: false,
            attempt_timeout_ms: None,
            tags: Vec::new(),
            subject: None,
        })
    }
}

/// An input schema that says nothing else.
pub fn any_object() -> Value {
    json!({"type": "object"})
}

/// A schema that says nothing.
pub fn anything() -> Value {
    Value::Bool(true)
}

fn input_schema<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    Ok(exact_value(from)?.unwrap_or_else(any_object))
}

fn output_schema<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    Ok(exact_value(from)?.unwrap_or_else(anything))
}

/// Adds a tool to a running node, or replaces the one of that name and version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRegisterRequest {
    /// The node that offers it.
    pub node_id: NodeId,
    /// Who registered the node.
    pub requester_id: RequesterId,
    /// The node's, from its registration.
    #[serde(deserialize_with = "bounds::number")]
    #[schemars(with = "SafeNumber")]
    pub epoch: u64,
    /// The tool.
    #[serde(deserialize_with = "bounds::object")]
    pub tool: Tool,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Takes a tool from a running node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolDeregisterRequest {
    /// The node that offers it.
    pub node_id: NodeId,
    /// Who registered the node.
    pub requester_id: RequesterId,
    /// The node's, from its registration.
    #[serde(deserialize_with = "bounds::number")]
    #[schemars(with = "SafeNumber")]
    pub epoch: u64,
    /// The tool's name.
    pub name: Token,
    /// Only this version of it. Default: all that the node offers.
    #[serde(
        default,
        deserialize_with = "bounds::optional_version",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<VersionText>")]
    pub version: Option<Version>,
    /// Your name for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// What became of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolStatus {
    /// The node offers it.
    Accepted,
    /// The node does not offer it any more.
    Removed,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// What became of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolChangeReply {
    /// The node.
    pub node_id: NodeId,
    /// The tool.
    pub name: Token,
    /// Its version; null when all versions were removed.
    #[schemars(with = "Option<VersionText>")]
    pub version: Option<Version>,
    /// What callers rely on, condensed; null when all versions were removed.
    pub contract_hash: Option<String>,
    /// `accepted` or `removed`.
    pub status: ToolStatus,
    /// What is worth a look, though it was done: that others offer another contract by that name and
    /// version.
    pub warnings: Vec<Warning>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Asks for the tools of live nodes, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolListRequest {
    /// Only of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Token>,
    /// Only with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Name>,
    /// Only of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Only versions in this range: `^1.2`, `>=1, <3`, `=1.0.0`. `1.2` means `^1.2`.
    #[serde(
        default,
        deserialize_with = "bounds::optional_range",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<VersionRangeText>")]
    pub version: Option<VersionReq>,
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

/// A tool, with all its versions and providers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolItem {
    /// Its name.
    pub name: Token,
    /// Its versions, the newest first, at most 64.
    #[schemars(with = "Vec<VersionText>", length(max = VERSIONS_SHOWN_MAX))]
    pub versions: Vec<Version>,
    /// How many nodes offer it.
    pub providers: usize,
    /// The first 16 of them.
    #[schemars(length(max = PROVIDERS_SHOWN_MAX))]
    pub provider_node_ids: Vec<NodeId>,
    /// What callers rely on, condensed; null when there is more than one contract.
    pub contract_hash: Option<String>,
    /// Whether nodes offer different contracts by the same name and version.
    pub collision: bool,
    /// The tags of all of them, at most 64.
    #[schemars(length(max = VERSIONS_SHOWN_MAX))]
    pub tags: Vec<Name>,
}

/// Asks for one tool's contract and its providers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolDescribeRequest {
    /// Its name.
    pub name: Token,
    /// Which version. Default: the newest that a live node offers.
    #[serde(
        default,
        deserialize_with = "bounds::optional_version",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<VersionText>")]
    pub version: Option<Version>,
    /// Providers of this page, at most: 1 to 1,000, default 100.
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

/// Another contract by the same name and version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Variant {
    /// What callers rely on, condensed.
    pub contract_hash: String,
    /// How many nodes offer it.
    pub providers: usize,
    /// The whole; null where that would make the answer too long: `describe` of a node that offers it has it.
    pub contract: Option<Tool>,
}

/// A node that offers a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// The node that offers it.
    pub node_id: NodeId,
    /// Where it runs; null if it did not say.
    pub host: Option<Host>,
    /// Where the tool listens.
    pub subject: String,
    /// Which contract it offers.
    pub contract_hash: String,
    /// How far the node is trusted.
    pub trust_state: Open<TrustState>,
    /// 0 to 1; null while nobody has examined it.
    pub trust_score: Option<f64>,
    /// What it said of its health at the last heartbeat; null if nothing.
    #[schemars(with = "AnyJson")]
    pub health: Option<Value>,
    /// Whether it is alive.
    pub online: bool,
    /// What is left of its time without a heartbeat.
    pub expires_in_ms: u64,
}

/// A tool's contract and its providers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolDescribeReply {
    /// Its name.
    pub name: Token,
    /// The version that is described.
    #[schemars(with = "VersionText")]
    pub version: Version,
    /// The whole contract: where there are several, the one that most trusted nodes offer, then most nodes.
    pub contract: Tool,
    /// What callers rely on, condensed: the schemas, errors and effects, but no description.
    pub contract_hash: String,
    /// Whether nodes offer different contracts by this name and version.
    pub collision: bool,
    /// The other contracts by this name and version, at most 64.
    #[schemars(length(max = VARIANTS_SHOWN_MAX))]
    pub variants: Vec<Variant>,
    /// Who offers it, or another contract by its name and version, in the order of their ids: a page.
    pub providers: Vec<Provider>,
    /// Where the next page of providers begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// How many providers there are.
    pub provider_count: usize,
    /// All its versions, the newest first.
    #[schemars(with = "Vec<VersionText>")]
    pub versions: Vec<Version>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
