//! Hosts: which names mean the same machine, what is said of one that nobody has named, and what a name gets again where.

use std::collections::BTreeSet;

use crate::harness::{Caller, Registry, User, node, until};
use onex_registry::{Client, Node, protocol::names::Namespace};
use serde_json::{Value, json};
use uuid::Uuid;

/// Whatever every machine calls itself.
const LOOPBACK: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "127.0.0.2",
    "0.0.0.0",
    "::1",
    "::",
    "app.localhost",
];

fn own_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().unwrap().to_ascii_lowercase()
}

/// The address from which this machine would reach others, where it has a way to.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip().to_string())
}

async fn hosts(caller: &Caller) -> BTreeSet<String> {
    let pools = caller.see("pool.list", json!({})).await;
    let items = pools["items"].as_array().unwrap().iter();
    items
        .map(|pool| pool["host"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_this_machine_share_one_pool() {
    // The ports are really tried: a range of their own.
    let registry = Registry::start(&["--host", "here", "--ports", "18900-18949"]);
    let caller = Caller::of(&registry).await;
    let mut names: Vec<String> = LOOPBACK.map(str::to_owned).to_vec();
    names.extend([own_name(), "here".to_owned()]);
    names.extend(own_address());
    let requester = Uuid::new_v4();
    let mut granted = BTreeSet::new();
    for name in &names {
        let lease = caller.lease(requester, json!({"host": name})).await;
        assert_eq!(lease["host"], "here", "{name}");
        assert_eq!(lease["availability"], "verified", "{name}");
        assert_eq!(lease.get("warnings"), None, "{name}: {lease:#}");
        assert!(granted.insert(lease["port"].as_u64().unwrap()), "{name}");
        let exact = json!({"requester_id": Uuid::new_v4(), "protocol": "http", "host": name,
            "preferred_port": lease["port"], "exact": true});
        let refused = caller.ask("port.lease", exact).await.unwrap_err();
        assert_eq!(refused.error["details"]["state"], "held", "{name}");
    }
    assert_eq!(hosts(&caller).await, BTreeSet::from(["here".to_owned()]));
    // And in everything that is looked for by host.
    for name in &names {
        let leases = caller.see("port.list", json!({"host": name})).await;
        assert_eq!(leases["items"].as_array().unwrap().len(), granted.len());
        let pools = caller.get("pool.list", json!({"host": name})).await;
        assert_eq!(pools["items"].as_array().unwrap().len(), 2, "{name}");
    }
    let named = json!({"host": "127.0.0.1", "name": "api"});
    let lease = caller.lease(requester, named).await;
    let resolve = json!({"name": "api", "host": "localhost"});
    let found = caller.see("port.resolve", resolve).await;
    assert_eq!(found["items"][0]["lease_id"], lease["lease_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_this_machine_has_its_name() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    caller
        .get(
            "node.register",
            node(requester, "calc", json!({"host": "127.0.0.1"})),
        )
        .await;
    let nodes = caller.see("node.list", json!({"host": "localhost"})).await;
    assert_eq!(nodes["items"][0]["host"], "here", "{nodes:#}");
    let lease = caller
        .get(
            "port.lease",
            json!({"requester_id": requester, "protocol": "http", "node_id": "calc"}),
        )
        .await;
    assert_eq!(lease["host"], "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_machines_network_only_loopback_names_mean_it() {
    let registry = Registry::start(&["--host", "build-7", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    for name in LOOPBACK {
        let lease = caller.lease(requester, json!({"host": name})).await;
        assert_eq!(lease["host"], "build-7", "{name}");
    }
    let lease = caller.lease(requester, json!({"host": own_name()})).await;
    assert_eq!(lease["host"], own_name());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_node_does_not_call_its_machine_localhost() {
    let registry = Registry::start(&["--host", "elsewhere", "--no-probe"]);
    let nats = async_nats::connect(registry.url()).await.unwrap();
    let client = Client::new(nats, Namespace::default());
    let builder = Node::builder("calc").version("1.0.0").host("localhost");
    let node = builder.port("http", "http").start(&client).await.unwrap();
    node.online().await.unwrap();
    let caller = Caller::of(&registry).await;
    let described = caller.describe("calc", &[]).await;
    assert_eq!(described["node"]["host"], own_name());
    let leases = caller.see("port.list", json!({"node_id": "calc"})).await;
    assert_eq!(leases["items"][0]["host"], own_name(), "{leases:#}");
    node.deregister().await.unwrap();
}

fn warnings(lease: &Value) -> Vec<(&str, &str)> {
    let list = lease["warnings"].as_array().into_iter().flatten();
    list.map(|warning| {
        (
            warning["code"].as_str().unwrap(),
            warning["message"].as_str().unwrap(),
        )
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_lease_on_a_host_that_nobody_named_warns() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    let first = caller.lease(requester, json!({"host": "bulid-7"})).await;
    let [("HOST_UNKNOWN", message)] = warnings(&first)[..] else {
        panic!("{first:#}");
    };
    assert!(
        message.contains("\"bulid-7\"") && message.contains("\"here\""),
        "{message}"
    );
    let again = caller.lease(requester, json!({"host": "bulid-7"})).await;
    assert_eq!(warnings(&again), []);
    // However soon the next one follows.
    for number in 0..20 {
        let host = format!("new-{number}");
        let first = caller.lease(requester, json!({"host": host})).await;
        let again = caller.lease(requester, json!({"host": host})).await;
        let told = [first, again].map(|lease| warnings(&lease).len());
        assert_eq!(told, [1, 0], "{host}");
    }
    // A node has named this one.
    caller
        .get(
            "node.register",
            node(requester, "calc", json!({"host": "build-8"})),
        )
        .await;
    let lease = caller.lease(requester, json!({"host": "build-8"})).await;
    assert_eq!(warnings(&lease), []);
    let lease = caller.lease(requester, json!({})).await;
    assert_eq!(warnings(&lease), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_an_instance_runs_on_is_known() {
    let one = Registry::start(&["--host", "one", "--no-probe"]);
    let caller = Caller::of(&one).await;
    let mut two = Registry::spawn(&["--nats", one.url(), "--host", "two", "--no-probe"]);
    two.await_ready();
    until("both to have heard of each other", async || {
        // Which of the two answers is by chance: so often in a row it is not the same one.
        for _ in 0..32 {
            let seen = caller.get("describe", json!({})).await;
            if seen["instances"].as_array().unwrap().len() < 2 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let lease = caller.lease(Uuid::new_v4(), json!({"host": "two"})).await;
    assert_eq!(warnings(&lease), []);
}

#[test]
fn a_lease_from_the_command_line_is_for_the_callers_machine() {
    let registry = Registry::start(&["--host", "elsewhere", "--no-probe"]);
    let user = User::of(&registry);
    let lease = user.run("port lease --name api").exits(0);
    assert!(
        lease.stdout.contains(&format!(" {} ", own_name())),
        "{}",
        lease.stdout
    );
    let warned = format!("onex: warning: host {:?} is new", own_name());
    assert!(lease.stderr.contains(&warned), "{}", lease.stderr);
    for line in [
        "port lease",
        "port lease --host localhost",
        "port lease --host ::1",
    ] {
        let lease = user.run(&format!("{line} -o json")).json();
        assert_eq!(lease["host"], own_name(), "{line}");
    }
    // The name may be said once for all commands; what means every machine is no name.
    let named = User::of(&registry).with("ONEX_HOST", "build-7");
    for line in ["port lease", "port lease --host localhost"] {
        let lease = named.run(&format!("{line} -o json")).json();
        assert_eq!(lease["host"], "build-7", "{line}");
    }
    for variable in ["", "localhost"] {
        let unnamed = User::of(&registry).with("ONEX_HOST", variable);
        let lease = unnamed.run("port lease -o json").json();
        assert_eq!(lease["host"], own_name(), "{variable:?}");
    }
    let misnamed = User::of(&registry).with("ONEX_HOST", "Build 7");
    let refused = misnamed.run("port lease").exits(2).stderr;
    assert!(refused.contains("ONEX_HOST"), "{refused}");
}

#[test]
fn a_registry_does_not_call_its_machine_localhost() {
    let user = User::new();
    for name in ["localhost", "127.0.0.1", "0.0.0.0"] {
        let refused = user.run(&format!("serve --host {name}")).exits(2).stderr;
        assert!(
            refused.contains("--host") && refused.contains(name),
            "{refused}"
        );
    }
    let user = User::new().with("ONEX_HOST", "localhost");
    let refused = user.run("serve").exits(2).stderr;
    assert!(refused.contains("ONEX_HOST"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_gets_its_port_again_on_each_host_and_transport() {
    let registry = Registry::start(&["--host", "here", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    let take = async |place: Value| {
        let mut lease_request = place.clone();
        lease_request["name"] = json!("w2");
        let lease = caller.lease(requester, lease_request).await;
        let release = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
        caller.get("port.release", release).await;
        lease["port"].clone()
    };
    let places = [
        json!({}),
        json!({"host": "there"}),
        json!({"transport": "udp"}),
        json!({"host": "there", "transport": "udp"}),
    ];
    let mut first = Vec::new();
    for place in &places {
        first.push(take(place.clone()).await);
    }
    for (place, port) in places.iter().zip(first) {
        assert_eq!(take(place.clone()).await, port, "{place}");
    }
}
