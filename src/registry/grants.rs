//! What instances say of what they grant, and where; and who of them grants the same.

use std::collections::{BTreeMap, BTreeSet};

use onex_machine::Machine;
use onex_types::{ids::Host, ports::PortRange};
use tokio::sync::watch;
use uuid::Uuid;

use crate::protocol::{
    describe::Instance,
    names::{AGENT, Namespace, PROTOCOL_MINOR, SERVICE},
};

use super::{
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
    /// What it says of itself to others, now. Copies of this share it.
    identity: watch::Sender<Identity>,
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

/// The version of the protocol that it speaks.
pub(super) fn protocol_of(peer: &Identity) -> &str {
    said(peer, META_PROTOCOL)
}

/// Which kernel and network namespace its host is, where it says so.
pub(super) fn port_space(peer: &Identity) -> Option<&String> {
    peer.metadata.get(META_PORT_SPACE)
}

/// What it says of itself under that name.
fn said<'a>(peer: &'a Identity, name: &str) -> &'a str {
    peer.metadata.get(name).map_or("", String::as_str)
}

/// The host of that instance, if it is one of that namespace.
pub(super) fn host_in(peer: &Identity, namespace: &Namespace) -> Option<String> {
    let is_in =
        peer.name == SERVICE && said(peer, META_NAMESPACE) == namespace.name().unwrap_or_default();
    is_in.then(|| said(peer, META_HOST).to_owned())
}

fn ranges(peer: &Identity) -> Vec<PortRange> {
    parse_ranges(said(peer, META_RANGES)).unwrap_or_default()
}

/// Whether they are instances of the same registry.
fn are_alike(one: &Identity, other: &Identity) -> bool {
    one.name == other.name && said(one, META_NAMESPACE) == said(other, META_NAMESPACE)
}

/// Whether that is an instance or an agent of that namespace.
fn is_of(peer: &Identity, namespace: &str) -> bool {
    [SERVICE, AGENT].contains(&peer.name.as_str()) && said(peer, META_NAMESPACE) == namespace
}

/// Whether they have one host, and are on several machines.
fn are_namesakes(one: &Identity, other: &Identity) -> bool {
    let machines = port_space(one).zip(port_space(other));
    said(one, META_HOST) == said(other, META_HOST)
        && machines.is_some_and(|(one, other)| one != other)
}

/// Whether they are on the same machine, as far as they say so.
fn share_machine(one: &Identity, other: &Identity) -> bool {
    port_space(one).is_some() && port_space(one) == port_space(other)
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
    let (own, running) = other_host(one, peers.filter(|peer| are_alike(one, peer)))?;
    Some(Conflict::Hosts { own, running })
}

/// The host of `one`, and another one that its machine is to one of these, which are of the same registry.
fn other_host<'a>(
    one: &Identity,
    peers: impl Iterator<Item = &'a Identity>,
) -> Option<(String, String)> {
    let own = said(one, META_HOST);
    let mut others = peers.filter(|peer| share_machine(one, peer));
    let other = others.find(|peer| said(peer, META_HOST) != own)?;
    Some((own.to_owned(), said(other, META_HOST).to_owned()))
}

/// What is wrong between instances and agents of a namespace and those that run beside them.
pub(super) struct Disagreements {
    /// Registries of other namespaces that grant the same ports: a line for each.
    pub(super) overlaps: BTreeSet<String>,
    /// Hosts that one machine is to them: its ports are granted twice.
    pub(super) two_hosts: Option<(String, String)>,
    /// A host that several machines have.
    pub(super) namesake: Option<String>,
}

impl Disagreements {
    /// Of these, those of that namespace.
    pub(super) fn among(all: &[Identity], namespace: &Namespace) -> Self {
        let namespace = namespace.name().unwrap_or_default();
        let ours = || all.iter().filter(|peer| is_of(peer, namespace));
        let overlaps = ours().flat_map(|one| {
            let is_here = |host: &str| host == said(one, META_HOST);
            overlaps(one, is_here, all.iter())
        });
        let has_namesake = |one: &&Identity| ours().any(|other| are_namesakes(one, other));
        Self {
            overlaps: overlaps.collect(),
            two_hosts: ours().filter_map(|one| other_host(one, ours())).min(),
            namesake: ours()
                .find(has_namesake)
                .map(|one| said(one, META_HOST).to_owned()),
        }
    }
}

/// What a process says of itself that is on that machine.
fn identity(name: &str, namespace: &Namespace, machine: &Machine, id: Uuid) -> Identity {
    let namespace = namespace.name().unwrap_or_default().to_owned();
    let mut metadata = vec![
        (META_NAMESPACE, namespace),
        (META_HOST, machine.host().to_string()),
        (META_PROTOCOL, protocol()),
    ];
    let port_space = machine.port_space();
    metadata.extend(port_space.map(|space| (META_PORT_SPACE, space)));
    let metadata = metadata
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Identity {
        name: name.to_owned(),
        id: service_id(id),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        metadata: metadata.collect(),
    }
}

/// What a process says of itself that only tries ports.
pub(super) fn agent(namespace: &Namespace, machine: &Machine, id: Uuid) -> Identity {
    identity(AGENT, namespace, machine, id)
}

/// Who of the instances and agents of its registry an agent cannot run beside.
pub(super) fn beside(agent: &Identity, peers: &[Identity]) -> Option<Beside> {
    let namespace = said(agent, META_NAMESPACE);
    let ours = || peers.iter().filter(|peer| is_of(peer, namespace));
    let other_name = other_host(agent, ours()).map(|(_, running)| Beside::OtherName(running));
    let is_namesake = |peer| are_namesakes(agent, peer);
    other_name.or_else(|| ours().any(is_namesake).then_some(Beside::Namesake))
}

/// What keeps an agent from trying ports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Its machine is that host to another one.
    OtherName(String),
    /// Another machine has its host: of the two one would be asked, whichever that is.
    Namesake,
}

impl Own {
    pub(super) fn new(namespace: &Namespace, machine: Machine, registry_id: Uuid) -> Self {
        let mut identity = identity(SERVICE, namespace, &machine, registry_id);
        let id = (META_REGISTRY_ID.to_owned(), registry_id.to_string());
        identity.metadata.extend([id]);
        let identity = watch::Sender::new(identity);
        Self { identity, machine }
    }

    /// What it says of itself to others.
    pub(super) fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    /// The same, and what becomes of it.
    pub(super) fn announced(&self) -> watch::Receiver<Identity> {
        self.identity.subscribe()
    }

    /// This grants these ports of its host from now on; whether that is another thing than before.
    pub(super) fn grants(&self, ranges: &[PortRange]) -> bool {
        let ranges = show_ranges(ranges);
        self.identity.send_if_modified(|identity| {
            let before = identity
                .metadata
                .insert(META_RANGES.to_owned(), ranges.clone());
            before != Some(ranges)
        })
    }

    /// Whether that is an instance of the same registry.
    pub(super) fn is_alike(&self, peer: &Identity) -> bool {
        are_alike(&self.identity(), peer)
    }

    /// The hosts of the instances of the same registry.
    pub(super) fn hosts(&self, peers: &[Identity]) -> impl Iterator<Item = Host> {
        let peers = peers.iter().filter(|peer| self.is_alike(peer));
        peers.filter_map(|peer| said(peer, META_HOST).parse().ok())
    }

    /// The hosts on which others of this registry's namespace try ports: instances on the network of their host, and agents.
    pub(super) fn probers(&self, peers: &[Identity]) -> BTreeSet<Host> {
        let own = self.identity();
        let namespace = said(&own, META_NAMESPACE);
        // Only an instance says by its port space that it is on the network of its host: a kernel need not tell it.
        let peers = peers.iter().filter(|peer| {
            is_of(peer, namespace) && (peer.name == AGENT || port_space(peer).is_some())
        });
        let hosts = peers.filter_map(|peer| said(peer, META_HOST).parse().ok());
        hosts.collect()
    }

    /// Whether an instance or an agent on another machine has the host of this one. Of those that start at once neither has
    /// heard of the other by then; so it is looked for whenever instances answer.
    pub(super) fn has_namesake(&self, peers: &[Identity]) -> bool {
        let own = self.identity();
        let mut ours = peers.iter();
        ours.any(|peer| is_of(peer, said(&own, META_NAMESPACE)) && are_namesakes(&own, peer))
    }

    /// Who of these grants ports that this instance would grant too.
    pub(super) fn conflict(&self, peers: &[Identity]) -> Option<Conflict> {
        let is_here = |host: &str| {
            let host = host.parse();
            host.is_ok_and(|host| self.machine.resolve(host) == *self.machine.host())
        };
        conflict(&self.identity(), is_here, peers.iter())
    }

    /// Registries of other namespaces that would grant the same ports of a host if this one granted these there.
    pub(super) fn conflict_on(
        &self,
        host: &Host,
        ranges: &[PortRange],
        peers: &[Identity],
    ) -> Option<Conflict> {
        let own = self.identity();
        let mut all = peers.iter().chain([&own]);
        let there = |one: &&Identity| are_alike(&own, one) && said(one, META_HOST) == host.as_str();
        let mut one = all.find(there).cloned().unwrap_or_else(|| {
            let mut nobody = own.clone();
            nobody.metadata.remove(META_PORT_SPACE);
            nobody
        });
        let ranges = show_ranges(ranges);
        one.metadata.insert(META_RANGES.to_owned(), ranges);
        let is_here = |named: &str| {
            let named = named.parse();
            named.is_ok_and(|named: Host| named == *host || self.machine.resolve(named) == *host)
        };
        let overlaps = overlaps(&one, is_here, peers.iter());
        (!overlaps.is_empty()).then_some(Conflict::Namespaces(overlaps))
    }

    /// The hosts of this registry whose ports somebody else granted before: those who started at once did not hear of each
    /// other in time. A host is served since the first of its instances that run.
    pub(super) fn conflicts(&self, peers: &[Identity]) -> BTreeMap<Host, Conflict> {
        let own = self.identity();
        let all = || peers.iter().chain([&own]);
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
