//! The other instances, as far as they answer.

use std::{
    collections::BTreeSet,
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
                    Ok(found) => {
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
/// a line each, for the message.
pub(super) fn overlaps(peers: &[Identity], settings: &Settings, machine: &Machine) -> Vec<String> {
    let (namespace, host, ours) = (&settings.namespace, &settings.host, &settings.ranges);
    let touches = |peer: &&Identity| {
        let theirs = peer
            .metadata
            .get(META_RANGES)
            .map(|text| super::settings::parse_ranges(text));
        let Some(Ok(theirs)) = theirs else {
            return false;
        };
        !is_in(peer, namespace)
            && peer
                .metadata
                .get(META_HOST)
                .and_then(|other| other.parse().ok())
                .is_some_and(|other| machine.resolve(other) == *host)
            && theirs.iter().any(|their| {
                ours.iter()
                    .any(|our| our.first <= their.last && their.first <= our.last)
            })
    };
    peers
        .iter()
        .filter(touches)
        .map(|peer| {
            let other = peer
                .metadata
                .get(META_NAMESPACE)
                .filter(|name| !name.is_empty());
            let ranges = peer.metadata.get(META_RANGES).map_or("", String::as_str);
            format!(
                "namespace {} grants {ranges} on {host}",
                other.map_or("(default)", String::as_str)
            )
        })
        .collect()
}
