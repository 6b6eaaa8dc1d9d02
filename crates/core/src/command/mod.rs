//! What a registry can be asked to do, and what it can say to that.

mod answer;
mod held_by;
mod refusal;

use std::sync::Arc;

use jiff::Timestamp;
pub use onex_types::bound_names as bounds;
use onex_types::{
    holder::Holder,
    ids::{
        CommandId, ExecutionId, Host, Label, LeaseId, Name, NodeId, Port, Reason, RequesterId,
        Token, Transport, Ttl,
    },
    key::PortKey,
};

use uuid::Uuid;

pub use answer::{Answer, Held, Outcome, Probed};
pub use held_by::{FullPool, HeldBy, NextFree};
pub use refusal::{Refusal, Unavailable};

use crate::{
    call::{BeginCall, EndCall, ExecutionEnd, Provider},
    execution::Run,
    host_record::TellHost,
    key::Key,
    node_command::{
        DeregisterBus, DeregisterTool, Heartbeat, NodeClaim, OwnerRequest, Register, RegisterBus,
        RegisterTool, TrustReport,
    },
    record::{InstanceId, PoolPorts, Record, Store},
    record_parts::Request,
    settings::Settings,
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Chosen once, by who takes the request; the id of the lease that it may grant.
    pub id: CommandId,
    /// The correlation id of the request; none for what the registry does by itself.
    pub correlation_id: Option<String>,
    /// What is asked for.
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
        /// The lease's id.
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
        /// The lease's id.
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
    /// Put records that were taken over from a store of an earlier format, and go on above the revisions of that.
    TakeRecords {
        /// The records.
        records: Vec<(Key, Record)>,
        /// The highest revision that is known from there.
        known: u64,
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
    SetPool(Box<SetPool>),
    /// A host has the default ranges again.
    DeletePool {
        /// The host whose pool is deleted.
        host: Host,
        /// The revision that its ranges must be of; none for whatever there is.
        expected_revision: Option<u64>,
    },
    /// Take a lease away from its holder.
    Revoke(Box<Revoke>),
    /// Let a port that is quarantined be granted again.
    Unquarantine(Box<Unquarantine>),
    /// End a node, whoever registered it.
    Evict(Box<Evict>),
    /// Forget the ports of a host on which nothing has happened for the retention time.
    ForgetHost(Host),
    /// Forget all that is known of a host on which nothing is.
    RemoveHost(Box<RemoveHost>),
    /// Say what a host is called.
    TellHost(Box<TellHost>),
    /// A machine is served under another host from now on, unless another instance than `said_by` has spoken for it since.
    RenameHost {
        /// What it was called.
        host: Host,
        /// Who said so.
        said_by: Uuid,
        /// What it is called now.
        to: Host,
    },
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

/// A host's port ranges as they are to be.
#[derive(Debug, Clone, PartialEq)]
pub struct SetPool {
    /// The host whose pool is set.
    pub host: Host,
    /// In that port space only; none for both.
    pub transport: Option<Transport>,
    /// What is granted there.
    pub ports: PoolPorts,
    /// For people.
    pub description: Option<String>,
    /// The revision that its ranges must be of, 0 where it must have none of its own; none for whatever there is.
    pub expected_revision: Option<u64>,
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
            | Self::EndRun(_)
            | Self::Revoke(_)
            | Self::Unquarantine(_)
            | Self::Evict(_) => Class::Upkeep,
            Self::Find(_) | Self::FindCall(_) | Self::ReadIndex => Class::Question,
            Self::Genesis(_)
            | Self::AcceptRestore { .. }
            | Self::TakeRecords { .. }
            | Self::EndQuiet
            | Self::RaiseFormat(_)
            | Self::SetSettings { .. }
            | Self::SetPool(_)
            | Self::DeletePool { .. }
            | Self::ForgetHost(_)
            | Self::RemoveHost(_)
            | Self::TellHost(_)
            | Self::RenameHost { .. }
            | Self::Expire(_)
            | Self::Rollback(_)
            | Self::Confirm(..)
            | Self::TakeOver { .. }
            | Self::SkipEvents { .. }
            | Self::Published { .. } => Class::Own,
        }
    }
}

/// The port that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRequest {
    /// Who will hold the lease.
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
    /// What the holder says of itself.
    pub holder: Option<Arc<Holder>>,
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
    /// Why, for people.
    pub reason: Option<Reason>,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// A lease that is taken away from its holder.
#[derive(Debug, Clone, PartialEq)]
pub struct Revoke {
    /// The lease, by its id or by a port that it has.
    pub lease: RevokedLease,
    /// Why it is done, for people: it is in the event.
    pub reason: Reason,
}

/// Which lease is taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedLease {
    /// That one.
    Id(LeaseId),
    /// Whichever has that port.
    Of(PortKey),
}

/// A port that is quarantined no longer.
#[derive(Debug, Clone, PartialEq)]
pub struct Unquarantine {
    /// The quarantined port.
    pub port: PortKey,
    /// Why it is done, for people: it is in the event.
    pub reason: Reason,
}

/// A host that is forgotten.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoveHost {
    /// The host to forget.
    pub host: Host,
    /// Why it is done, for people: it is in the event.
    pub reason: Reason,
}

/// A node that an administrator ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Evict {
    /// The node to end.
    pub node_id: NodeId,
    /// Only that life of it.
    pub epoch: Option<u64>,
    /// Why it is done, for people: it is in the event.
    pub reason: Reason,
}

/// An execution without a request id that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndRun {
    /// The execution's id.
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
