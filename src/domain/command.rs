//! What a registry can be asked to do, and what it can say to that.

use jiff::Timestamp;
use semver::Version;

use super::{
    call::{Begin, End, Outcome},
    counts::Tally,
    ids::{
        BusId, CommandId, ExecutionId, Host, Label, LeaseId, Name, NodeId, Port, RequesterId,
        Token, Transport, Ttl,
    },
    key::{Key, PortKey, Revision},
    node::{Live, Registration, Tool},
    record::{Ended, Json, Lease, Request, Unknown},
    review::Review,
    time::Moment,
    trust::{self, Lifecycle},
    write::Write,
};

pub use onex_core::command::Probed;

pub use super::refusal::{
    BOUND_BUSES, BOUND_HOSTS, BOUND_LEASES, BOUND_NODES, BOUND_PATTERNS, BOUND_TOOLS,
    BOUND_VALIDATORS, Refusal, Unavailable,
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Chosen once; a grant's lease id, and the mark of every record that this command writes.
    pub id: CommandId,
    /// The request that it came with; none for the registry's own.
    pub correlation_id: Option<String>,
    /// Whether the index has been behind a barrier since the command arrived.
    pub confirmed: bool,
    /// What.
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Grant a port.
    Lease(Wish),
    /// Let a lease last its TTL again.
    Renew {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        lease_id: LeaseId,
        /// A longer TTL from now on.
        ttl: Option<Ttl>,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// End a lease for its holder.
    Release {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        lease_id: LeaseId,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// Announce a node, anew or again.
    Announce(Box<Announce>),
    /// Let a node's life last its TTL again.
    Beat {
        /// Which life.
        of: Claim,
        /// A longer TTL from now on.
        ttl: Option<Ttl>,
        /// What it says of its health, when it says anything.
        health: Option<Json>,
    },
    /// End a node's life.
    Leave(Claim),
    /// Offer a tool, or another contract in its place.
    AddTool {
        /// By which life.
        of: Claim,
        /// The tool.
        tool: Box<Tool>,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// Offer a tool no longer.
    RemoveTool {
        /// By which life.
        of: Claim,
        /// Its name.
        name: Token,
        /// Its version; all of them if none.
        version: Option<Version>,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// Look again at what was announced, once it is seen.
    Review(Box<Review>),
    /// Announce a bus.
    AnnounceBus(Box<BusWish>),
    /// End a bus.
    RemoveBus {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        bus_id: BusId,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// Say what a validator thinks of a node.
    Judge(Box<Judgement>),
    /// Begin a call, unless it was begun before.
    BeginCall(Box<Begin>),
    /// End an execution of a call, unless it has ended.
    EndCall(Box<End>),
    /// Count ends of runs of a node's tools.
    Count(Box<Tally>),
    /// Do what time asks for under that key: end what is due, forget what ended long ago.
    Settle(Key),
    /// End that grant, which its caller never got.
    Withdraw(PortKey, LeaseId, Ended),
}

/// Who acts for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which node.
    pub node_id: NodeId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// Which life of it.
    pub epoch: u64,
}

/// A node that announces itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Announce {
    /// Which.
    pub node_id: NodeId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// Which life; none for the next one.
    pub epoch: Option<u64>,
    /// The next one, once it has been chosen for this command and may have been written.
    pub chosen: Option<u64>,
    /// How long it lasts without a heartbeat.
    pub ttl: Ttl,
    /// What it says of itself.
    pub registration: Registration,
    /// The caller's name for this.
    pub request: Option<Request>,
}

/// A bus that is announced.
#[derive(Debug, Clone, PartialEq)]
pub struct BusWish {
    /// Which.
    pub bus_id: BusId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// What is spoken there.
    pub protocol: Token,
    /// The node that it ends with.
    pub node_id: Option<NodeId>,
    /// The lease that it ends with.
    pub lease_id: Option<LeaseId>,
    /// Everything else that was said of it.
    pub more: Unknown,
    /// The caller's name for this.
    pub request: Option<Request>,
}

/// What a validator thinks of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Of which.
    pub node_id: NodeId,
    /// Who thinks so.
    pub validator_id: NodeId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// What.
    pub outcome: trust::Outcome,
    /// In which way it failed.
    pub failure_mode: Option<Label>,
    /// How far it has come.
    pub lifecycle: Option<Lifecycle>,
    /// The contract that was examined; none for the one that the node has now.
    pub contract_hash: Option<String>,
    /// The caller's name for this.
    pub request: Option<Request>,
}

/// The port that someone wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Who.
    pub requester_id: RequesterId,
    /// What will be spoken there.
    pub protocol: Token,
    /// For how long without a renewal.
    pub ttl: Ttl,
    /// The node whose life it ends with; then it has no TTL of its own.
    pub node_id: Option<NodeId>,
    /// Which life of it; none for the one that it leads.
    pub epoch: Option<u64>,
    /// On which host; none for that of its node, or the registry's own when it has none.
    pub host: Option<Host>,
    /// In which port space.
    pub transport: Transport,
    /// Tried first.
    pub preferred: Option<Port>,
    /// Whether only the preferred one will do.
    pub exact: bool,
    /// Sticky, and resolvable.
    pub name: Option<Name>,
    /// For finding it.
    pub labels: Vec<Label>,
    /// When the caller says that it asked.
    pub requested_at: Option<Timestamp>,
    /// The caller's name for this.
    pub request: Option<Request>,
}

/// What to do about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing is to be written.
    Answer(Answer),
    /// Write, and if that is acknowledged give the answer.
    Commit {
        /// The writes, in one piece; what the others hang on comes last.
        writes: Vec<Write>,
        /// What is true once it is acknowledged.
        answer: Answer,
        /// What comes before the answer.
        then: Effect,
    },
    /// Decide again at an exact point there or later.
    Wait(Revision),
}

/// What comes between an acknowledged write and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reply,
    /// The command is decided again once this is seen: what is found then is its answer.
    Again,
    /// Once this is seen it is reviewed: [`Review`]. Others may have changed what was done since: that it
    /// was done is all the same.
    Review,
    /// Wait until this is seen.
    Seen,
    /// It is a grant: judge it again if `echo`, then try the port if `probe`.
    Grant {
        /// Another instance may have granted the same request.
        echo: bool,
        /// The port is on this registry's own host.
        probe: bool,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This lease is live.
    Lease(Held),
    /// This lease has ended.
    Ended {
        /// Which.
        lease_id: LeaseId,
        /// How.
        ended: Ended,
        /// When, for people.
        at: Timestamp,
        /// Where in the stream; 0 while that is being written.
        revision: Revision,
    },
    /// This node is known, and this is its life.
    Node(Box<Known>),
    /// So it stands with a call.
    Execution {
        /// Its last execution.
        execution_id: ExecutionId,
        /// Whether that is the one of the command that asks: it is to carry it out.
        own: bool,
        /// What came of it; none while it runs.
        outcome: Option<Outcome>,
    },
    /// What was asked for is so, since that revision at the latest; 0 while that is being written.
    Done(Revision),
    /// There was nothing to do.
    Nothing,
}

impl Answer {
    /// The same, true since `revision`.
    pub(super) fn at(self, revision: Revision) -> Self {
        match self {
            Self::Lease(held) => Self::Lease(Held { revision, ..held }),
            Self::Ended {
                lease_id,
                ended,
                at,
                ..
            } => Self::Ended {
                lease_id,
                ended,
                at,
                revision,
            },
            Self::Node(known) => Self::Node(Box::new(Known { revision, ..*known })),
            Self::Done(_) => Self::Done(revision),
            Self::Execution { .. } | Self::Nothing => self,
        }
    }
}

/// A node as its caller is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Which.
    pub node_id: NodeId,
    /// Its life.
    pub live: Live,
    /// Where in the stream that is; 0 while it is being written.
    pub revision: Revision,
    /// Since when its TTL counts, by this instance's clock.
    pub since: Moment,
}

/// A live lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The key of its first port.
    pub key: PortKey,
    /// The lease.
    pub lease: Lease,
    /// Its record's revision; 0 while that is being written.
    pub revision: Revision,
    /// Since when its TTL counts, by this instance's clock.
    pub since: Moment,
    /// What trying the port said; none where nobody tried.
    pub probed: Option<Probed>,
}
