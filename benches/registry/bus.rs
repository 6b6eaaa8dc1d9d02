//! NATS servers, registries on them, and who calls them.

use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::{self, Context};
use futures::TryStreamExt as _;

use super::harness::{Caller, Nats, Registry};
use super::plan::Plan;
use super::responder::Responder;

/// What is leased: more than all callers can lease in a round, and below what the system gives to connections and
/// what the registries of other namespaces grant.
const PORTS: &str = "1100-29999";
/// How many that are.
pub(crate) const PORTS_COUNT: usize = 28_900;

/// On what it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One server that writes to disk every two minutes, as it does when nobody tells it.
    Lazy,
    /// One that does so before each acknowledgement: `sync_interval: always`.
    Always,
    /// Three servers like the first one, each with a copy.
    Cluster,
}

/// Everything that is measured on.
pub(crate) struct Bus {
    pub(crate) setting: Setting,
    /// One for the single caller, and what the others share.
    clients: Vec<Client>,
    /// Of the registry without a namespace.
    pub(crate) caller: Caller,
    ports: String,
    /// How long nothing must have come until it is settled.
    quiet: Duration,
    // Behind them, for they go in this order.
    registries: Vec<Registry>,
    _responder: Responder,
    servers: Vec<Nats>,
}

impl Bus {
    pub(crate) async fn start(setting: Setting, plan: &Plan) -> Self {
        Self::start_with(setting, PORTS, plan).await
    }

    /// With a registry that grants these ports.
    pub(crate) async fn start_with(setting: Setting, ports: &str, plan: &Plan) -> Self {
        let store = |more| {
            Nats::start_with(&format!(
                "jetstream {{ store_dir: \"FOLDER/store\"{more} }}"
            ))
        };
        let servers = match setting {
            Setting::Lazy => vec![store("")],
            Setting::Always => vec![store(", sync_interval: always")],
            Setting::Cluster => Nats::cluster(3),
        };
        let url = servers[0].url();
        let responder = Responder::start(&url);
        let registry = Registry::on(&servers[0], &["--ports", ports]);
        let mut clients = Vec::new();
        for _ in 0..=plan.connections {
            clients.push(async_nats::connect(&url).await.unwrap());
        }
        Self {
            setting,
            clients,
            caller: Caller::connect(&url).await,
            ports: ports.to_owned(),
            quiet: plan.quiet,
            registries: vec![registry],
            _responder: responder,
            servers,
        }
    }

    /// Starts another registry, of a namespace, and says how to call it. Those of one host grant different ports.
    pub(crate) fn add(&mut self, namespace: &str, ports: &str) -> Caller {
        let args = ["--namespace", namespace, "--ports", ports];
        self.registries.push(Registry::on(&self.servers[0], &args));
        let mut caller = self.caller.clone();
        caller.prefix = format!("onex.{namespace}.registry.v1");
        caller
    }

    /// Bytes of memory of the registry without a namespace.
    pub(crate) fn memory(&self) -> u64 {
        self.registries[0].memory()
    }

    /// Ends the registry without a namespace, and starts it again: how long that takes from its start until it is ready.
    pub(crate) fn start_again(&mut self) -> Duration {
        let registry = &mut self.registries[0];
        registry.terminate();
        registry.ended();
        let began = Instant::now();
        *registry = Registry::on(&self.servers[0], &["--ports", &self.ports]);
        began.elapsed()
    }

    /// The connections of so many callers.
    pub(crate) fn clients(&self, callers: usize) -> &[Client] {
        if callers == 1 {
            &self.clients[..1]
        } else {
            &self.clients[1..]
        }
    }

    pub(crate) fn context(&self) -> Context {
        jetstream::new(self.caller.client.clone())
    }

    /// Waits until all that happened is told and shown, so that it does not weigh on what is measured next.
    pub(crate) async fn settled(&self) {
        let context = self.context();
        let told = async || {
            let streams: Vec<_> = context.streams().try_collect().await.unwrap();
            let follows = |name: &str| name.contains("REGISTRY_EVENTS") || name.contains("-view");
            let streams = streams.iter().filter(|info| follows(&info.config.name));
            streams.map(|info| info.state.last_sequence).sum::<u64>()
        };
        let mut before = told().await;
        loop {
            tokio::time::sleep(self.quiet).await;
            let now = told().await;
            if now == before {
                return;
            }
            before = now;
        }
    }
}
