//! The endpoints: each once.

use crate::error::ErrorCode;

/// An endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `port.lease`
    PortLease,
    /// `port.heartbeat`
    PortHeartbeat,
    /// `port.release`
    PortRelease,
    /// `port.list`
    PortList,
    /// `port.resolve`
    PortResolve,
    /// `pool.list`
    PoolList,
    /// `node.register`
    NodeRegister,
    /// `node.heartbeat`
    NodeHeartbeat,
    /// `node.deregister`
    NodeDeregister,
    /// `node.list`
    NodeList,
    /// `tool.register`
    ToolRegister,
    /// `tool.deregister`
    ToolDeregister,
    /// `tool.list`
    ToolList,
    /// `tool.describe`
    ToolDescribe,
    /// `tool.invoke`
    ToolInvoke,
    /// `tool.resolve`
    ToolResolve,
    /// `bus.register`
    BusRegister,
    /// `bus.deregister`
    BusDeregister,
    /// `bus.list`
    BusList,
    /// `schema.list`
    SchemaList,
    /// `schema.get`
    SchemaGet,
    /// `trust.report`
    TrustReport,
    /// `trust.get`
    TrustGet,
    /// `describe`
    Describe,
    /// `help`
    Help,
}

/// How a holder counts, for clients that nobody here wrote.
pub const HOLDERS_CLOCK: &str = "You hold the port until ttl seconds after the moment before you first sent the \
    request that was granted or last renewed (a retry with the same request_id does not restart it), on a clock that \
    runs while the machine sleeps, by the reply with the highest revision. Then stop using it. After you have \
    sent port.release, or were told LEASE_EXPIRED or LEASE_NOT_FOUND, never use it again. A port that you leased with \
    a node_id is yours as long as the node is: the same rule with node.register and node.heartbeat in the place of \
    port.lease and port.heartbeat.";

/// Bytes of a request, at most.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request that carries a tool's schemas, at most.
pub const TOOL_REQUEST_BYTES_MAX: usize = 192 * 1024;
/// Bytes of a request that announces a node, at most, and of the node with all tools that it adds later.
pub const NODE_BYTES_MAX: usize = 448 * 1024;

/// Bytes of a request that calls a tool, at most.
pub const INVOKE_REQUEST_BYTES_MAX: usize = 448 * 1024;

impl Endpoint {
    /// All of them, in the order in which help lists them.
    pub const ALL: [Self; 25] = [
        Self::PortLease,
        Self::PortHeartbeat,
        Self::PortRelease,
        Self::PortList,
        Self::PortResolve,
        Self::PoolList,
        Self::NodeRegister,
        Self::NodeHeartbeat,
        Self::NodeDeregister,
        Self::NodeList,
        Self::ToolRegister,
        Self::ToolDeregister,
        Self::ToolList,
        Self::ToolDescribe,
        Self::ToolInvoke,
        Self::ToolResolve,
        Self::BusRegister,
        Self::BusDeregister,
        Self::BusList,
        Self::SchemaList,
        Self::SchemaGet,
        Self::TrustReport,
        Self::TrustGet,
        Self::Describe,
        Self::Help,
    ];

    /// Its name, as it stands in its subject.
    pub fn name(self) -> &'static str {
        match self {
            Self::PortLease => "port.lease",
            Self::PortHeartbeat => "port.heartbeat",
            Self::PortRelease => "port.release",
            Self::PortList => "port.list",
            Self::PortResolve => "port.resolve",
            Self::PoolList => "pool.list",
            Self::NodeRegister => "node.register",
            Self::NodeHeartbeat => "node.heartbeat",
            Self::NodeDeregister => "node.deregister",
            Self::NodeList => "node.list",
            Self::ToolRegister => "tool.register",
            Self::ToolDeregister => "tool.deregister",
            Self::ToolList => "tool.list",
            Self::ToolDescribe => "tool.describe",
            Self::ToolInvoke => "tool.invoke",
            Self::ToolResolve => "tool.resolve",
            Self::BusRegister => "bus.register",
            Self::BusDeregister => "bus.deregister",
            Self::BusList => "bus.list",
            Self::SchemaList => "schema.list",
            Self::SchemaGet => "schema.get",
            Self::TrustReport => "trust.report",
            Self::TrustGet => "trust.get",
            Self::Describe => "describe",
            Self::Help => "help",
        }
    }

    /// Its name as a micro service's endpoint, where dots are not allowed.
    pub fn micro_name(self) -> String {
        self.name().replace('.', "-")
    }

    /// What it does.
    pub fn description(self) -> &'static str {
        match self {
            Self::PortLease => {
                "Grants a port that nobody else holds, for ttl seconds; renew it with port.heartbeat."
            }
            Self::PortHeartbeat => {
                "Lets one lease, several, or all that you hold last their ttl again."
            }
            Self::PortRelease => "Ends a lease. Stop using the port before you send this.",
            Self::PortList => "Lists live leases in the order of host, transport and port.",
            Self::PortResolve => "Finds the live leases of a name or with a label, to connect to.",
            Self::PoolList => {
                "Lists the ports there are to grant, by host and transport, and how many are free."
            }
            Self::NodeRegister => {
                "Announces a node with its ports and tools, or again what has changed; keep it alive with \
                node.heartbeat."
            }
            Self::NodeHeartbeat => {
                "Lets a node last its ttl again, and with it all that ends with it."
            }
            Self::NodeDeregister => {
                "Ends a node; its leases, tools and buses end with it. Stop using its ports before you send this."
            }
            Self::NodeList => {
                "Lists nodes in the order of their ids, for a while also those that have ended."
            }
            Self::ToolRegister => {
                "Adds a tool to a live node, or puts another contract in its place."
            }
            Self::ToolDeregister => "Takes a tool from a live node.",
            Self::ToolList => "Lists the tools of live nodes in the order of their names.",
            Self::ToolDescribe => "Shows a tool's contract, and who offers it.",
            Self::ToolInvoke => {
                "Has a tool called by one of the nodes that offer it: arguments and result are checked by its contract."
            }
            Self::ToolResolve => {
                "Says where a tool can be called, for callers that go straight to its provider."
            }
            Self::BusRegister => "Announces a bus, which may end with a node or with a lease.",
            Self::BusDeregister => "Ends a bus.",
            Self::BusList => "Lists buses in the order of their ids.",
            Self::SchemaList => {
                "Lists the JSON Schemas of messages, tools and nodes in the order of kind and name."
            }
            Self::SchemaGet => "Shows one JSON Schema.",
            Self::TrustReport => "Says whether a node does what its contract says; for validators.",
            Self::TrustGet => "Says how far a node is to be trusted, and why.",
            Self::Describe => {
                "Says what this registry is, which instances share the work, and what there is; with a node_id, all \
                about that node."
            }
            Self::Help => "Lists the endpoints with their schemas and an example of each.",
        }
    }

    /// Bytes that a request to it may have.
    pub fn request_bytes_max(self) -> usize {
        match self {
            Self::NodeRegister => NODE_BYTES_MAX,
            Self::ToolRegister => TOOL_REQUEST_BYTES_MAX,
            Self::ToolInvoke => INVOKE_REQUEST_BYTES_MAX,
            _ => REQUEST_BYTES_MAX,
        }
    }

    /// The errors that it can answer with, and no others.
    pub fn errors(self) -> Vec<ErrorCode> {
        use ErrorCode as Code;
        let own = self.own_errors();
        let may = |code: &Code| match code {
            Code::InvalidRequest | Code::TooLarge | Code::Busy | Code::Internal => true,
            // Those that take min_revision.
            Code::StoreChanged | Code::Stale => self != Self::Help,
            // A negative answer is checked, and that takes a write.
            Code::StoreUnavailable => self.writes() || !own.is_empty(),
            code => own.contains(code),
        };
        ErrorCode::ALL.iter().copied().filter(may).collect()
    }

    /// Those of them that not every endpoint like it has.
    fn own_errors(self) -> &'static [ErrorCode] {
        use ErrorCode as Code;
        match self {
            Self::PortLease => &[
                Code::PoolNotFound,
                Code::PortUnavailable,
                Code::LeaseExpired,
                Code::IdempotencyMismatch,
                Code::LimitExceeded,
                Code::ResourceExhausted,
                Code::NodeNotFound,
                Code::Superseded,
                Code::NotHolder,
            ],
            Self::PortHeartbeat => &[
                Code::NotHolder,
                Code::LeaseNotFound,
                Code::LeaseExpired,
                Code::IdempotencyMismatch,
            ],
            Self::PortRelease => &[
                Code::NotHolder,
                Code::LeaseNotFound,
                Code::IdempotencyMismatch,
            ],
            Self::NodeRegister => &[
                Code::Superseded,
                Code::NotHolder,
                Code::LeaseNotFound,
                Code::LeaseExpired,
                Code::IdempotencyMismatch,
                Code::Forbidden,
                Code::LimitExceeded,
            ],
            Self::NodeHeartbeat | Self::NodeDeregister => {
                &[Code::NodeNotFound, Code::Superseded, Code::NotHolder]
            }
            Self::ToolRegister => &[
                Code::NodeNotFound,
                Code::Superseded,
                Code::NotHolder,
                Code::IdempotencyMismatch,
                Code::Forbidden,
                Code::LimitExceeded,
            ],
            Self::ToolDeregister => &[
                Code::NodeNotFound,
                Code::ToolNotFound,
                Code::Superseded,
                Code::NotHolder,
                Code::IdempotencyMismatch,
                Code::Forbidden,
            ],
            Self::BusRegister => &[
                Code::NodeNotFound,
                Code::LeaseNotFound,
                Code::LeaseExpired,
                Code::NotHolder,
                Code::IdempotencyMismatch,
                Code::LimitExceeded,
            ],
            Self::BusDeregister => &[
                Code::BusNotFound,
                Code::NotHolder,
                Code::IdempotencyMismatch,
            ],
            Self::TrustReport => &[
                Code::NodeNotFound,
                Code::Forbidden,
                Code::IdempotencyMismatch,
                Code::LimitExceeded,
            ],
            Self::TrustGet | Self::Describe => &[Code::NodeNotFound],
            Self::ToolDescribe => &[Code::ToolNotFound],
            Self::ToolInvoke => &[
                Code::InvalidArguments,
                Code::Forbidden,
                Code::ToolNotFound,
                Code::ProviderNotFound,
                Code::ContractChanged,
                Code::IdempotencyMismatch,
                Code::ToolError,
                Code::InvalidResult,
                Code::ToolTimeout,
            ],
            Self::ToolResolve => &[
                Code::ToolNotFound,
                Code::ProviderNotFound,
                Code::ContractChanged,
            ],
            Self::SchemaGet => &[Code::SchemaNotFound],
            Self::PortList
            | Self::PortResolve
            | Self::PoolList
            | Self::NodeList
            | Self::ToolList
            | Self::BusList
            | Self::SchemaList
            | Self::Help => &[],
        }
    }

    /// Whether it keeps or ends a lease or a node: what must not be refused because others ask for much.
    pub fn is_upkeep(self) -> bool {
        matches!(
            self,
            Self::PortHeartbeat | Self::PortRelease | Self::NodeHeartbeat | Self::NodeDeregister
        )
    }

    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        match self {
            Self::PortLease
            | Self::PortHeartbeat
            | Self::PortRelease
            | Self::NodeRegister
            | Self::NodeHeartbeat
            | Self::NodeDeregister
            | Self::ToolRegister
            | Self::ToolDeregister
            | Self::BusRegister
            | Self::BusDeregister
            | Self::ToolInvoke
            | Self::TrustReport => true,
            Self::PortList
            | Self::PortResolve
            | Self::PoolList
            | Self::NodeList
            | Self::ToolList
            | Self::ToolDescribe
            | Self::ToolResolve
            | Self::BusList
            | Self::SchemaList
            | Self::SchemaGet
            | Self::TrustGet
            | Self::Describe
            | Self::Help => false,
        }
    }
}
