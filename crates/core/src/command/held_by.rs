//! What others are told who cannot have a port: who has it, and what comes free.

use std::sync::Arc;

use onex_types::{
    holder::{Holder, Whose},
    ids::{Name, NodeId, Port, RequesterId},
};

use crate::{
    lease::{Last, Lease},
    pool::{Counts, PortState},
};

/// Whose a lease is or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// Who holds it.
    pub requester_id: RequesterId,
    /// Its name.
    pub name: Option<Name>,
    /// The node that it ends with.
    pub node_id: Option<NodeId>,
    /// What its holder says of itself.
    pub holder: Option<Arc<Holder>>,
    /// What is left of it, in milliseconds: 0 when it is due. None once it has ended.
    pub expires_in_ms: Option<u64>,
}

impl HeldBy {
    /// Who holds a live lease, and what is left of it, in milliseconds.
    pub(crate) fn of(lease: &Lease, left: u64) -> Self {
        Self {
            requester_id: lease.requester_id,
            name: lease.name.clone(),
            node_id: lease.owner.as_ref().map(|owner| owner.node_id.clone()),
            holder: lease.holder.clone(),
            expires_in_ms: Some(left),
        }
    }

    /// Who held a lease that has ended.
    pub(crate) fn of_last(last: &Last) -> Self {
        Self {
            requester_id: last.requester_id,
            name: last.name.clone(),
            node_id: None,
            holder: last.holder.clone(),
            expires_in_ms: None,
        }
    }

    /// In words.
    pub fn whose(&self) -> Whose<'_> {
        Whose {
            requester_id: self.requester_id,
            name: self.name.as_ref(),
            node_id: self.node_id.as_ref(),
            holder: self.holder.as_deref(),
        }
    }
}

/// A pool that has not what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullPool {
    /// How many of its ports are in which state.
    pub counts: Counts,
    /// What may come free next; none where no timer says.
    pub next: Option<NextFree>,
}

/// A port that may come free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextFree {
    /// The port.
    pub port: Port,
    /// What it is until then: one that is held stays so if it is renewed.
    pub state: PortState,
    /// When, in milliseconds.
    pub expires_in_ms: u64,
}
