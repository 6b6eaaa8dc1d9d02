//! The other instances, as far as they answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, SubscribeError};
use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use onex_types::{ids::Host, ports::PortRange};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::timeout};

use crate::protocol::{
    describe::Instance,
    error::{Error, ErrorCode},
    inbox::Inboxes,
    names::{Namespace, PEER_INSTANCES, SERVICE},
};

use super::{
    bus::Bus,
    clock::Clock,
    driver::Reads,
    grants::{Conflict, Own, host_in, instance, registry_id},
    hosts::Heard,
    micro::Identity,
    start_error::StartError,
    stop::Stop,
};

/// How often the others are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// Answers to one question that are taken, at most: each host that may be known can have an agent, and registries of other
/// namespaces answer as well.
const ANSWERS_MAX: usize = 2_048;
/// Bytes of an answer, at most.
const IDENTITY_BYTES_MAX: usize = 4_096;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// What is said to whoever would be granted a port meanwhile, and in the log.
const NO_GRANTS: &str = "that one was there first, and no port is granted here while it runs";

/// What this instance tells others of itself.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) identity: watch::Receiver<Identity>,
    /// Where answers may be sent.
    pub(super) inboxes: Inboxes,
    /// What its readers see; none of an agent, which has no log.
    pub(super) reads: Option<Arc<Reads>>,
    pub(super) clock: Clock,
}

/// What an instance answers to whoever asks who is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    #[serde(flatten)]
    pub(super) identity: Identity,
    /// How far it is in the log: the revision of the last command that it has applied. Agents and earlier versions do not say it.
    pub(super) revision: Option<u64>,
    /// Its wall clock. Earlier versions do not say it.
    pub(super) now: Option<Timestamp>,
}

impl Peer {
    /// Tells whoever asks.
    pub(super) async fn listen(
        &self,
        client: &Client,
        session: &Stop,
    ) -> Result<(), SubscribeError> {
        let mut asked = client.subscribe(PEER_INSTANCES).await?;
        let (this, client) = (self.clone(), client.clone());
        session.spawn(async move {
            while let Some(message) = asked.next().await {
                let Some(reply) = message.reply.filter(|reply| this.inboxes.has(reply)) else {
                    continue;
                };
                if let Err(error) = client.publish(reply, this.answer()).await {
                    tracing::debug!(%error, "cannot tell another instance who this is");
                }
            }
        });
        Ok(())
    }

    fn answer(&self) -> Bytes {
        let answer = Answer {
            identity: self.identity.borrow().clone(),
            revision: self.reads.as_ref().map(|reads| reads.revision()),
            now: Some(self.clock.now().wall),
        };
        Bytes::from(serde_json::to_vec(&answer).unwrap_or_default())
    }
}

/// What is known of the other instances.
#[derive(Clone)]
pub(super) struct Peers {
    own: Own,
    known: Arc<Mutex<Known>>,
    /// The hosts on which others try ports.
    probers: watch::Sender<BTreeSet<Host>>,
}

#[derive(Default)]
struct Known {
    /// Who was heard of lately.
    heard: BTreeSet<Instance>,
    /// The hosts whose ports somebody else granted before.
    conflicts: BTreeMap<Host, Conflict>,
}

impl Peers {
    /// Asks from time to time, for ever.
    pub(super) fn start(
        bus: Bus,
        own: Own,
        heard: Arc<Heard>,
        probers: watch::Sender<BTreeSet<Host>>,
        clock: Clock,
        stop: &Stop,
    ) -> Self {
        let this = Self {
            own,
            known: Arc::default(),
            probers,
        };
        let (peers, own) = (this.clone(), this.own.clone());
        stop.watch("search for other instances", async move {
            loop {
                match ask(&bus.client()).await {
                    Ok(mut found) => {
                        found.retain(|peer| registry_id(peer) != registry_id(&own.identity()));
                        heard.answered(own.hosts(&found), clock.now().mono);
                        if own.has_namesake(&found) {
                            heard.tell_of_namesake(own.machine.host());
                        }
                        peers.take(&found);
                    }
                    Err(error) => tracing::debug!(%error, "cannot ask for other instances"),
                }
                tokio::time::sleep(ASK_INTERVAL).await;
            }
        });
        this
    }

    /// Notes who answered.
    fn take(&self, found: &[Identity]) {
        let probers = self.own.probers(found);
        self.probers.send_if_modified(|known| {
            let is_new = *known != probers;
            *known = probers;
            is_new
        });
        let conflicts = self.own.conflicts(found);
        let of_registry = found.iter().filter(|peer| self.own.is_alike(peer));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (host, conflict) in &conflicts {
            if known.conflicts.get(host) != Some(conflict) {
                tracing::error!(%host, "{conflict}: {NO_GRANTS}");
            }
        }
        for host in known.conflicts.keys() {
            if !conflicts.contains_key(host) {
                tracing::warn!(%host, "ports are granted again: nobody else grants the same");
            }
        }
        known.conflicts = conflicts;
        known.heard = of_registry.map(instance).collect();
    }

    /// All of them, this one included.
    pub(super) fn known(&self) -> BTreeSet<Instance> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut instances = known.heard.clone();
        instances.insert(instance(&self.own.identity()));
        instances
    }

    /// Refuses that these ports of a host are granted if another registry grants some of them: who runs is asked now.
    pub(super) async fn check(
        &self,
        client: &Client,
        host: &Host,
        ranges: &[PortRange],
    ) -> Result<(), Conflict> {
        let peers = all(client).await;
        self.own
            .conflict_on(host, ranges, &peers)
            .map_or(Ok(()), Err)
    }

    /// Why no ports of that host are granted; none where they are.
    pub(super) fn refusal(&self, host: &Host) -> Option<Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let conflict = known.conflicts.get(host)?;
        let message = format!("{conflict}: {NO_GRANTS}");
        Some(Error::new(ErrorCode::ResourceExhausted, message).with("host", host.as_str()))
    }
}

/// The host of an instance of that namespace that answers, of a version before instances asked each other, too.
pub(super) async fn running(client: &Client, namespace: &Namespace) -> Option<String> {
    let ping = format!("$SRV.PING.{SERVICE}");
    let peers = ask_on(client, &[PEER_INSTANCES, &ping]).await;
    let peers: Vec<Identity> = peers.unwrap_or_else(|error| cannot_ask(&error));
    peers.iter().find_map(|peer| host_in(peer, namespace))
}

/// The instances of all registries that answer.
pub(super) async fn all(client: &Client) -> Vec<Identity> {
    ask(client).await.unwrap_or_else(|error| cannot_ask(&error))
}

/// The same with all that they answer.
pub(super) async fn answers(client: &Client) -> Result<Vec<Answer>, async_nats::Error> {
    ask_on(client, &[PEER_INSTANCES]).await
}

fn cannot_ask(error: &async_nats::Error) -> Vec<Identity> {
    tracing::warn!(%error, "cannot ask for other registries");
    Vec::new()
}

/// The hosts on which other instances of the registry run. What this one would grant nobody else must grant.
pub(super) fn check(peers: &[Identity], own: &Own) -> Result<Vec<Host>, StartError> {
    match own.conflict(peers) {
        Some(conflict) => Err(StartError::Conflict(conflict)),
        None => Ok(own.hosts(peers).collect()),
    }
}

/// Asks the instances of all registries who they are, and gathers what comes within [`PATIENCE`].
async fn ask(client: &Client) -> Result<Vec<Identity>, async_nats::Error> {
    ask_on(client, &[PEER_INSTANCES]).await
}

async fn ask_on<A: DeserializeOwned>(
    client: &Client,
    subjects: &[&str],
) -> Result<Vec<A>, async_nats::Error> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    for subject in subjects {
        let asked = client.publish_with_reply((*subject).to_owned(), inbox.clone(), Bytes::new());
        asked.await?;
    }
    let mut peers = Vec::new();
    let gather = async {
        while let Some(message) = answers.next().await {
            if message.payload.len() > IDENTITY_BYTES_MAX {
                continue;
            }
            peers.extend(serde_json::from_slice::<A>(&message.payload));
            if peers.len() == ANSWERS_MAX {
                break;
            }
        }
    };
    let _ = timeout(PATIENCE, gather).await;
    Ok(peers)
}
