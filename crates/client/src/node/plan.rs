//! What is the same in every life of a node.

use std::{fmt, sync::Arc, time::Duration};

use onex_protocol::{
    bus::BusRegisterRequest,
    inbox::InboxPrefix,
    node::RegisterRequest,
    port::{LeaseReply, LeaseRequest},
};
use onex_types::ids::Name;
use serde_json::Value;

use super::serve::Offer;

/// Says how a node is; called before each heartbeat.
pub(super) type Health = Arc<dyn Fn() -> Value + Send + Sync>;
/// Where a bus can be reached that listens on a leased port.
pub(super) type Address = Arc<dyn Fn(&LeaseReply) -> String + Send + Sync>;

/// How a node goes on when a life of it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// Not at all.
    Stop,
    /// It registers anew, and leases its ports anew.
    Rejoin,
}

/// Everything that is the same in every life of a node.
#[derive(Clone)]
pub(super) struct Plan {
    /// Without its leased ports, and without what only one request has.
    pub(super) request: RegisterRequest,
    pub(super) ports: Vec<PortPlan>,
    pub(super) buses: Vec<BusPlan>,
    /// The tools of it that are served.
    pub(super) offers: Vec<Arc<Offer>>,
    /// How long it waits for their calls when it takes leave.
    pub(super) drain: Duration,
    /// How long it takes to stop, where it says so.
    pub(super) grace: Option<Duration>,
    /// What the inboxes of callers begin with, beside `_INBOX`.
    pub(super) inbox_prefixes: Vec<InboxPrefix>,
    pub(super) health: Option<Health>,
    pub(super) on_expired: OnLoss,
    pub(super) on_superseded: OnLoss,
}

/// A port to lease.
#[derive(Clone)]
pub(super) struct PortPlan {
    pub(super) name: Name,
    /// Without what only one request has.
    pub(super) request: LeaseRequest,
}

/// A bus to announce.
#[derive(Clone)]
pub(super) struct BusPlan {
    /// Without what only one request has.
    pub(super) request: BusRegisterRequest,
    /// The leased port that it listens on, and its address there.
    pub(super) at: Option<(Name, Address)>,
}

impl Plan {
    /// The buses that are reached at the leased port of that name, and where that is.
    pub(super) fn buses_at<'a>(
        &'a self,
        name: &'a Name,
    ) -> impl Iterator<Item = (&'a BusRegisterRequest, &'a Address)> {
        self.buses.iter().filter_map(move |bus| {
            let (port, address) = bus.at.as_ref()?;
            (port == name).then_some((&bus.request, address))
        })
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
