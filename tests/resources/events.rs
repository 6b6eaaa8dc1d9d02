//! What is told of everything that can happen; who publishes events when the one that did is gone, and what happens
//! without a stream to publish to.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::{Caller, Event, Events, Log, Nats, Provider, Registry, until};
use async_nats::jetstream;
use onex_core::entry::EventKind;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// How long another instance waits for an entry of the one that publishes before it takes its place.
const TAKEOVER: Duration = Duration::from_secs(10);

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

/// Waits until the events of one lease are there.
async fn told(caller: &Caller, lease_id: &str) {
    until("the lease to be told of", async || {
        let context = jetstream::new(caller.client.clone());
        context.get_stream("ONEX_REGISTRY_EVENTS").await.ok()?;
        let events = Events::read(caller).await;
        (events.of_lease(lease_id) == ["port.leased"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_is_not_waited_for() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let mut first = Registry::on(&nats, &ARGS);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    first.kill();

    let _second = Registry::on(&nats, &ARGS);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    let since = Instant::now();
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    // No other instance answers when the second one starts; without that, the first one is waited for this long.
    assert!(since.elapsed() < TAKEOVER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_stops_in_order_leaves_nothing_behind() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let mut first = Registry::on(&nats, &ARGS);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    first.terminate();
    assert!(first.ended().0.success());
    let events = Events::read(&caller).await;
    assert_eq!(
        events.of_lease(lease["lease_id"].as_str().unwrap()),
        ["port.leased"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_that_is_removed_is_made_again() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    let context = jetstream::new(caller.client.clone());
    context.delete_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    assert!(
        registry
            .said()
            .contains("events cannot be published; trying again")
    );
}

/// What someone does so that everything happens that is told.
struct Story {
    caller: Caller,
    requester: Uuid,
}

impl Story {
    async fn register(&self, node_id: &str, more: Value) -> u64 {
        let mut body = json!({
            "node_id": node_id, "requester_id": self.requester, "version": "1.0.0", "node_type": "tool",
        });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let reply = self.caller.get("node.register", body).await;
        reply["epoch"].as_u64().unwrap()
    }

    /// A lease and a bus that end with that node.
    async fn hang_on(&self, node_id: &str) {
        let name = format!("of-{node_id}");
        let lease = json!({"host": "there", "node_id": node_id, "name": name});
        self.caller.lease(self.requester, lease).await;
        let bus = json!({
            "bus_id": format!("bus-of-{node_id}"), "requester_id": self.requester, "protocol": "redis",
            "endpoint_uri": "redis://there", "node_id": node_id,
        });
        self.caller.get("bus.register", bus).await;
    }

    async fn of_node(&self, endpoint: &str, node_id: &str, more: Value) {
        let mut body = json!({"node_id": node_id, "requester_id": self.requester, "epoch": 1});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        self.caller.get(endpoint, body).await;
    }

    /// Waits until an event of that kind has these members; it.
    async fn told(&self, kind: &str, members: Value) -> Event {
        let has_them = |event: &&&Event| {
            let mut members = members.as_object().unwrap().iter();
            members.all(|(name, value)| event.body[name] == *value)
        };
        until(&format!("{kind} {members}"), async || {
            let events = Events::read(&self.caller).await;
            let found = events.of_kind(kind);
            found.iter().find(has_them).map(|event| (*event).clone())
        })
        .await
    }
}

impl Story {
    /// A tool is called, with a result and without.
    async fn call(&self, url: &str) {
        let tool = json!({
            "name": "halve", "version": "1.0.0", "subject": "story.halve", "output_schema": {"type": "integer"},
        });
        let of_story = json!({"node_type": "agent", "ttl": 600, "tools": [tool]});
        self.register("story", of_story).await;
        let _halve = Provider::answering(url, "story.halve", |arguments| {
            arguments["n"]
                .as_u64()
                .map_or(json!("no"), |n| json!(n / 2))
        })
        .await;
        let call = |arguments: Value| json!({"tool_name": "halve", "arguments": arguments, "requester_id": self.requester});
        self.caller.get("tool.invoke", call(json!({"n": 4}))).await;
        let wrong = call(json!({}));
        self.caller
            .refused("tool.invoke", wrong, ErrorCode::InvalidResult)
            .await;
    }
}

/// What is told of the calls in the story.
fn of_calls() -> Vec<(&'static str, Value)> {
    let of = |outcome: Value, code: Value| json!({"tool_name": "halve", "provider_node_id": "story", "outcome": outcome, "code": code});
    vec![
        ("tool.invoked", of(Value::Null, Value::Null)),
        ("tool.completed", of(json!("completed"), Value::Null)),
        ("tool.failed", of(json!("failed"), json!("INVALID_RESULT"))),
    ]
}

/// With the tool `add`.
fn offering(more: &Value) -> Value {
    let mut tool = json!({"name": "add", "version": "1.0.0"});
    let more = more.as_object().unwrap().clone();
    tool.as_object_mut().unwrap().extend(more);
    json!({"tools": [tool]})
}

impl Story {
    /// Leases: of a port that another program has, one that is given back, and one that is not.
    async fn lease(&self, taken: u16) -> Value {
        let lease = |more: Value| self.caller.lease(self.requester, more);
        lease(json!({"preferred_port": taken})).await;
        let given_back = lease(json!({"host": "there"})).await;
        let mine = json!({"requester_id": self.requester, "lease_id": given_back["lease_id"]});
        self.caller.get("port.release", mine).await;
        lease(json!({"host": "there", "ttl": 1, "name": "lost"})).await;
        given_back
    }

    /// Nodes: one that is superseded, one that expires and comes back, one that judges and leaves, one that is judged
    /// and leaves.
    async fn announce(&self) {
        self.register("first", offering(&json!({}))).await;
        self.hang_on("first").await;
        assert_eq!(self.register("first", offering(&json!({}))).await, 2);
        let other = offering(&json!({"idempotent": true}));
        let mut short = other.clone();
        short["ttl"] = json!(3);
        self.register("second", short).await;
        self.hang_on("second").await;
        self.register("third", json!({"node_type": "validator"}))
            .await;
        self.hang_on("third").await;
        self.register("fourth", json!({"node_type": "test"})).await;
        for judged in ["first", "fourth"] {
            let report = json!({
                "node_id": judged, "validator_id": "third", "requester_id": self.requester, "outcome": "fail",
            });
            self.caller.get("trust.report", report).await;
        }
        self.of_node("node.deregister", "fourth", json!({})).await;
        self.register("fifth", json!({"node_type": "test"})).await;
        let evict = json!({"node_id": "fifth", "reason": "it hangs"});
        self.caller.get("admin.node.evict", evict).await;
        let subtract = json!({"tool": {"name": "subtract", "version": "1.0.0"}});
        self.of_node("tool.register", "third", subtract).await;
        let subtract = json!({"name": "subtract"});
        self.of_node("tool.deregister", "third", subtract).await;
        self.of_node("node.deregister", "third", json!({})).await;
        self.told("node.expired", json!({"node_id": "second"}))
            .await;
        assert_eq!(self.register("second", other).await, 2);
    }
}

/// What is told of the nodes in the story, and of what they have.
fn of_nodes(requester: Uuid) -> Vec<(&'static str, Value)> {
    vec![
        (
            "node.registered",
            json!({"node_id": "first", "epoch": 2, "requester_id": requester}),
        ),
        ("node.rejoined", json!({"node_id": "second", "epoch": 2})),
        (
            "node.expired",
            json!({"node_id": "second", "epoch": 1, "correlation_id": null}),
        ),
        ("node.deregistered", json!({"node_id": "third", "epoch": 1})),
        (
            "node.evicted",
            json!({"node_id": "fifth", "epoch": 1, "reason": "it hangs"}),
        ),
        (
            "tool.registered",
            json!({"node_id": "first", "tool_name": "add", "epoch": 1}),
        ),
        (
            "tool.registered",
            json!({"node_id": "third", "tool_name": "subtract"}),
        ),
        (
            "tool.removed",
            json!({"node_id": "second", "tool_name": "add", "epoch": 1}),
        ),
        (
            "tool.removed",
            json!({"node_id": "third", "tool_name": "subtract"}),
        ),
        (
            "tool.collision",
            json!({"node_id": "second", "tool_name": "add"}),
        ),
        (
            "bus.registered",
            json!({"bus_id": "bus-of-first", "outcome": null}),
        ),
        (
            "bus.removed",
            json!({"bus_id": "bus-of-first", "outcome": "superseded"}),
        ),
        (
            "bus.removed",
            json!({"bus_id": "bus-of-second", "outcome": "expired"}),
        ),
        (
            "bus.removed",
            json!({"bus_id": "bus-of-third", "outcome": "released"}),
        ),
        (
            "trust.changed",
            json!({"node_id": "first", "validator_id": "third"}),
        ),
    ]
}

/// What is told of the ports in the story.
fn of_ports(taken: u16, given_back: &Value) -> Vec<(&'static str, Value)> {
    let of = |name: &str, outcome: &str| json!({"host": "there", "name": name, "outcome": outcome});
    vec![
        (
            "port.leased",
            json!({"host": "here", "port": taken, "outcome": null}),
        ),
        (
            "port.quarantined",
            json!({"host": "here", "port": taken, "outcome": "in_use"}),
        ),
        ("pool.changed", json!({"host": "gone", "description": null})),
        ("pool.deleted", json!({"host": "there", "pools": null})),
        (
            "host.forgotten",
            json!({"host": "gone", "reason": "it is gone"}),
        ),
        (
            "port.unquarantined",
            json!({"host": "here", "port": taken, "reason": "it is gone"}),
        ),
        (
            "port.released",
            json!({"lease_id": given_back["lease_id"], "outcome": "released"}),
        ),
        ("port.expired", of("lost", "expired")),
        ("port.expired", of("of-second", "expired")),
        ("port.released", of("of-third", "released")),
        ("port.revoked", of("of-first", "superseded")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_is_told() {
    // Another program has one of the ports.
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let taken = listener.local_addr().unwrap().port();
    let ports = format!("{taken},20000-29999");
    let registry = Registry::start(&["--host", "here", "--ports", &ports, "--retention", "5"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    let story = Story { caller, requester };
    let given_back = story.lease(taken).await;
    story.announce().await;
    let lift = json!({"port": taken, "reason": "it is gone"});
    story.caller.get("admin.port.unquarantine", lift).await;
    let pool = json!({"host": "gone", "ranges": [{"first": 1, "last": 9}]});
    story.caller.get("pool.set", pool).await;
    let pool = json!({"host": "there", "ranges": [{"first": 20_000, "last": 29_999}]});
    story.caller.get("pool.set", pool).await;
    let default = json!({"host": "there"});
    story.caller.get("pool.delete", default).await;
    let forget = json!({"host": "gone", "reason": "it is gone"});
    story.caller.get("admin.host.forget", forget).await;
    story.call(registry.url()).await;
    let all = of_nodes(requester)
        .into_iter()
        .chain(of_ports(taken, &given_back))
        .chain(of_calls());
    let mut kinds = BTreeSet::new();
    for (kind, members) in all {
        let event = story.told(kind, members).await;
        let at = format!("onex.registry.v1.event.{kind}.");
        assert!(event.subject.starts_with(&at), "{}", event.subject);
        kinds.insert(kind);
    }
    // Nobody can bring these about on the wire.
    kinds.extend([EventKind::PortRebound, EventKind::Gap].map(EventKind::as_str));
    let all: BTreeSet<&str> = EventKind::PUBLISHED
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    assert_eq!(kinds, all);
    forgotten(&story.caller).await;
}

/// What has ended is removed after its retention.
async fn forgotten(caller: &Caller) {
    let log = Log::of(caller).await;
    // `first` lives, and so does what was said of it.
    for key in [
        "node.fourth",
        "live.fourth",
        "trust.fourth",
        "bus.bus-of-third",
        "node.third",
        "node.fifth",
    ] {
        until(&format!("{key} to be removed"), async || {
            let commands = log.about(key, 0).await;
            let last = commands.last()?;
            last.changes().contains(&("del", key)).then_some(())
        })
        .await;
    }
    let page = caller.see("node.list", json!({})).await;
    let items = page["items"].as_array().unwrap();
    let ids: Vec<&Value> = items.iter().map(|node| &node["node_id"]).collect();
    assert_eq!(ids, ["first", "second", "story"]);
    assert_eq!(page["items"][0]["trust_score"], 0.0);
}
