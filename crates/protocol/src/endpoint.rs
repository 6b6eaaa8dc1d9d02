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
    /// `port.rebind`
    PortRebind,
    /// `port.list`
    PortList,
    /// `port.resolve`
    PortResolve,
    /// `port.explain`
    PortExplain,
    /// `pool.list`
    PoolList,
    /// `pool.set`
    PoolSet,
    /// `pool.delete`
    PoolDelete,
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
    /// `admin.port.revoke`
    AdminPortRevoke,
    /// `admin.port.unquarantine`
    AdminPortUnquarantine,
    /// `admin.node.evict`
    AdminNodeEvict,
    /// `admin.host.forget`
    AdminHostForget,
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
    pub const ALL: [Self; 33] = [
        Self::PortLease,
        Self::PortHeartbeat,
        Self::PortRelease,
        Self::PortRebind,
        Self::PortList,
        Self::PortResolve,
        Self::PortExplain,
        Self::PoolList,
        Self::PoolSet,
        Self::PoolDelete,
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
        Self::AdminPortRevoke,
        Self::AdminPortUnquarantine,
        Self::AdminNodeEvict,
        Self::AdminHostForget,
        Self::Describe,
        Self::Help,
    ];

    /// Its name, as it stands in its subject.
    pub fn name(self) -> &'static str {
        match self {
            Self::PortLease => "port.lease",
            Self::PortHeartbeat => "port.heartbeat",
            Self::PortRelease => "port.release",
            Self::PortRebind => "port.rebind",
            Self::PortList => "port.list",
            Self::PortResolve => "port.resolve",
            Self::PortExplain => "port.explain",
            Self::PoolList => "pool.list",
            Self::PoolSet => "pool.set",
            Self::PoolDelete => "pool.delete",
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
            Self::AdminPortRevoke => "admin.port.revoke",
            Self::AdminPortUnquarantine => "admin.port.unquarantine",
            Self::AdminNodeEvict => "admin.node.evict",
            Self::AdminHostForget => "admin.host.forget",
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
            Self::PortRebind => {
                "Gives a lease another port for one that cannot be used; the lease and its other ports stay."
            }
            Self::PortList => "Lists live leases in the order of host, transport and port.",
            Self::PortResolve => "Finds the live leases of a name or with a label, to connect to.",
            Self::PortExplain => "Says who holds a port, or uses it, and why it can be had or not.",
            Self::PoolList => {
                "Lists the ports there are to grant, by host and transport, and how many are free."
            }
            Self::PoolSet => {
                "Sets which ports are granted on a host. Leases outside of them stay until they end."
            }
            Self::PoolDelete => {
                "Takes a host's own ranges of ports away: the default ones hold for it again."
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
            Self::AdminPortRevoke => {
                "Takes a lease away from its holder. Nobody gets its ports before the holder's time is up."
            }
            Self::AdminPortUnquarantine => {
                "Lets a port that another program was using be granted again at once."
            }
            Self::AdminNodeEvict => {
                "Ends a node, whoever registered it, and with it its leases, tools and buses."
            }
            Self::AdminHostForget => {
                "Has a host forgotten on which nothing is: its pool, its names, and the last leases of its ports."
            }
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
            // Those that take min_revision, and are not answered by an instance that has not heard of the store for a while.
            Code::StoreChanged | Code::Stale | Code::StoreUnavailable => self != Self::Help,
            code => own.contains(code),
        };
        ErrorCode::ALL.iter().copied().filter(may).collect()
    }

    /// Those of them that not every endpoint like it has.
    #[expect(clippy::too_many_lines, reason = "one table")]
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
            Self::PortRebind => &[
                Code::NotHolder,
                Code::LeaseNotFound,
                Code::LeaseExpired,
                Code::IdempotencyMismatch,
                Code::ResourceExhausted,
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
            Self::PoolSet => &[Code::Conflict, Code::LimitExceeded],
            Self::PoolDelete => &[Code::Conflict, Code::PoolNotFound],
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
            Self::PortExplain => &[Code::PoolNotFound],
            Self::AdminPortRevoke => &[Code::LeaseNotFound, Code::Conflict],
            Self::AdminPortUnquarantine => &[Code::PortUnavailable],
            Self::AdminNodeEvict => &[Code::NodeNotFound, Code::Superseded],
            Self::AdminHostForget => &[Code::Conflict],
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
            | Self::PortRebind
            | Self::PoolSet
            | Self::PoolDelete
            | Self::NodeRegister
            | Self::NodeHeartbeat
            | Self::NodeDeregister
            | Self::ToolRegister
            | Self::ToolDeregister
            | Self::BusRegister
            | Self::BusDeregister
            | Self::ToolInvoke
            | Self::TrustReport
            | Self::AdminPortRevoke
            | Self::AdminPortUnquarantine
            | Self::AdminNodeEvict
            | Self::AdminHostForget => true,
            Self::PortList
            | Self::PortResolve
            | Self::PortExplain
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
