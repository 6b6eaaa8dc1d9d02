//! Leases as they are shown, and lists of them.

use jiff::SignedDuration;
use onex_core::{command::Held, key::Key, record::Lease, state::State};
use onex_types::{
    ids::{Host, Label, Name, NodeId, Port, RequesterId},
    key::PortKey,
    time::{MonoMillis, Now},
};

use crate::protocol::{
    error::Error,
    port::{Availability, LeaseReply, LeaseStatus, ListRequest, Page, ResolveRequest},
};

use super::super::on_the_wire::in_both;
use super::{Catalog, page::bad_cursor};

/// A heartbeat is due after this part of what is left.
const RENEW_AFTER_PART: u64 = 3;

/// The lease as its holder and everyone else sees it.
pub(in crate::registry) fn lease_reply(held: &Held, revision: u64, now: MonoMillis) -> LeaseReply {
    let Held {
        key,
        lease,
        ttl,
        renewed_at,
        ..
    } = held;
    let left = held.left(now);
    let lasts = SignedDuration::from_secs(ttl.seconds().into());
    LeaseReply {
        lease_id: lease.lease_id,
        status: LeaseStatus::Active,
        port: lease.ports.first().copied().unwrap_or(key.port),
        ports: lease.ports.clone(),
        host: key.host.clone(),
        transport: key.transport,
        transports: in_both(lease),
        protocol: lease.protocol.clone(),
        requester_id: lease.requester_id,
        assigned_to: lease.requester_id,
        node_id: lease.owner.as_ref().map(|owner| owner.node_id.clone()),
        name: lease.name.clone(),
        labels: lease.labels.clone(),
        ttl: *ttl,
        holder: lease.holder.clone(),
        requested_at: lease.requested_at,
        granted_at: lease.granted_at,
        expires_at: renewed_at.saturating_add(lasts).unwrap_or(*renewed_at),
        expires_in_ms: left,
        renew_after_ms: left / RENEW_AFTER_PART,
        fencing_token: lease.fence,
        revision,
        availability: None,
        verified_on: None,
        warnings: Vec::new(),
        ignored: Vec::new(),
    }
}

/// The reply to a grant: with what trying the port said.
pub(in crate::registry) fn granted(held: &Held, revision: u64, now: Now) -> LeaseReply {
    LeaseReply {
        availability: Some(if held.verified {
            Availability::Verified
        } else {
            Availability::Unverified
        }),
        verified_on: held.verified.then(|| held.key.host.clone()),
        ..lease_reply(held, revision, now.mono)
    }
}

impl Catalog<'_> {
    /// The live leases that end with a node.
    pub(in crate::registry) fn leases_of(self, id: &NodeId) -> Vec<LeaseReply> {
        let Some(view) = self.state.live_node(id) else {
            return Vec::new();
        };
        let owned = self.state.owned(&view.owner(), None);
        owned
            .filter_map(|key| of_key(self.state, key, self.now))
            .collect()
    }
}

/// The lease under a key, as it is shown, if it reads as live.
fn of_key(state: &State, key: &Key, now: MonoMillis) -> Option<LeaseReply> {
    let Key::Port(port) = key else {
        return None;
    };
    let (slot, lease) = state.lease(port).filter(|_| state.reads_live(key, now))?;
    let held = Held::of(state, port, slot, lease);
    Some(lease_reply(&held, state.revision(), now))
}

/// Which leases are asked for.
#[derive(Default)]
struct Filter<'a> {
    host: Option<&'a Host>,
    requester: Option<RequesterId>,
    node: Option<&'a NodeId>,
    name: Option<&'a Name>,
    label: Option<&'a Label>,
    port: Option<Port>,
}

impl Filter<'_> {
    fn takes(&self, lease: &Lease) -> bool {
        let owner = lease.owner.as_ref().map(|owner| &owner.node_id);
        self.port.is_none_or(|port| lease.ports.contains(&port))
            && self
                .requester
                .is_none_or(|requester| lease.requester_id == requester)
            && self.node.is_none_or(|node| owner == Some(node))
            && self
                .name
                .is_none_or(|name| lease.name.as_ref() == Some(name))
            && self.label.is_none_or(|label| lease.labels.contains(label))
    }
}

/// Live leases, a page of at most `limit`.
pub(in crate::registry) fn leases(
    catalog: Catalog<'_>,
    request: &ListRequest,
    limit: usize,
) -> Result<Page<LeaseReply>, Error> {
    let filter = Filter {
        host: request.host.as_ref(),
        requester: request.requester_id,
        node: request.node_id.as_ref(),
        name: request.name.as_ref(),
        label: request.label.as_ref(),
        port: request.port,
    };
    filtered(catalog, &filter, request.cursor.as_deref(), limit)
}

/// Live leases of a name or with a label, a page of at most `limit`.
pub(in crate::registry) fn resolved(
    catalog: Catalog<'_>,
    request: &ResolveRequest,
    limit: usize,
) -> Result<Page<LeaseReply>, Error> {
    let wrong = match (&request.name, &request.label) {
        (None, None) => Some(("/name", "name or label is required")),
        (Some(_), Some(_)) => Some(("/label", "only one of name and label may be given")),
        _ => None,
    };
    if let Some((pointer, message)) = wrong {
        return Err(Error::invalid(pointer, message));
    }
    let filter = Filter {
        host: request.host.as_ref(),
        name: request.name.as_ref(),
        label: request.label.as_ref(),
        ..Filter::default()
    };
    filtered(catalog, &filter, request.cursor.as_deref(), limit)
}

fn filtered(
    Catalog { state, now }: Catalog<'_>,
    filter: &Filter<'_>,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<LeaseReply>, Error> {
    let after: Option<PortKey> = cursor
        .map(str::parse)
        .transpose()
        .map_err(|_| bad_cursor())?;
    let first = PortKey::first();
    let from = after.as_ref().unwrap_or(&first);
    // Leases are kept by the name that the host had when they were granted.
    let hosts = filter.host.map(|host| state.names_in_use(host));
    let hosts = hosts.as_ref();
    let indexes = &state.indexes;
    // The narrowest set that holds all of them.
    let keys: Box<dyn Iterator<Item = PortKey>> = match filter {
        Filter {
            port: Some(port), ..
        } => Box::new(state.holding(*port)),
        Filter {
            name: Some(name), ..
        } => Box::new(indexes.named(name, from).cloned()),
        Filter {
            requester: Some(requester),
            ..
        } => Box::new(indexes.held_by(*requester, from).cloned()),
        Filter {
            label: Some(label), ..
        } => Box::new(indexes.labelled(label, from).cloned()),
        _ => match hosts {
            None => Box::new(state.held_from(from)),
            Some(hosts) => Box::new(hosts.iter().flat_map(|host| {
                let from = from.clone().max(PortKey::first_on(host));
                let held = state.held_from(&from);
                held.take_while(move |key| key.host == *host)
            })),
        },
    };
    let mut found = keys
        .filter(|key| after.as_ref().is_none_or(|after| key > after))
        .filter(|key| hosts.is_none_or(|hosts| hosts.contains(&key.host)))
        .filter(|key| state.reads_live(&Key::Port(key.clone()), now))
        .filter_map(|key| {
            let (slot, lease) = state.lease(&key)?;
            Some((key, slot, lease))
        })
        .filter(|(_, _, lease)| filter.takes(lease));
    let mut last = None;
    let items: Vec<LeaseReply> = found
        .by_ref()
        .take(limit)
        .map(|(key, slot, lease)| {
            last = Some(key.to_string());
            lease_reply(&Held::of(state, &key, slot, lease), state.revision(), now)
        })
        .collect();
    Ok(Page {
        next_cursor: found.next().and(last),
        items,
        revision: state.revision(),
        ignored: Vec::new(),
    })
}
