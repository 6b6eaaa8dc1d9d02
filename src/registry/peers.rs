//! The other instances, as far as they answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::Client;
use onex_types::ids::Host;
use uuid::Uuid;

use crate::{
    machine::Machine,
    protocol::{
        describe::Instance,
        names::{Namespace, PROTOCOL_MINOR, SERVICE},
    },
};

use super::{
    bus::Bus,
    clock::Clock,
    host_records::is_of_another,
    hosts::Heard,
    micro::{self, Identity, service_id},
    settings::{Settings, show_ranges},
    stop::Stop,
};

/// How often the others are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// Metadata under which an instance says what it is.
const META_NAMESPACE: &str = "namespace";
const META_HOST: &str = "host";
/// Which kernel and network namespace the host is, where the instance is on its network.
const META_PORT_SPACE: &str = "port_space";
const META_RANGES: &str = "ranges";
const META_PROTOCOL: &str = "protocol";
const META_REGISTRY_ID: &str = "registry_id";

/// Who was heard of lately.
#[derive(Clone)]
pub(super) struct Peers {
    own: Instance,
    heard: Arc<Mutex<BTreeSet<Instance>>>,
}

impl Peers {
    /// Asks from time to time, for ever.
    pub(super) fn start(
        bus: Bus,
        settings: Settings,
        machine: Machine,
        own: &Identity,
        heard: Arc<Heard>,
        clock: Clock,
        stop: &Stop,
    ) -> Self {
        let namespace = settings.namespace.clone();
        let mut reported = Vec::new();
        let this = Self {
            own: instance(own),
            heard: Arc::default(),
        };
        let peers = this.clone();
        stop.watch("search for other instances", async move {
            loop {
                match micro::peers(&bus.client(), PATIENCE).await {
                    Ok(mut found) => {
                        found.retain(|peer| {
                            peer.metadata.get(META_REGISTRY_ID) != Some(&peers.own.registry_id)
                        });
                        heard.answered(hosts(&found, &namespace), clock.now().mono);
                        if has_namesake(&found, &settings, &machine) {
                            heard.tell_of_namesake(&settings.host);
                        }
                        report_overlaps(&found, &settings, &machine, &mut reported);
                        let found = found
                            .iter()
                            .filter(|peer| is_in(peer, &namespace))
                            .map(instance)
                            .collect();
                        *peers.heard.lock().unwrap_or_else(PoisonError::into_inner) = found;
                    }
                    Err(error) => tracing::debug!(%error, "cannot ask for other instances"),
                }
                tokio::time::sleep(ASK_INTERVAL).await;
            }
        });
        this
    }

    /// All of them, this one included.
    pub(super) fn known(&self) -> BTreeSet<Instance> {
        let mut known = self
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        known.insert(self.own.clone());
        known
    }
}

/// What an instance says of itself to others.
pub(super) fn identity(settings: &Settings, registry_id: Uuid, machine: &Machine) -> Identity {
    let namespace = settings.namespace.name().unwrap_or_default();
    let mut metadata = vec![
        (META_NAMESPACE, namespace.to_owned()),
        (META_HOST, settings.host.to_string()),
        (META_RANGES, show_ranges(&settings.ranges)),
        (META_PROTOCOL, protocol()),
        (META_REGISTRY_ID, registry_id.to_string()),
    ];
    let port_space = machine.port_space();
    metadata.extend(port_space.map(|space| (META_PORT_SPACE, space)));
    let metadata = metadata.into_iter();
    Identity {
        name: SERVICE.to_owned(),
        id: service_id(registry_id),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        metadata: metadata
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// The version of the protocol that this instance speaks.
pub(super) fn protocol() -> String {
    format!("1.{PROTOCOL_MINOR}")
}

/// Who answers, of all namespaces.
pub(super) async fn all(client: &Client) -> Vec<Identity> {
    let asked = micro::peers(client, PATIENCE).await;
    asked.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot ask for other registries");
        Vec::new()
    })
}

/// The hosts of those in that namespace.
pub(super) fn hosts(peers: &[Identity], namespace: &Namespace) -> impl Iterator<Item = Host> {
    let peers = peers.iter().filter(|peer| is_in(peer, namespace));
    peers.filter_map(|peer| peer.metadata.get(META_HOST)?.parse().ok())
}

fn is_in(peer: &Identity, namespace: &Namespace) -> bool {
    peer.name == SERVICE
        && peer.metadata.get(META_NAMESPACE).map_or("", String::as_str)
            == namespace.name().unwrap_or("")
}

fn instance(peer: &Identity) -> Instance {
    Instance {
        registry_id: peer
            .metadata
            .get(META_REGISTRY_ID)
            .cloned()
            .unwrap_or_else(|| peer.id.clone()),
        version: peer.version.clone(),
        host: peer.metadata.get(META_HOST).cloned(),
    }
}

/// Whether an instance on another machine has the host of this one. Of those that start at once neither has heard of the
/// other by then; so it is looked for whenever instances answer.
fn has_namesake(peers: &[Identity], settings: &Settings, machine: &Machine) -> bool {
    let is_other = |peer: &Identity| {
        let host = peer.metadata.get(META_HOST).map(String::as_str);
        host == Some(settings.host.as_str())
            && is_of_another(peer.metadata.get(META_PORT_SPACE), machine)
    };
    let mut peers = peers.iter().filter(|peer| is_in(peer, &settings.namespace));
    peers.any(is_other)
}

/// Says which ports two namespaces grant, as far as that was not `reported` before: at the start it is refused, unless both
/// start at once.
fn report_overlaps(
    peers: &[Identity],
    settings: &Settings,
    machine: &Machine,
    reported: &mut Vec<String>,
) {
    let found = overlaps(peers, settings, machine);
    if found.is_empty() || found == *reported {
        return;
    }
    tracing::error!(
        "another registry grants the same ports: {}. One port may be granted twice: stop one of them, and start it \
         with other --ports",
        found.join("; ")
    );
    *reported = found;
}

/// Registries of other namespaces that grant ports of the same machine, by whatever name, from ranges that touch ours:
/// a line for each namespace and host, for the message.
pub(super) fn overlaps(peers: &[Identity], settings: &Settings, machine: &Machine) -> Vec<String> {
    let (namespace, ours) = (&settings.namespace, &settings.ranges);
    let port_space = machine.port_space();
    let is_here = |peer: &Identity, host: &str| {
        let named = host
            .parse()
            .is_ok_and(|host| machine.resolve(host) == settings.host);
        named || port_space.is_some() && peer.metadata.get(META_PORT_SPACE) == port_space.as_ref()
    };
    let mut found = BTreeMap::new();
    for peer in peers.iter().filter(|peer| !is_in(peer, namespace)) {
        let said = |name| peer.metadata.get(name).map_or("", String::as_str);
        let (host, ranges) = (said(META_HOST), said(META_RANGES));
        let theirs = super::settings::parse_ranges(ranges).unwrap_or_default();
        let touches = theirs.iter().any(|their| {
            ours.iter()
                .any(|our| our.first <= their.last && their.first <= our.last)
        });
        if touches && is_here(peer, host) {
            found.insert((said(META_NAMESPACE), host), ranges);
        }
    }
    let lines = found.iter().map(|((namespace, host), ranges)| {
        let namespace = if namespace.is_empty() {
            "(default)"
        } else {
            namespace
        };
        format!("namespace {namespace} grants {ranges} on {host}")
    });
    lines.collect()
}
