//! A nats-server, registries on it, and who calls them.

use std::{sync::Mutex, time::Duration};

use async_nats::Client;
use async_nats::jetstream::{self, stream::Stream};

use super::etcd::Etcd;
use super::harness::{Caller, Log, Nats, Registry};
use super::offers::Offers;
use super::plan::Plan;
use super::responder::Responder;

/// How long no event must have come until all are out: a publisher gathers for a tenth of a second.
const QUIET: Duration = Duration::from_millis(300);

/// What is leased: more than all callers can lease in a round, and below what the system gives to connections and
/// what the other registry grants.
const PORTS: &str = "1100-29999";
/// How many that are.
pub(crate) const PORTS_COUNT: usize = 28_900;

/// When the server writes to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Every two minutes, as a server does that nobody tells.
    Lazy,
    /// Before each acknowledgement: `sync_interval: always`.
    Always,
}

/// Everything that is measured on.
pub(crate) struct Bus {
    pub(crate) sync: Sync,
    /// One for the single caller, and what the others share.
    clients: Vec<Client>,
    /// What `port.lease` and `describe` are asked of.
    pub(crate) caller: Caller,
    /// Tools to be listed, described and invoked, where that is measured here.
    pub(crate) offers: Option<Offers>,
    events: Stream,
    pub(crate) writes: Writes,
    /// What writes are compared with, too, where each is on disk.
    pub(crate) etcd: Option<Mutex<Etcd>>,
    // Behind them, for they go in this order.
    _registries: Vec<Registry>,
    _responder: Responder,
    _nats: Nats,
}

/// Where raw writes go.
pub(crate) struct Writes {
    /// Subjects begin with it.
    pub(crate) prefix: String,
    /// Bytes of one: as a lease's record has.
    pub(crate) size: usize,
}

impl Bus {
    pub(crate) async fn start(sync: Sync, plan: &Plan) -> Self {
        let interval = match sync {
            Sync::Lazy => "",
            Sync::Always => ", sync_interval: always",
        };
        let nats = Nats::start_with(&format!(
            "jetstream {{ store_dir: \"FOLDER/store\"{interval} }}"
        ));
        let responder = Responder::start(&nats.url());
        let mut registries = vec![Registry::on(&nats, &["--ports", PORTS])];
        let mut clients = Vec::new();
        for _ in 0..=plan.connections {
            clients.push(async_nats::connect(nats.url()).await.unwrap());
        }
        let caller = Caller::connect(&nats.url()).await;
        let offers = match sync {
            Sync::Lazy if plan.offers => {
                // The ports of one host are granted by one registry.
                let large = ["--namespace", "large", "--ports", "30000-30099"];
                registries.push(Registry::on(&nats, &large));
                Some(Offers::announce(&caller, plan).await)
            }
            _ => None,
        };
        let context = jetstream::new(caller.client.clone());
        let writes = Writes::prepare(&caller, &context).await;
        let etcd = match sync {
            Sync::Lazy => None,
            Sync::Always => Etcd::start(writes.size).map(Mutex::new),
        };
        let events = context.get_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
        Self {
            sync,
            clients,
            caller,
            offers,
            events,
            writes,
            etcd,
            _registries: registries,
            _responder: responder,
            _nats: nats,
        }
    }

    /// The connections of so many callers.
    pub(crate) fn clients(&self, callers: usize) -> &[Client] {
        if callers == 1 {
            &self.clients[..1]
        } else {
            &self.clients[1..]
        }
    }

    /// What is not measured because nobody answers to it.
    pub(crate) fn without(&self) -> Option<&'static str> {
        let invoke = &self.offers.as_ref()?.invoke;
        invoke.is_none().then_some("tool.invoke")
    }

    /// Waits until all that happened is told, so that it does not weigh on what is measured next.
    pub(crate) async fn settled(&self) {
        let told = async || self.events.get_info().await.unwrap().state.last_sequence;
        let mut before = told().await;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = told().await;
            if now == before {
                return;
            }
            before = now;
        }
    }
}

impl Writes {
    /// A bucket like the registry's, and values as large as the entry of a lease.
    async fn prepare(caller: &Caller, context: &jetstream::Context) -> Self {
        let log = Log::of(caller).await;
        let before = log.last().await;
        let lease = caller.lease(uuid::Uuid::new_v4(), serde_json::Value::Null);
        let lease = lease.await;
        let like = context.get_stream("KV_onex-registry").await.unwrap();
        let mut config = like.cached_info().config.clone();
        "KV_bench".clone_into(&mut config.name);
        config.subjects = vec!["$KV.bench.>".to_owned()];
        config.max_messages_per_subject = 1;
        // The log sets aside more than a disk may have twice.
        config.max_bytes = 256 << 20;
        context.create_stream(config).await.unwrap();
        let id = lease["lease_id"].as_str().unwrap();
        let commands = log.commands(before).await;
        let granted = commands
            .iter()
            .find(|command| command.body.to_string().contains(id))
            .unwrap();
        let entry = like.get_raw_message(granted.position).await.unwrap();
        let holder = &lease["requester_id"];
        let given_back = serde_json::json!({"requester_id": holder, "lease_id": lease["lease_id"]});
        caller.get("port.release", given_back).await;
        Self {
            prefix: "$KV.bench.".to_owned(),
            size: entry.payload.len(),
        }
    }
}
