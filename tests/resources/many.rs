//! A thousand nodes with ten tools and a port each, over two registries; a third of the nodes, a registry and the NATS
//! server are killed in the middle. In the end everything that is counted is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use onex_registry::client::Client;
use onex_registry::ids::RequesterId;
use onex_registry::protocol::describe::DescribeRequest;
use onex_registry::protocol::names::Namespace;
use onex_registry::protocol::node::RegisterRequest;
use onex_registry::protocol::node_life::HeartbeatRequest;
use onex_registry::protocol::node_view::{Liveness, NodeListRequest};
use onex_registry::protocol::port::{LeaseRequest, ListRequest};
use onex_registry::protocol::tool::ToolListRequest;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::harness::{Caller, Events, Nats, PATIENCE, Registry, until};

const NODES: usize = 1_000;
/// Tools that every node offers, by one name each.
const TOOLS_COMMON: usize = 5;
/// Tools that only one node offers.
const TOOLS_OWN: usize = 5;
/// Long enough for a NATS server to come back in, also on a slow machine.
const TTL_SECONDS: u64 = 20;
/// Nodes that begin at the same time: a debug build checks ten contracts for each.
const BEGINNING_MAX: usize = 32;
/// The page bound of the registry and of every reply; `docs/architecture.md`, "Bounds".
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// A process with a node in it: it registers, leases a port, and sends heartbeats until it is killed.
struct Process {
    number: usize,
    client: Client,
    requester_id: RequesterId,
    epoch: u64,
    /// Until when it may count on its node, by its own reckoning.
    until: Instant,
    heartbeat_after: Duration,
    port: u16,
}

fn node_id(number: usize) -> String {
    format!("node-{number:04}")
}

fn is_killed(number: usize) -> bool {
    number.is_multiple_of(3)
}

fn tools(number: usize) -> Vec<Value> {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let tool = |name: String| json!({"name": name, "version": "1.0.0", "input_schema": schema});
    let common = (0..TOOLS_COMMON).map(|n| tool(format!("common-{n}")));
    let own = (0..TOOLS_OWN).map(|n| tool(format!("own-{number:04}-{n}")));
    common.chain(own).collect()
}

/// Asks again where that may help, as the same: a registry or the server is away.
macro_rules! insist {
    ($ask:expr) => {{
        let since = Instant::now();
        loop {
            match $ask.await {
                Ok(reply) => break reply,
                Err(error) => assert!(error.retryable() && since.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }};
}

impl Process {
    async fn begin(number: usize, client: Client) -> Self {
        let requester_id = RequesterId(Uuid::new_v4());
        let request: RegisterRequest = serde_json::from_value(json!({
            "node_id": node_id(number), "version": "1.0.0", "node_type": "tool", "ttl": TTL_SECONDS,
            "requester_id": requester_id, "request_id": Uuid::new_v4(), "tools": tools(number),
        }))
        .unwrap();
        let began = Instant::now();
        let node = insist!(client.register_node(&request));
        let mut this = Self {
            number,
            client,
            requester_id,
            epoch: node.epoch,
            until: began + Duration::from_secs(TTL_SECONDS),
            heartbeat_after: Duration::from_millis(node.heartbeat_after_ms),
            port: 0,
        };
        let lease_request: LeaseRequest = serde_json::from_value(json!({
            "requester_id": requester_id, "protocol": "http", "node_id": node_id(number), "request_id": Uuid::new_v4(),
        }))
        .unwrap();
        let lease = insist!(this.client.lease(&lease_request));
        this.port = lease.port.number();
        this
    }

    /// Lives until it is killed. That it is told that its node has ended, while by its own clock that lives, is a
    /// broken promise.
    async fn live(mut self, mut killed: watch::Receiver<bool>) -> Self {
        let request: HeartbeatRequest = serde_json::from_value(json!({
            "node_id": node_id(self.number), "requester_id": self.requester_id, "epoch": self.epoch,
        }))
        .unwrap();
        loop {
            tokio::select! {
                _ = killed.wait_for(|killed| *killed) => return self,
                () = tokio::time::sleep(self.heartbeat_after) => {}
            }
            let asked = Instant::now();
            match self.client.node_heartbeat(&request).await {
                Ok(reply) => {
                    self.until = asked + Duration::from_secs(TTL_SECONDS);
                    self.heartbeat_after = Duration::from_millis(reply.heartbeat_after_ms);
                }
                Err(error) if error.retryable() => {
                    self.heartbeat_after = Duration::from_millis(100);
                }
                Err(error) => panic!("{}: {error}", node_id(self.number)),
            }
            assert!(
                Instant::now() < self.until,
                "{}: no heartbeat came through in {TTL_SECONDS} s",
                node_id(self.number)
            );
        }
    }
}

/// Everything that is counted, as one answer or list of answers has it.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    online: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// How many offer it, by a tool's name.
    providers: BTreeMap<String, usize>,
    ports: BTreeMap<u16, String>,
}

impl Counts {
    fn expected(ports: &BTreeMap<usize, u16>) -> Self {
        let living = || (0..NODES).filter(|number| !is_killed(*number));
        let common = (0..TOOLS_COMMON).map(|n| (format!("common-{n}"), living().count()));
        let own = living()
            .flat_map(|number| (0..TOOLS_OWN).map(move |n| (format!("own-{number:04}-{n}"), 1)));
        Self {
            online: living().map(node_id).collect(),
            ended: (0..NODES)
                .filter(|number| is_killed(*number))
                .map(node_id)
                .collect(),
            providers: common.chain(own).collect(),
            ports: living()
                .map(|number| (ports[&number], node_id(number)))
                .collect(),
        }
    }

    /// By the lists; none when a page could not be had.
    async fn listed(client: &Client) -> Option<Self> {
        let nodes = async |liveness| {
            let request = NodeListRequest {
                liveness: Some(liveness),
                ..NodeListRequest::default()
            };
            let all = client.all(&request).await.ok()?;
            Some(
                all.items
                    .into_iter()
                    .map(|node| node.node_id.to_string())
                    .collect(),
            )
        };
        let tools = client.all(&ToolListRequest::default()).await.ok()?;
        let leases = client.all(&ListRequest::default()).await.ok()?;
        Some(Self {
            online: nodes(Liveness::Online).await?,
            ended: nodes(Liveness::Ended).await?,
            providers: tools
                .items
                .into_iter()
                .map(|tool| (tool.name.to_string(), tool.providers))
                .collect(),
            ports: leases
                .items
                .into_iter()
                .map(|lease| (lease.port.number(), lease.node_id.unwrap().to_string()))
                .collect(),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_are_counted_right_whatever_is_killed() {
    let mut nats = Nats::start();
    let mut first = Registry::on(&nats, &[]);
    let second = Registry::on(&nats, &[]);
    // Several connections, as processes have.
    let connections = join_all((0..8).map(|_| async_nats::connect(nats.url()))).await;
    let clients: Vec<Client> = connections
        .into_iter()
        .map(|nats| Client::new(nats.unwrap(), Namespace::default()))
        .collect();
    let client_of = |number: usize| clients[number % clients.len()].clone();

    let (kill, killed) = watch::channel(false);
    let (_forever, never) = watch::channel(false);
    let beginning = Arc::new(Semaphore::new(BEGINNING_MAX));
    let (began, mut ports) = tokio::sync::mpsc::channel(NODES);
    for number in 0..NODES {
        let client = client_of(number);
        let killed = if is_killed(number) {
            killed.clone()
        } else {
            never.clone()
        };
        let (beginning, began) = (Arc::clone(&beginning), began.clone());
        tokio::spawn(async move {
            let permit = beginning.acquire().await.unwrap();
            let process = Process::begin(number, client).await;
            drop(permit);
            began.send((number, process.port)).await.unwrap();
            process.live(killed).await;
        });
    }
    let mut port_of: BTreeMap<usize, u16> = BTreeMap::new();
    while port_of.len() < NODES {
        let (number, port) = ports.recv().await.unwrap();
        port_of.insert(number, port);
    }
    let distinct: BTreeSet<&u16> = port_of.values().collect();
    assert_eq!(distinct.len(), NODES, "a port was given to two");

    kill.send_replace(true);
    first.kill();
    nats.kill();
    nats.start_again();
    let third = Registry::on(&nats, &[]);

    let expected = Counts::expected(&port_of);
    until("all counts to be right", async || {
        let listed = Counts::listed(&clients[0]).await?;
        (listed == expected).then_some(())
    })
    .await;
    // And by each instance alone: by one that was there all the time, and by one that has just read the bucket.
    let caller = Caller::connect(&nats.url()).await;
    leave(third);
    assert_eq!(Counts::listed(&clients[1]).await.as_ref(), Some(&expected));
    let fourth = Registry::on(&nats, &[]);
    leave(second);
    assert_eq!(Counts::listed(&clients[2]).await, Some(expected));
    described(&caller).await;
    told(&caller).await;
    drop(fourth);
}

fn leave(mut registry: Registry) {
    registry.terminate();
    assert!(registry.ended().0.success());
}

/// `describe` of the whole registry: its pages together have everything once, and none is longer than it may be.
async fn described(caller: &Caller) {
    let living = (0..NODES).filter(|number| !is_killed(*number)).count();
    let mut request = DescribeRequest::default();
    let (mut nodes, mut tools, mut pages) = (BTreeSet::new(), BTreeSet::new(), 0);
    loop {
        let reply = caller.get("describe", json!(request)).await;
        let bytes = reply.to_string().len();
        assert!(bytes <= PAGE_BYTES_MAX, "{bytes}");
        let counts = &reply["counts"];
        assert_eq!(counts["nodes"], living);
        assert_eq!(counts["tools"], TOOLS_COMMON + TOOLS_OWN * living);
        assert_eq!(counts["leases"], living);
        let texts = |list: &Value, name: &str| -> Vec<String> {
            let items = list.as_array().unwrap().iter();
            items
                .map(|item| item[name].as_str().unwrap().to_owned())
                .collect()
        };
        for node in texts(&reply["nodes"], "node_id") {
            assert!(nodes.insert(node.clone()), "{node} is there twice");
        }
        for tool in texts(&reply["tools"], "name") {
            assert!(tools.insert(tool.clone()), "{tool} is there twice");
        }
        pages += 1;
        match reply["next_cursor"].as_str() {
            Some(cursor) => request.cursor = Some(cursor.to_owned()),
            None => break,
        }
    }
    assert_eq!(nodes.len(), NODES, "ended nodes are remembered");
    assert_eq!(tools.len(), TOOLS_COMMON + TOOLS_OWN * living);
    assert!(pages > 10, "{pages}");
}

/// Every life is told of once, from its beginning to its end.
async fn told(caller: &Caller) {
    let events = Events::published(caller).await;
    let killed = (0..NODES).filter(|number| is_killed(*number)).count();
    // A port that another program uses, and a second grant for a request that was sent twice, are taken back.
    let count = |kind: &str| {
        let ids = events.of_kind(kind).into_iter();
        let ids: BTreeSet<String> = ids
            .map(|event| event.headers.get("ce-id").unwrap().to_string())
            .collect();
        ids.len()
    };
    let taken_back = count("port.quarantined") + count("port.released");
    for (kind, expected) in [
        ("node.registered", NODES),
        ("node.rejoined", 0),
        ("node.expired", killed),
        ("node.deregistered", 0),
        ("tool.registered", NODES * (TOOLS_COMMON + TOOLS_OWN)),
        ("tool.removed", killed * (TOOLS_COMMON + TOOLS_OWN)),
        ("tool.collision", 0),
        ("port.leased", NODES + taken_back),
        ("port.expired", killed),
    ] {
        assert_eq!(count(kind), expected, "{kind}");
    }
}
