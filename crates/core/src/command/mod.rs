//! What a registry can be asked to do, and what it can say to that.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    ids::{
        BusId, CommandId, ExecutionId, Host, Label, LeaseId, Name, NodeId, Port, RequesterId,
        Token, Transport, Ttl,
    },
    key::PortKey,
    time::Moment,
};

use crate::{
    call::{BeginCall, CallOutcome, EndCall, ExecutionEnd, Provider},
    execution::{Call, Run},
    key::Key,
    node::EPOCH_NAMED_MAX,
    node_command::{
        DeregisterBus, DeregisterTool, Heartbeat, NodeAnswer, NodeClaim, OwnerRequest, Register,
        RegisterBus, RegisterTool, TrustReport,
    },
    record::{HostPool, InstanceId, Lease, LeaseEnd, Request, Settings, Store},
    settings::SettingDiffers,
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Chosen once, by who takes the request; the id of the lease that it may grant.
    pub id: CommandId,
    /// The correlation id of the request; none for what the registry does by itself.
    pub correlation_id: Option<String>,
    /// What.
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Grant a port.
    Lease(Box<GrantRequest>),
    /// Let a lease last its TTL again.
    Renew {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        lease_id: LeaseId,
        /// A longer TTL from now on.
        ttl: Option<Ttl>,
        /// Makes retries idempotent.
        request: Option<Request>,
    },
    /// End a lease for its holder.
    Release {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        lease_id: LeaseId,
        /// Makes retries idempotent.
        request: Option<Request>,
    },
    /// Give a lease another port for one of its own.
    Rebind(Box<Rebind>),
    /// Begin a call with a request id, unless the same request began one before.
    BeginCall(Box<BeginCall>),
    /// End an execution of such a call.
    EndCall(Box<EndCall>),
    /// Answer whether a request has begun a call, after an entry that was sent after the question: before anybody says
    /// that nothing was executed.
    FindCall(Request),
    /// An execution without a request id has begun; nobody waits for this.
    BeginRun(Arc<Run>),
    /// Such an execution has ended; nobody waits for this.
    EndRun(Box<EndRun>),
    /// Answer what is there, after an entry that was sent after the question.
    Find(LeaseId),
    /// Change nothing: who waits for it has then read everything that was there when it was asked.
    ReadIndex,
    /// Write the first entry of a log, if it has none.
    Genesis(Box<Genesis>),
    /// Go on from a log that was restored, or that was made anew.
    AcceptRestore {
        /// The highest revision that is known from elsewhere.
        known: u64,
        /// Whether all that held a lease have been started anew since.
        holders_restarted: bool,
    },
    /// Grant again: the time is over for which nothing was granted after a restore.
    EndQuiet,
    /// Write entries in that format from now on.
    RaiseFormat(u32),
    /// Change the settings that all instances share.
    SetSettings {
        /// All of them.
        settings: Box<Settings>,
        /// The revision of those that were read and changed; none to overwrite whatever there is.
        read: Option<u64>,
    },
    /// Set or change a host's port ranges.
    SetPool(Host, Box<HostPool>),
    /// A host has the default ranges again.
    DeletePool(Host),
    /// Forget the ports of a host on which nothing has happened for the retention time.
    ForgetHost(Host),
    /// End what time asks to end under that key, or forget what ended long ago.
    Expire(Key),
    /// A grant whose port is in use: take it back, and grant another port.
    Rollback(Box<Rollback>),
    /// A grant's port was tried: it is not rolled back any more.
    Confirm(PortKey, LeaseId),
    /// Become the named instance, or leave that.
    TakeOver {
        /// Who was named when this was decided on.
        from: Option<InstanceId>,
        /// Who is to be.
        to: InstanceId,
    },
    /// Events that are not out and cannot be kept any longer become one gap: those up to that revision, of the entry at
    /// that position.
    SkipEvents {
        /// By whom.
        instance: InstanceId,
        /// The revision.
        revision: u64,
        /// The position.
        sequence: u64,
        /// Nothing is given up if everything below this position is published by now.
        below: u64,
    },
    /// Every event up to that revision, of the entry at that position, is out.
    Published {
        /// By whom.
        instance: InstanceId,
        /// The revision.
        revision: u64,
        /// The position.
        sequence: u64,
    },
    /// Register a node, anew or again.
    Register(Box<Register>),
    /// Let a node last its TTL again.
    Heartbeat(Box<Heartbeat>),
    /// End a node.
    Deregister(NodeClaim),
    /// Offer a tool.
    RegisterTool(Box<RegisterTool>),
    /// Offer a tool no longer.
    DeregisterTool(Box<DeregisterTool>),
    /// Announce a bus.
    RegisterBus(Box<RegisterBus>),
    /// End a bus.
    DeregisterBus(DeregisterBus),
    /// Say what a validator thinks of a node.
    Report(Box<TrustReport>),
}

/// What the first entry of a log says, and what an instance was started with.
#[derive(Debug, Clone, PartialEq)]
pub struct Genesis {
    /// The store, if it is new.
    pub store: Store,
    /// Its settings, if it is new.
    pub settings: Settings,
    /// Which of the settings somebody gave, by the names under which they are stored: in a store that is there already
    /// these must be as they are given.
    pub given: Vec<String>,
}

/// What a command is to the bounds of the store and of what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It keeps or ends what is there: taken as long as anything can be stored.
    Upkeep,
    /// It adds something.
    Growth,
    /// It changes nothing.
    Question,
    /// The registry's own, or its operator's.
    Own,
}

impl Action {
    /// Whether it ends an execution.
    pub(crate) fn ends_execution(&self) -> bool {
        matches!(self, Self::EndCall(_) | Self::EndRun(_))
    }

    /// What it is to the bounds.
    pub fn class(&self) -> Class {
        match self {
            Self::Lease(_)
            | Self::Rebind(_)
            | Self::Register(_)
            | Self::RegisterTool(_)
            | Self::RegisterBus(_)
            | Self::Report(_)
            | Self::BeginCall(_)
            | Self::BeginRun(_) => Class::Growth,
            Self::Renew { .. }
            | Self::Release { .. }
            | Self::Heartbeat(_)
            | Self::Deregister(_)
            | Self::DeregisterTool(_)
            | Self::DeregisterBus(_)
            | Self::EndCall(_)
            | Self::EndRun(_) => Class::Upkeep,
            Self::Find(_) | Self::FindCall(_) | Self::ReadIndex => Class::Question,
            Self::Genesis(_)
            | Self::AcceptRestore { .. }
            | Self::EndQuiet
            | Self::RaiseFormat(_)
            | Self::SetSettings { .. }
            | Self::SetPool(..)
            | Self::DeletePool(_)
            | Self::ForgetHost(_)
            | Self::Expire(_)
            | Self::Rollback(_)
            | Self::Confirm(..)
            | Self::TakeOver { .. }
            | Self::SkipEvents { .. }
            | Self::Published { .. } => Class::Own,
        }
    }
}

/// How many ports one lease may have in each port space.
pub const LEASE_PORTS_MAX: u16 = 64;

/// The port that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRequest {
    /// Who.
    pub requester_id: RequesterId,
    /// What will be spoken there.
    pub protocol: Token,
    /// For how long without a renewal. Of a lease that belongs to a node, the node's TTL counts instead.
    pub ttl: Ttl,
    /// The node that it ends with.
    pub owner: Option<OwnerRequest>,
    /// On which host.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// Whether each port is to be held in the other port space, too.
    pub both: bool,
    /// How many ports: all of them, or none.
    pub count: u16,
    /// Whether they have to be neighbours.
    pub contiguous: bool,
    /// Tried first; the first one of several.
    pub preferred: Option<Port>,
    /// Whether only the preferred one will do.
    pub exact: bool,
    /// Sticky, and resolvable.
    pub name: Option<Name>,
    /// For finding it.
    pub labels: Vec<Label>,
    /// When the caller says that it asked.
    pub requested_at: Option<Timestamp>,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

impl GrantRequest {
    /// The port spaces, the first one first.
    pub fn transports(&self) -> Vec<Transport> {
        let others = Transport::ALL.into_iter();
        let others = others.filter(|other| self.both && *other != self.transport);
        std::iter::once(self.transport).chain(others).collect()
    }
}

/// Another port for one that a lease has.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebind {
    /// Who asks.
    pub requester_id: RequesterId,
    /// Which lease.
    pub lease_id: LeaseId,
    /// The port that it gives up. Nobody gets it for a while: another program is using it.
    pub port: Port,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// An execution without a request id that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndRun {
    /// Which.
    pub execution_id: ExecutionId,
    /// The provider that was asked last, when that is not the one that was asked first.
    pub by: Option<Provider>,
    /// How it ended.
    pub end: ExecutionEnd,
}

/// A grant that is taken back because another program uses its port.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollback {
    /// The port.
    pub key: PortKey,
    /// The lease.
    pub lease_id: LeaseId,
    /// What was asked for.
    pub grant: GrantRequest,
    /// How many ports were tried for it.
    pub tried: usize,
    /// Those of its ports that another program uses; empty for all of them.
    pub in_use: Vec<PortKey>,
}

/// What came of a command, true at that revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The revision.
    pub revision: u64,
    /// What.
    pub result: Result<Answer, Refusal>,
}

/// What was done, or found.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This lease is live.
    Lease(Held),
    /// This lease has ended.
    Ended {
        /// Which.
        lease_id: LeaseId,
        /// How.
        how: LeaseEnd,
        /// When, for people.
        at: Timestamp,
    },
    /// The call has begun, with an execution of this command's id: whoever asked for it executes it, nobody else does,
    /// and this is answered once.
    Begun(Arc<Call>),
    /// The same request has begun this call before: it is under way, or has ended.
    Call(Arc<Call>),
    /// That execution has ended, with the outcome that counts: another one than was reported if its time was up before.
    ExecutionEnded {
        /// Which.
        execution_id: ExecutionId,
        /// What came of it.
        outcome: CallOutcome,
    },
    /// What was asked for is so.
    Done,
    /// This is the node.
    Node(Box<NodeAnswer>),
    /// The node's tools are as was asked for.
    Tools {
        /// The contract of the tool that was named with a version; none where there is no such tool any more.
        contract_hash: Option<String>,
    },
}

/// A live lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The key of its record.
    pub key: PortKey,
    /// The lease.
    pub lease: Arc<Lease>,
    /// How long it lasts without a renewal: of a lease that belongs to a node, the node's TTL.
    pub ttl: Ttl,
    /// When it was granted or last renewed, for people.
    pub renewed_at: Timestamp,
    /// Since when its TTL counts, by this instance's clock.
    pub since: Moment,
    /// Whether its port was found bindable just after the grant.
    pub verified: bool,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The TTL is above the bound.
    #[error("ttl must be at most {0} seconds here")]
    TtlTooLong(u32),
    /// The request id came with other parameters before.
    #[error("this request_id was used before with other parameters")]
    IdempotencyMismatch,
    /// The lease has ended and is still remembered.
    #[error("the lease has ended")]
    LeaseExpired,
    /// There is no such lease, and none is remembered.
    #[error("there is no such lease")]
    LeaseNotFound,
    /// The lease is somebody else's.
    #[error("the lease belongs to another requester")]
    NotHolder,
    /// The host has no pool, and new ones are not allowed.
    #[error("there is no pool for host {0}")]
    PoolNotFound(Host),
    /// An instance was started with other settings than the store has.
    #[error("{}", crate::settings::explain(.0))]
    SettingsDiffer(Vec<SettingDiffers>),
    /// Nothing is granted for a while after a restore.
    #[error(
        "the store was restored from a backup: nothing is granted before the leases that may be lost have run out, in \
         {} seconds",
        retry_after_ms.div_ceil(1_000)
    )]
    Quiet {
        /// For how long, in milliseconds.
        retry_after_ms: u64,
    },
    /// This version does not know the format.
    #[error("format {0} is not known to this version, or is older than what the log has")]
    FormatUnknown(u32),
    /// The settings were changed since they were read.
    #[error("the settings were changed by somebody else meanwhile: read them again")]
    SettingsChanged,
    /// A bound is reached.
    #[error("no more {what} are allowed: the limit is {limit}")]
    LimitExceeded {
        /// Of what.
        what: &'static str,
        /// Which.
        limit: usize,
    },
    /// The lease has no such port.
    #[error("the lease does not hold port {0}")]
    PortNotHeld(Port),
    /// The one port that will do cannot be had.
    #[error("port {port} {why}")]
    PortUnavailable {
        /// Which.
        port: Port,
        /// Why not.
        why: Unavailable,
    },
    /// A new incarnation's epoch is above the bound.
    #[error(
        "the epoch of a new incarnation must be at most {EPOCH_NAMED_MAX}; without one the registry gives the next"
    )]
    EpochTooHigh,
    /// No such node is live.
    #[error("there is no node {0}, or it has ended")]
    NodeNotFound(NodeId),
    /// That incarnation of the node has ended.
    #[error("that incarnation of node {node_id} has ended; the last epoch is {last}")]
    Superseded {
        /// Which node.
        node_id: NodeId,
        /// The epoch of its last incarnation.
        last: u64,
    },
    /// The node is somebody else's.
    #[error("node {0} belongs to another requester")]
    NotNodeHolder(NodeId),
    /// The bus is somebody else's.
    #[error("bus {0} belongs to another requester")]
    NotBusHolder(BusId),
    /// Somebody else's node of that name is live.
    #[error("node {node_id} belongs to another requester and is live, in epoch {epoch}")]
    NodeTaken {
        /// Which node.
        node_id: NodeId,
        /// Its epoch.
        epoch: u64,
    },
    /// The node offers no such tool.
    #[error("node {0} offers no tool {1}, or not in that version")]
    ToolNotFound(NodeId, Token),
    /// There is no such bus.
    #[error("there is no bus {0}, or it has ended")]
    BusNotFound(BusId),
    /// The node's contract must not change.
    #[error(
        "node {0} is frozen: its contract must not change until a validator reports it as canary or validated"
    )]
    Frozen(NodeId),
    /// The reporter is no validator.
    #[error("no node {0} of type validator is live that this requester registered")]
    NotValidator(NodeId),
    /// No node reports on itself.
    #[error("node {0} cannot report on itself")]
    OwnReport(NodeId),
    /// The node has another contract than the one that was examined.
    #[error("node {node_id} has another contract by now: {contract_hash}")]
    OtherContract {
        /// Which node.
        node_id: NodeId,
        /// Its contract.
        contract_hash: String,
    },
    /// An inbound port names a lease that does not fit it.
    #[error("{why}")]
    Inbound {
        /// Which of the node's ports.
        index: usize,
        /// Why not.
        why: Box<Refusal>,
    },
    /// The lease ends with the node's present incarnation, and the registration begins another one.
    #[error(
        "this begins a new incarnation of the node, and the lease ends with the present one: name its epoch, {0}, \
         to change what that announced"
    )]
    LeaseOfLastIncarnation(u64),
    /// What belonged to too many earlier incarnations has not ended yet.
    #[error(
        "what belonged to earlier incarnations of node {0} is still ending; ask again in a moment"
    )]
    StillEnding(NodeId),
    /// The lease is of another port.
    #[error("the lease is of port {0}")]
    OtherPort(Port),
    /// The registration is too long.
    #[error("the registration with its tools is larger than {0} bytes")]
    NodeTooLarge(usize),
    /// No port can be had now.
    #[error("no port of the pool is free")]
    Exhausted {
        /// When one may be, in milliseconds.
        retry_after_ms: u64,
    },
    /// So many requests were granted that none of them can be forgotten yet.
    #[error("too many requests are remembered; ask again in a moment")]
    Busy,
    /// As many commands wait as may.
    #[error("too many requests are waiting to be decided; ask again in a moment")]
    QueueFull,
    /// The log has nearly reached its size.
    #[error(
        "the store is nearly full: leases are renewed and released, and nothing new is granted. Give it more room (--store-bytes-max)"
    )]
    StoreFull,
    /// What it would write does not fit into one message.
    #[error("this would take {bytes} bytes in one message of the store, which takes {limit}")]
    TooLarge {
        /// How many it would take.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// So many calls with a request id are remembered that none can be added.
    #[error("too many calls with a request_id are remembered; ask again in a moment")]
    CallsFull,
    /// No call of that request id is remembered.
    #[error("no call with this request_id is known")]
    CallNotFound,
    /// The command was decided by nobody before its caller's deadline, and never will be.
    #[error("the store did not answer in time; nothing was done")]
    Unavailable,
    /// The command is in an entry of which is not known whether it is in the log.
    #[error("the store did not answer in time; whether it was done is not known")]
    Unknown,
}

/// Why a port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Somebody holds it.
    #[error("is held by another lease")]
    Held,
    /// It is resting.
    #[error("is cooling down: its last holder may still count on it")]
    Resting,
    /// It is quarantined.
    #[error("is quarantined: another program was using it")]
    Quarantined,
    /// It is never granted.
    #[error("is reserved and never granted")]
    Reserved,
    /// It is in no range.
    #[error("is in none of the host's ranges")]
    Outside,
    /// Another program is using it.
    #[error("is used by another program")]
    InUse,
}

/// What trying to bind a port said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// It can be bound.
    Bindable,
    /// Another program has it.
    InUse,
    /// It could not be tried.
    Unknown,
}
