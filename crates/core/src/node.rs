//! What a node announces: the parts that the registry looks at have types, everything else is carried as it came.

pub use onex_types::kinds::NodeEnd;
use onex_types::{
    bounds::CONTRACT_HASH_PREFIX,
    ids::{Host, LeaseId, Name, Token},
};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record_parts::Unknown;

/// Requests that a node's or bus's record remembers, to make retries idempotent.
pub const REQUESTS_REMEMBERED: usize = 8;

/// Earlier lives of a node of which the request that they began with is remembered.
pub const EARLIER_INCARNATIONS_MAX: usize = 16;
/// The highest epoch that may be named for a new life: 2^52. The registry counts on from there, and numbers on
/// the wire are exact up to 2^53, so nobody can name one that leaves no room for the next.
pub const EPOCH_NAMED_MAX: u64 = 1 << 52;

/// The member of a tool by which its node bounds one attempt to call it, in milliseconds.
const ATTEMPT_TIMEOUT: &str = "attempt_timeout_ms";

/// What a node says of itself: members that are judged or looked up by have types, all others are carried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// Its version.
    pub version: Version,
    /// What kind of node it is.
    pub node_type: NodeType,
    /// By which it can be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Name>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Of all that callers rely on, its tools' contracts among it: a hash.
    pub contract_hash: String,
    /// Of all that callers rely on but its tools.
    pub base_hash: String,
    /// How long it is as JSON, less its tools, in bytes.
    pub bytes: usize,
    /// Where it can be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound_ports: Vec<Inbound>,
    /// What it offers, by name and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Everything else that it said.
    #[serde(flatten)]
    pub more: Unknown,
}

/// A port on which a node listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inbound {
    /// The lease of it, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Its number.
    pub port: u16,
    /// Everything else that was said of it.
    #[serde(flatten)]
    pub more: Unknown,
}

/// A tool that a node offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its name.
    pub name: Token,
    /// Its version.
    pub version: Version,
    /// Of its contract.
    pub contract_hash: String,
    /// How long it is where its node is described, as JSON, in bytes.
    pub bytes: usize,
    /// How many regular expressions its schemas hold.
    #[serde(default)]
    pub patterns: usize,
    /// Where the node takes its requests.
    pub subject: String,
    /// By which it can be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Name>,
    /// Everything else that was said of it.
    #[serde(flatten)]
    pub more: Unknown,
}

/// What kind of node it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NodeType {
    /// It offers tools.
    Tool,
    /// It judges other nodes.
    Validator,
    /// It tests.
    Test,
    /// It connects something else to the bus.
    Adapter,
    /// It acts on its own.
    Agent,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

impl Tool {
    /// How long one attempt to call it may take, in milliseconds, where its node says so.
    pub fn attempt_timeout_ms(&self) -> Option<u64> {
        self.more.get(ATTEMPT_TIMEOUT)?.as_u64()
    }

    /// Whether it is the one of that name and version.
    pub fn is(&self, name: &Token, version: &Version) -> bool {
        self.name == *name && self.version == *version
    }
}

impl Registration {
    /// The same with its tools in order and with the contract hash that follows from them: SHA-256 over
    /// the base hash and, each on a line of its own behind that, the name, version and contract hash of
    /// every tool, the lines in the order of their bytes. Versions count here: validators judge a program, not
    /// only what it promises.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.order_tools();
        let line = |tool: &Tool| format!("\n{} {} {}", tool.name, tool.version, tool.contract_hash);
        let mut lines: Vec<String> = self.tools.iter().map(line).collect();
        lines.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(&self.base_hash);
        for line in lines {
            hash.update(line);
        }
        self.contract_hash = format!("{CONTRACT_HASH_PREFIX}{:x}", hash.finalize());
        self
    }

    /// Brings its tools into the order by which [`Registration::tools_named`] finds them.
    pub fn order_tools(&mut self) {
        self.tools
            .sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    }

    /// How long it is as JSON, in bytes.
    pub fn total_bytes(&self) -> usize {
        self.bytes + self.tools.iter().map(|tool| tool.bytes).sum::<usize>()
    }

    /// How many regular expressions its tools hold.
    pub fn patterns(&self) -> usize {
        self.tools.iter().map(|tool| tool.patterns).sum()
    }

    /// The tool of that name and version.
    pub fn tool(&self, name: &Token, version: &Version) -> Option<&Tool> {
        self.tools_named(name).find(|tool| tool.version == *version)
    }

    /// The tools of that name, oldest first.
    pub fn tools_named<'a>(&'a self, name: &Token) -> impl Iterator<Item = &'a Tool> + use<'a> {
        // Whoever wrote them, they are brought into order when they are seen.
        let first = self.tools.partition_point(|tool| tool.name < *name);
        let behind = self.tools.get(first..).unwrap_or_default();
        let count = behind.iter().take_while(|tool| tool.name == *name).count();
        behind.iter().take(count)
    }
}
