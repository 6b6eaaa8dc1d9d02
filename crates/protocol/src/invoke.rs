//! Calling tools: `tool.invoke` and `tool.resolve`.

use std::fmt;

use onex_types::ids::{Digest, NodeId, RequestId, RequesterId, Token};
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use onex_types::kinds::Executed;

use crate::{
    bounds::{
        self, ATTEMPT_TIMEOUT_MILLIS_MAX, ATTEMPT_TIMEOUT_MILLIS_MIN, Open, Text, or_default,
    },
    endpoint::Endpoint,
    error::ErrorCode,
    frame::{
        self, CORRELATION_ID_CHARS_MAX, TIMEOUT_MILLIS_DEFAULT, TIMEOUT_MILLIS_MAX,
        correlation_id_rule, is_correlation_id,
    },
    json::{Document, JsonText},
    schema::{VersionRangeText, VersionText},
    tool::Tool,
    trust::TrustState,
    violation::Violation,
};

/// Candidates that a dry run, or a refusal, names at most: those that can be called first.
pub const CANDIDATES_SHOWN_MAX: usize = 64;
/// Characters of a contract's hash, at most.
pub const CONTRACT_HASH_CHARS_MAX: usize = 128;
/// Bytes of a provider's own account of its error that are passed on, at most.
pub const PROVIDER_BODY_BYTES_MAX: usize = 16 * 1024;

/// Which of the nodes that would do is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The one with the lowest id.
    First,
    /// One after another.
    RoundRobin,
    /// The one with the fewest calls under way, over all instances of the registry; of equals the one that
    /// answered faster lately.
    #[default]
    LeastLoaded,
    /// Any.
    Random,
}

/// As it stands on the wire.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::RoundRobin => "round_robin",
            Self::LeastLoaded => "least_loaded",
            Self::Random => "random",
        })
    }
}

/// Who may be asked, and who of them is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Only versions in this range.
    pub tool_version: Option<VersionReq>,
    /// By which rule.
    pub policy: Policy,
    /// Only this node.
    pub provider_node_id: Option<NodeId>,
    /// Only nodes that are trusted.
    pub trusted_only: bool,
    /// Only this contract.
    pub contract_hash: Option<String>,
}

/// Has a tool called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvokeRequest {
    /// The tool's name.
    pub tool_name: Token,
    /// What it is called with: as its input schema says. At most 64 levels deep; the tool gets it byte for byte. Default:
    /// an empty object.
    #[serde(default = "no_arguments", deserialize_with = "arguments")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub arguments: JsonText,
    /// Only versions in this range: `^1.2`, `>=1, <3`, `=1.0.0`. `1.2` means `^1.2`. Of those that there are the
    /// newest; a pre-release only where the range names one, or where there is nothing else.
    #[serde(
        default,
        deserialize_with = "bounds::optional_range",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<VersionRangeText>")]
    pub tool_version: Option<VersionReq>,
    /// Which of the nodes that would do is asked. Default `least_loaded`.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Policy>")]
    pub node_selection_policy: Policy,
    /// Only this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_node_id: Option<NodeId>,
    /// Only nodes that validators trust. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub trusted_only: bool,
    /// Only this contract, as `tool.describe` says it: `CONTRACT_CHANGED` when it is offered no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_hash: Option<Text<CONTRACT_HASH_CHARS_MAX>>,
    /// How long the tool may take, in milliseconds: 1 to 300,000, default 4,000. The header `Onex-Timeout-Ms` counts
    /// where it is there and less.
    #[serde(default, deserialize_with = "timeout_ms")]
    #[schemars(with = "Option<u64>", range(min = 1, max = TIMEOUT_MILLIS_MAX))]
    pub timeout_ms: Option<u64>,
    /// How long one node is given to answer, in milliseconds: 10 to 300,000. Then another node is asked where the tool is
    /// idempotent, and else the call has failed. Default: what the tool's contract says, else as long as the call may take.
    #[serde(
        default,
        deserialize_with = "bounds::attempt_timeout",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<u64>", range(min = ATTEMPT_TIMEOUT_MILLIS_MIN, max = ATTEMPT_TIMEOUT_MILLIS_MAX))]
    pub attempt_timeout_ms: Option<u64>,
    /// The caller's name for what it is doing: comes back in the reply, and goes to the provider and into events.
    /// Counts before the header `Onex-Correlation-Id`. 1 to 128 visible ASCII characters.
    #[serde(
        default,
        deserialize_with = "correlation_id",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = CORRELATION_ID_CHARS_MAX))]
    pub correlation_id: Option<String>,
    /// Who calls, for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// Only say what would be done. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub dry_run: bool,
    /// Your name for this call: the same again is answered with its outcome, and the tool is not called twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

impl InvokeRequest {
    /// A call with those arguments, and nothing else said.
    pub fn new(tool_name: Token, arguments: impl Into<JsonText>) -> Self {
        Self {
            tool_name,
            arguments: arguments.into(),
            tool_version: None,
            node_selection_policy: Policy::default(),
            provider_node_id: None,
            trusted_only: false,
            contract_hash: None,
            timeout_ms: None,
            attempt_timeout_ms: None,
            correlation_id: None,
            requester_id: None,
            dry_run: false,
            request_id: None,
            min_revision: None,
        }
    }

    /// How long the tool may take, in milliseconds.
    pub fn timeout_millis(&self) -> u64 {
        self.timeout_ms.unwrap_or(TIMEOUT_MILLIS_DEFAULT)
    }

    /// What is asked for, condensed: each number counts as it is written, white space and the order of names do not.
    pub fn digest(&self, arguments: &Document) -> Digest {
        let bare = Self {
            arguments: JsonText::default(),
            ..self.clone()
        };
        let mut members = match serde_json::to_value(bare) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let arguments = arguments.clone().distinct();
        members.insert("arguments".to_owned(), arguments);
        frame::digest(Endpoint::ToolInvoke, &members)
    }

    /// Who may be asked.
    pub fn choice(&self) -> Choice {
        Choice {
            tool_version: self.tool_version.clone(),
            policy: self.node_selection_policy,
            provider_node_id: self.provider_node_id.clone(),
            trusted_only: self.trusted_only,
            contract_hash: self.contract_hash.clone().map(String::from),
        }
    }
}

fn no_arguments() -> JsonText {
    Map::new().into()
}

/// For `deserialize_with`: an object; null is an empty one. What is in it is for [`JsonText::document`] to say.
fn arguments<'de, D: serde::Deserializer<'de>>(from: D) -> Result<JsonText, D::Error> {
    let Some(arguments) = Option::<JsonText>::deserialize(from)? else {
        return Ok(no_arguments());
    };
    if arguments.is_object() {
        return Ok(arguments);
    }
    Err(serde::de::Error::custom("must be an object"))
}

fn correlation_id<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    if text.as_deref().is_none_or(is_correlation_id) {
        return Ok(text);
    }
    let message = format!("must be {}", correlation_id_rule());
    Err(serde::de::Error::custom(message))
}

fn timeout_ms<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let millis = Option::<u64>::deserialize(from)?;
    if millis.is_none_or(|millis| (1..=TIMEOUT_MILLIS_MAX).contains(&millis)) {
        return Ok(millis);
    }
    let message = format!("must be 1 to {TIMEOUT_MILLIS_MAX}");
    Err(serde::de::Error::custom(message))
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Called {
    /// The tool answered as its contract says.
    Success,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvokeReply {
    /// `success`.
    pub status: Open<Called>,
    /// The tool's result: as its output schema says, at most 64 levels deep, byte for byte as the tool wrote it.
    pub result: JsonText,
    /// The tool.
    pub tool_name: Token,
    /// Its version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// Its contract.
    pub contract_hash: String,
    /// Who answered.
    pub provider_node_id: NodeId,
    /// The request's, or one that the registry made.
    pub correlation_id: String,
    /// Of this execution: it is in the provider's request and in the events.
    pub execution_id: Uuid,
    /// From choosing a provider until its result was checked, all attempts together, in milliseconds; null when
    /// the call had been made before, under the same request id.
    pub duration_ms: Option<u64>,
    /// How many providers were asked: more than one where one did not answer; null as above.
    pub attempts: Option<u32>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// That nothing was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    /// Only said, not done.
    DryRun,
}

/// What a call would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunReply {
    /// `dry_run`.
    pub status: Open<Planned>,
    /// Who would be asked for what; null when nobody would.
    pub plan: Option<Plan>,
    /// Who offers a tool of that name: those that would do first, at most 64.
    #[schemars(length(max = CANDIDATES_SHOWN_MAX))]
    pub candidates: Vec<Candidate>,
    /// How many there are.
    pub candidate_count: usize,
    /// What is wrong with the arguments, by the contract of whoever would be asked.
    pub violations: Vec<Violation>,
    /// The code that the call would be refused with; null when it would be made.
    pub refusal: Option<String>,
    /// Why, for people.
    #[serde(default)]
    pub refusal_message: Option<String>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Who would be asked for what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The tool.
    pub tool_name: Token,
    /// Its version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// Its contract.
    pub contract_hash: String,
    /// The node that would be called.
    pub provider_node_id: NodeId,
    /// The subject that it would be called on.
    pub subject: String,
    /// Whether somebody listens there, by what the NATS servers say: null where they do not say.
    pub listening: Option<bool>,
    /// By which rule.
    pub node_selection_policy: Open<Policy>,
    /// How long it may take.
    pub timeout_ms: u64,
    /// How long one node is given to answer, in milliseconds; null: as long as the call may take.
    pub attempt_timeout_ms: Option<u64>,
    /// Whether calling it twice does no more than calling it once.
    pub idempotent: bool,
}

/// Whether a node would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CandidateState {
    /// It would be asked.
    Chosen,
    /// It could be.
    Usable,
    /// It could not.
    Out,
}

/// Why a node would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It offers other versions than those that are asked for; pre-releases are only where the range names one.
    Version,
    /// A newer version is offered, by whoever else.
    Older,
    /// It offers another contract.
    Contract,
    /// Another node is asked for.
    NotPinned,
    /// Only trusted nodes are asked for.
    Untrusted,
    /// Its time is up.
    Expired,
    /// It has not answered several times in a row: it is asked again a little later.
    CircuitOpen,
    /// Nobody listens on its subject.
    NoResponders,
    /// It says that it cannot take more calls now.
    Declined,
    /// It did not answer in time.
    Silent,
    /// Nobody listens on its subject any more, and somebody did when it was called.
    Gone,
    /// It has as many calls under way as one may have.
    AtBound,
    /// The registry may not publish on its subject.
    Subject,
}

impl Reason {
    /// For people.
    pub fn said(self) -> &'static str {
        match self {
            Self::Version => "its version is outside the range; a pre-release has to be asked for",
            Self::Older => "a newer version is offered",
            Self::Contract => "it offers another contract",
            Self::NotPinned => "another node is asked for",
            Self::Untrusted => "it is not trusted, and only trusted nodes are asked for",
            Self::Expired => "its time is up: it has sent no heartbeat",
            Self::CircuitOpen => "it did not answer several times in a row; it is asked again soon",
            Self::NoResponders => "nobody listens on its subject",
            Self::Declined => "it says that it cannot take more calls now",
            Self::Silent => "it did not answer in time",
            Self::Gone => "nobody listens on its subject any more",
            Self::AtBound => "it has as many calls under way as a provider may have",
            Self::Subject => {
                "the registry may not call its subject: --tool-subjects does not name it"
            }
        }
    }
}

/// A node that offers a tool of that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The node's id.
    pub node_id: NodeId,
    /// In which version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// Under which contract.
    pub contract_hash: String,
    /// Whether it would do.
    pub state: Open<CandidateState>,
    /// Why not; null where it would. `at_bound` beside `chosen` or `usable`: a call waits for its turn.
    pub reason: Option<Open<Reason>>,
    /// The same for people.
    pub message: Option<String>,
    /// Calls of this tool that it has under way, over all instances of the registry.
    pub in_flight: u32,
    /// Calls of this tool that wait, at this instance, until it has room.
    #[serde(default)]
    pub queued: usize,
    /// How long its last results took, in milliseconds: their mean, of which the last one makes up a fifth. Null while this
    /// instance has had none for five minutes.
    pub recent_ms: Option<f64>,
    /// How far the node is trusted.
    pub trust_state: Open<TrustState>,
}

/// A contract that is offered in the place of the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Offered {
    /// In which version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// The contract's hash.
    pub contract_hash: String,
}

/// Asks where a tool can be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveToolRequest {
    /// The tool's name.
    pub tool_name: Token,
    /// Only versions in this range, as in `tool.invoke`.
    #[serde(
        default,
        deserialize_with = "bounds::optional_range",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<VersionRangeText>")]
    pub tool_version: Option<VersionReq>,
    /// Which of the nodes that would do is named. Default `least_loaded`.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<Policy>")]
    pub node_selection_policy: Policy,
    /// Only this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_node_id: Option<NodeId>,
    /// Only nodes that validators trust. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub trusted_only: bool,
    /// Only this contract: `CONTRACT_CHANGED` when it is offered no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_hash: Option<Text<CONTRACT_HASH_CHARS_MAX>>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

impl ResolveToolRequest {
    /// Asks for a tool of that name, and nothing else.
    pub fn new(tool_name: Token) -> Self {
        Self {
            tool_name,
            tool_version: None,
            node_selection_policy: Policy::default(),
            provider_node_id: None,
            trusted_only: false,
            contract_hash: None,
            min_revision: None,
        }
    }

    /// Who may be named.
    pub fn choice(&self) -> Choice {
        Choice {
            tool_version: self.tool_version.clone(),
            policy: self.node_selection_policy,
            provider_node_id: self.provider_node_id.clone(),
            trusted_only: self.trusted_only,
            contract_hash: self.contract_hash.clone().map(String::from),
        }
    }
}

/// Where a tool can be called, for callers that go straight to its provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveToolReply {
    /// The tool.
    pub tool_name: Token,
    /// Its version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// Who offers it.
    pub provider_node_id: NodeId,
    /// Where it takes requests: the arguments as body, with the headers that `docs/tools.md` names.
    pub subject: String,
    /// What callers rely on, condensed.
    pub contract_hash: String,
    /// The whole contract.
    pub contract: Tool,
    /// What is left of the provider's time without a heartbeat: ask again after that.
    pub expires_in_ms: u64,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// The value of `details.executed`.
pub fn executed_detail(executed: Executed) -> Value {
    match executed {
        Executed::Yes => json!(true),
        Executed::No => json!(false),
        Executed::Unknown => json!("unknown"),
    }
}

/// The code as `refusal` has it.
pub fn refusal(code: ErrorCode) -> String {
    code.as_str().to_owned()
}
