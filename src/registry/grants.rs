//! What instances say of what they grant, and where; and who of them grants the same.

use std::collections::BTreeMap;

use onex_machine::Machine;
use onex_types::{ids::Host, ports::PortRange};
use uuid::Uuid;

use crate::protocol::{
    describe::Instance,
    names::{Namespace, PROTOCOL_MINOR, SERVICE},
};

use super::{
    host_records::is_of_another,
    micro::{Identity, service_id},
    settings::{parse_ranges, show_ranges},
};

/// Metadata under which an instance says what it is.
const META_NAMESPACE: &str = "namespace";
const META_HOST: &str = "host";
/// Which kernel and network namespace the host is, where the instance is on its network.
const META_PORT_SPACE: &str = "port_space";
const META_RANGES: &str = "ranges";
const META_PROTOCOL: &str = "protocol";
const META_REGISTRY_ID: &str = "registry_id";

/// Somebody else grants the same ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Registries of other namespaces: a line for each.
    #[error("another registry grants the same ports: {}", .0.join("; "))]
    Namespaces(Vec<String>),
    /// An instance of the same registry, under another host.
    #[error(
        "an instance of this registry grants the ports of this machine as host {running}, and this one is {own}"
    )]
    Hosts {
        /// The host of the one that is looked at.
        own: String,
        /// That of the other one.
        running: String,
    },
}

/// This instance: what others say is held against it.
#[derive(Clone)]
pub(super) struct Own {
    /// What it says of itself to others.
    pub(super) identity: Identity,
    pub(super) machine: Machine,
}

/// The version of the protocol that this instance speaks.
pub(super) fn protocol() -> String {
    format!("1.{PROTOCOL_MINOR}")
}

/// What `describe` says of it.
pub(super) fn instance(peer: &Identity) -> Instance {
    Instance {
        registry_id: registry_id(peer).to_owned(),
        version: peer.version.clone(),
        host: peer.metadata.get(META_HOST).cloned(),
    }
}

/// Which start of an instance that is. They grow with the time at which they were made.
pub(super) fn registry_id(peer: &Identity) -> &str {
    let said = peer.metadata.get(META_REGISTRY_ID);
    said.map_or(&peer.id, String::as_str)
}

/// What it says of itself under that name.
fn said<'a>(peer: &'a Identity, name: &str) -> &'a str {
    peer.metadata.get(name).map_or("", String::as_str)
}

/// The host of that instance, if it is one of that namespace.
pub(super) fn host_in(peer: &Identity, namespace: &Namespace) -> Option<String> {
    let is_in = said(peer, META_NAMESPACE) == namespace.name().unwrap_or_default();
    is_in.then(|| said(peer, META_HOST).to_owned())
}

fn ranges(peer: &Identity) -> Vec<PortRange> {
    parse_ranges(said(peer, META_RANGES)).unwrap_or_default()
}

/// Whether they are instances of the same registry.
fn are_alike(one: &Identity, other: &Identity) -> bool {
    one.name == other.name && said(one, META_NAMESPACE) == said(other, META_NAMESPACE)
}

/// Whether they are on the same machine, as far as they say so.
fn share_machine(one: &Identity, other: &Identity) -> bool {
    let space = one.metadata.get(META_PORT_SPACE);
    space.is_some() && space == other.metadata.get(META_PORT_SPACE)
}

/// Registries of other namespaces that grant ports of the machine of `one`, by whatever name, from ranges that touch its
/// own: a line for each namespace and host, for the message.
fn overlaps<'a>(
    one: &Identity,
    is_here: impl Fn(&str) -> bool,
    peers: impl Iterator<Item = &'a Identity>,
) -> Vec<String> {
    let ours = ranges(one);
    let mut found = BTreeMap::new();
    for peer in peers.filter(|peer| !are_alike(one, peer)) {
        let touches = ranges(peer).iter().any(|their| {
            let mut ours = ours.iter();
            ours.any(|our| our.first <= their.last && their.first <= our.last)
        });
        let host = said(peer, META_HOST);
        if touches && (is_here(host) || share_machine(one, peer)) {
            found.insert((said(peer, META_NAMESPACE), host), said(peer, META_RANGES));
        }
    }
    let lines = found.iter().map(|((namespace, host), ranges)| {
        let namespace = match *namespace {
            "" => "(default)",
            namespace => namespace,
        };
        format!("namespace {namespace} grants {ranges} on {host}")
    });
    lines.collect()
}

/// Who of these grants ports that `one` would grant too.
fn conflict<'a>(
    one: &Identity,
    is_here: impl Fn(&str) -> bool,
    peers: impl Iterator<Item = &'a Identity> + Clone,
) -> Option<Conflict> {
    let overlaps = overlaps(one, is_here, peers.clone());
    if !overlaps.is_empty() {
        return Some(Conflict::Namespaces(overlaps));
    }
    let own = said(one, META_HOST);
    let mut others = peers.filter(|peer| are_alike(one, peer) && share_machine(one, peer));
    let other = others.find(|peer| said(peer, META_HOST) != own)?;
    Some(Conflict::Hosts {
        own: own.to_owned(),
        running: said(other, META_HOST).to_owned(),
    })
}

impl Own {
    pub(super) fn new(
        namespace: &Namespace,
        machine: Machine,
        ranges: &[PortRange],
        registry_id: Uuid,
    ) -> Self {
        let mut metadata = vec![
            (
                META_NAMESPACE,
                namespace.name().unwrap_or_default().to_owned(),
            ),
            (META_HOST, machine.host().to_string()),
            (META_RANGES, show_ranges(ranges)),
            (META_PROTOCOL, protocol()),
            (META_REGISTRY_ID, registry_id.to_string()),
        ];
        let port_space = machine.port_space();
        metadata.extend(port_space.map(|space| (META_PORT_SPACE, space)));
        let metadata = metadata.into_iter();
        let identity = Identity {
            name: SERVICE.to_owned(),
            id: service_id(registry_id),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata: metadata
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        };
        Self { identity, machine }
    }

    /// Whether that is an instance of the same registry.
    pub(super) fn is_alike(&self, peer: &Identity) -> bool {
        are_alike(&self.identity, peer)
    }

    /// The hosts of the instances of the same registry.
    pub(super) fn hosts(&self, peers: &[Identity]) -> impl Iterator<Item = Host> {
        let peers = peers.iter().filter(|peer| self.is_alike(peer));
        peers.filter_map(|peer| said(peer, META_HOST).parse().ok())
    }

    /// Whether an instance on another machine has the host of this one. Of those that start at once neither has heard of
    /// the other by then; so it is looked for whenever instances answer.
    pub(super) fn has_namesake(&self, peers: &[Identity]) -> bool {
        let is_other = |peer: &Identity| {
            said(peer, META_HOST) == self.machine.host().as_str()
                && is_of_another(peer.metadata.get(META_PORT_SPACE), &self.machine)
        };
        let mut peers = peers.iter();
        peers.any(|peer| self.is_alike(peer) && is_other(peer))
    }

    /// Who of these grants ports that this instance would grant too.
    pub(super) fn conflict(&self, peers: &[Identity]) -> Option<Conflict> {
        let is_here = |host: &str| {
            let host = host.parse();
            host.is_ok_and(|host| self.machine.resolve(host) == *self.machine.host())
        };
        conflict(&self.identity, is_here, peers.iter())
    }

    /// The hosts of this registry whose ports somebody else granted before: those who started at once did not hear of each
    /// other in time. A host is served since the first of its instances that run.
    pub(super) fn conflicts(&self, peers: &[Identity]) -> BTreeMap<Host, Conflict> {
        let all = || peers.iter().chain([&self.identity]);
        let since = |peer: &Identity| {
            let served = all().filter(|other| {
                are_alike(peer, other) && said(peer, META_HOST) == said(other, META_HOST)
            });
            served.map(registry_id).min()
        };
        let of_registry = all().filter(|peer| self.is_alike(peer));
        let conflicts = of_registry.filter_map(|one| {
            let began = since(one);
            let before = all().filter(|other| since(other) < began);
            let host: Host = said(one, META_HOST).parse().ok()?;
            let is_here = |named: &str| named == host.as_str();
            Some((host.clone(), conflict(one, is_here, before)?))
        });
        conflicts.collect()
    }
}
