//! The other instances, as far as they answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::Client;

use crate::{
    domain::ids::Host,
    machine::Machine,
    protocol::{
        describe::Instance,
        names::{Namespace, SERVICE},
    },
};

use super::{
    commit::Commit,
    micro::{self, Identity},
    settings::Settings,
};

/// How often the others are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// Metadata under which an instance says what it is.
pub(super) const META_NAMESPACE: &str = "namespace";
pub(super) const META_HOST: &str = "host";
/// Which kernel and network namespace the host is, where the instance is on its network.
pub(super) const META_PORT_SPACE: &str = "port_space";
pub(super) const META_RANGES: &str = "ranges";
pub(super) const META_PROTOCOL: &str = "protocol";
pub(super) const META_REGISTRY_ID: &str = "registry_id";

/// Who was heard of lately.
#[derive(Clone)]
pub(super) struct Peers {
    own: Instance,
    heard: Arc<Mutex<BTreeSet<Instance>>>,
}

impl Peers {
    /// Asks from time to time, for ever.
    pub(super) fn start(
        client: Client,
        namespace: Namespace,
        own: Instance,
        commit: Arc<Commit>,
    ) -> Self {
        let this = Self {
            own,
            heard: Arc::default(),
        };
        let peers = this.clone();
        let stop = commit.stop.clone();
        stop.watch("search for other instances", async move {
            loop {
                match micro::peers(&client, PATIENCE).await {
                    Ok(mut found) => {
                        found.retain(|peer| {
                            peer.metadata.get(META_REGISTRY_ID) != Some(&peers.own.registry_id)
                        });
                        let now = commit.clock.now().mono;
                        commit.heard.answered(hosts(&found, &namespace), now);
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
