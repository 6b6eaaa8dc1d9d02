//! A node that is kept alive by the Rust client: what the registry knows of it, and how its lives begin and end.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use onex_registry::{
    client::{BootTime, Client, Error, Life, Loss, Node, NodeBuilder, OnLoss},
    ids::{Port, RequesterId},
    protocol::{
        admin::EvictRequest,
        bus::BusListRequest,
        endpoint::Endpoint,
        error::ErrorCode,
        names::Namespace,
        node::NodeType,
        node_life::{DeregisterRequest, NodeEnd},
        node_view::{Liveness, NodeItem, NodeListRequest},
        port::{LeaseRequest, ListRequest},
        tool::{Tool, ToolDescribeRequest},
        warning::WarningCode,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::scripted::{Scripted, lease_of};
use crate::harness::{Caller, Events, Nats, PATIENCE, Proxy, Registry, until};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ARGS: [&str; 5] = ["--host", "here", "--ports", "20000-29999", "--no-probe"];

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema")]
struct Add {
    /// What to add up.
    terms: Vec<f64>,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    sum: f64,
}

async fn client(url: &str) -> Client {
    Client::new(
        async_nats::connect(url).await.unwrap(),
        Namespace::default(),
    )
}

fn calc() -> NodeBuilder {
    Node::builder("calc").version("1.2.0").host("here")
}

async fn listed(client: &Client, id: &str) -> Option<NodeItem> {
    let all = client.all(&NodeListRequest::default()).await.ok()?;
    all.items
        .into_iter()
        .find(|node| node.node_id.as_str() == id)
}

async fn online(node: &Node) -> Life {
    timeout(PATIENCE, node.online()).await.unwrap().unwrap()
}

async fn over(life: &Life) -> Loss {
    timeout(PATIENCE, life.over()).await.unwrap()
}

/// Whether somebody else gets exactly that port.
async fn is_free(client: &Client, port: Port) -> bool {
    let lease_request = LeaseRequest {
        preferred_port: Some(port),
        exact: Some(true),
        host: Some("here".parse().unwrap()),
        ..LeaseRequest::new(RequesterId(Uuid::new_v4()), "http".parse().unwrap())
    };
    client.lease(&lease_request).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_what_its_builder_said() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let node = calc()
        .node_type(NodeType::Adapter)
        .description("Calculates.")
        .tag("maths")
        .port("http", "http")
        .port_like("data", "udp-thing", |lease_request| {
            lease_request.preferred_port = Port::new(23_456);
        })
        .fixed_port("metrics", "http", 9_100)
        .bus("elsewhere", "redis", "redis://me:secret@elsewhere:6379")
        .bus_on("own", "nats", "data", |lease| {
            format!("nats://{}:{}", lease.host, lease.port)
        })
        .tool(Tool {
            idempotent: true,
            ..Tool::of::<Add, Sum>("add", "1.0.0").unwrap()
        })
        .capabilities(json!({"decimals": 17}))
        .announce(|request| request.owned_by_agent = Some("abacus".parse().unwrap()))
        .start(&client)
        .await
        .unwrap();
    let life = online(&node).await;
    assert_eq!(life.epoch(), 1);
    // What the address of a bus lost is told, though the registry never saw it.
    let [warning] = life.warnings() else {
        panic!("{:?}", life.warnings());
    };
    assert_eq!(warning.code, WarningCode::UriStripped);
    assert!(
        warning
            .message
            .starts_with("bus elsewhere: /endpoint_uri: user information"),
        "{}",
        warning.message
    );
    assert_eq!(life.port("data"), Port::new(23_456));
    assert_eq!(life.port("other"), None);
    assert_eq!(
        node.tool_subject("add").unwrap(),
        "onex.node.v1.tool.add.calc"
    );
    assert_eq!(node.tool_subject("subtract"), None);

    // What nobody listens on is not said.
    let described = client.describe_node(node.id().clone(), None).await.unwrap();
    let described = serde_json::to_value(&described).unwrap();
    assert_eq!(described["ports"]["inbound"].as_array().unwrap().len(), 1);
    let listener = life.listen("http", HERE).await.unwrap();
    life.announce("data").await.unwrap();
    let described = client.describe_node(node.id().clone(), None).await.unwrap();
    let described = serde_json::to_value(&described).unwrap();
    let inbound = &described["ports"]["inbound"];
    let find = |name: &str| {
        let all = inbound.as_array().unwrap();
        all.iter().find(|port| port["name"] == name).unwrap()
    };
    let port = listener.local_addr().unwrap().port();
    assert_eq!(find("http")["port"], port);
    assert!(find("http")["lease_id"].is_string());
    assert_eq!(find("data")["protocol"], "udp-thing");
    assert_eq!(find("metrics")["port"], 9_100);
    assert_eq!(described["ports"]["leases"].as_array().unwrap().len(), 2);
    assert_eq!(described["node"]["node_type"], "adapter");
    assert_eq!(described["node"]["tags"], json!(["maths"]));
    assert_eq!(described["node"]["host"], "here");
    assert_eq!(described["node"]["capabilities"], json!({"decimals": 17}));
    assert_eq!(described["node"]["owned_by_agent"], "abacus");
    let found: onex_registry::protocol::port::ResolveRequest =
        serde_json::from_value(json!({"name": "calc.http"})).unwrap();
    assert_eq!(
        client.resolve(&found).await.unwrap().items[0].port.number(),
        port
    );
    let buses = client.all(&BusListRequest::default()).await.unwrap().items;
    let uris: Vec<_> = buses.iter().map(|bus| bus.endpoint_uri.as_str()).collect();
    assert_eq!(uris, ["redis://elsewhere:6379", "nats://here:23456"]);
    assert!(buses.iter().all(|bus| bus.active));
    let asked: ToolDescribeRequest = serde_json::from_value(json!({"name": "add"})).unwrap();
    let add = serde_json::to_value(client.describe_tool(&asked).await.unwrap()).unwrap();
    let input = &add["contract"]["input_schema"];
    assert_eq!(
        input["properties"]["terms"]["description"],
        "What to add up."
    );
    assert_eq!(input["required"], json!(["terms"]));
    assert_eq!(add["contract"]["output_schema"]["required"], json!(["sum"]));
    assert_eq!(add["contract"]["idempotent"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_kept_past_its_ttl_and_leaves_nothing_behind() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let beats = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&beats);
    let node = calc()
        .ttl(2)
        .port("http", "http")
        .health(move || json!({"beats": counted.fetch_add(1, Ordering::Relaxed)}));
    let node = node.start(&client).await.unwrap();
    let life = online(&node).await;
    let listener = life.listen("http", HERE).await.unwrap();
    let port = life.port("http").unwrap();
    assert_eq!(listener.local_addr().unwrap().port(), port.number());

    // Real time has to pass: several times the TTL.
    let end = BootTime::now() + Duration::from_secs(7);
    while BootTime::now() < end {
        let node = listed(&client, "calc").await.unwrap();
        assert_eq!(node.liveness.known(), Some(&Liveness::Online));
        assert!(!life.remaining().is_zero() && life.remaining() <= Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(beats.load(Ordering::Relaxed) >= 3);
    let described = client.describe_node(node.id().clone(), None).await.unwrap();
    let described = serde_json::to_value(&described).unwrap();
    assert!(described["node"]["health"]["beats"].is_u64());

    drop(listener);
    let left = node.deregister().await.unwrap();
    assert_eq!(left.status, NodeEnd::Deregistered);
    assert!(matches!(over(&life).await, Loss::Released));
    assert!(life.remaining().is_zero());
    until("its ports to be free", async || {
        is_free(&client, port).await.then_some(())
    })
    .await;
    let mine = ListRequest {
        node_id: Some("calc".parse().unwrap()),
        ..ListRequest::default()
    };
    assert!(client.list(&mine).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_its_field() {
    let registry = Registry::start(&["--ports", "21000-21000", "--no-probe", "--host", "here"]);
    let client = client(registry.url()).await;
    let refused = async |builder: NodeBuilder, code: ErrorCode, pointer: &str| {
        let error = builder.start(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error:?}");
        assert!(error.to_string().contains(pointer), "{error}");
    };
    let invalid = ErrorCode::InvalidRequest;
    refused(Node::builder("a b").version("1.0.0"), invalid, "/node_id").await;
    refused(Node::builder("calc"), invalid, "/version").await;
    refused(calc().version("one"), invalid, "/version").await;
    refused(calc().ttl(0), invalid, "/ttl").await;
    refused(calc().host("Not A Host"), invalid, "/host").await;
    refused(calc().tag("a b"), invalid, "/tags").await;
    refused(
        calc().port("http", "a b"),
        invalid,
        "/inbound_ports/protocol",
    )
    .await;
    refused(
        calc().fixed_port("http", "http", 0),
        invalid,
        "/inbound_ports/port",
    )
    .await;
    refused(
        calc().bus_on("b", "nats", "none", |_| String::new()),
        invalid,
        "none is not a port",
    )
    .await;
    // By the registry: nothing of it stays.
    let tool = Tool::of::<f64, Sum>("add", "1.0.0").unwrap();
    refused(calc().tool(tool), invalid, "/tools/0/input_schema").await;
    let unfit = |lease_request: &mut LeaseRequest| {
        lease_request.preferred_port = Port::new(9);
        lease_request.exact = Some(true);
    };
    refused(
        calc().port_like("http", "http", unfit),
        ErrorCode::PortUnavailable,
        "",
    )
    .await;
    let node = listed(&client, "calc").await.unwrap();
    assert_eq!(node.ended, Some(NodeEnd::Deregistered));
}

/// The node is cut off for longer than its TTL, while the registry and everybody else go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_begins_a_new_life() {
    let registry = Registry::start(&ARGS);
    let wire = Proxy::to(registry.url()).await;
    let cut_off = client(&wire.url()).await;
    let other = client(registry.url()).await;
    let node = calc().ttl(2).port("http", "http");
    let node = node.start(&cut_off).await.unwrap();
    let life = online(&node).await;
    let port = life.port("http").unwrap();
    let told = tokio::spawn({
        let over = life.over();
        async move { (over.await, BootTime::now()) }
    });
    wire.cut();
    until("its port to be someone else's", async || {
        is_free(&other, port).await.then_some(())
    })
    .await;
    let granted = BootTime::now();
    assert!(told.is_finished(), "someone else has the port");
    let (why, told) = told.await.unwrap();
    assert!(matches!(why, Loss::Expired(_)), "{why:?}");
    assert!(told < granted && life.remaining().is_zero());
    let next = tokio::spawn(async move { (node.online().await.unwrap(), node) });
    let ended = listed(&other, "calc").await.unwrap();
    assert_eq!(ended.ended, Some(NodeEnd::Expired));
    assert!(!next.is_finished());
    wire.mend();
    let (next, _node) = timeout(PATIENCE, next).await.unwrap().unwrap();
    assert_eq!(next.epoch(), life.epoch() + 1);
    assert_ne!(next.port("http"), Some(port));
    assert!(!next.remaining().is_zero());
    // The old one stays over.
    assert!(life.remaining().is_zero());
    assert!(matches!(over(&life).await, Loss::Expired(_)));
}

/// It is cut off for a while: told to stop before its time is up, and the same life goes on when that passes.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_is_about_to_end_is_told_so_and_may_go_on() {
    let grace = Duration::from_secs(5);
    let registry = Registry::start(&ARGS);
    let wire = Proxy::to(registry.url()).await;
    let client = client(&wire.url()).await;
    let node = calc().ttl(10).grace(grace).port("http", "http");
    let node = node.start(&client).await.unwrap();
    let life = online(&node).await;
    let listener = life.listen("http", HERE).await.unwrap();
    wire.cut();
    let ending = timeout(PATIENCE, life.ending()).await.unwrap();
    assert!(matches!(ending.why, Loss::Expired(_)), "{ending:?}");
    let left = ending.deadline.since(BootTime::now());
    assert!(left > grace / 2 && left <= grace, "{left:?}");
    assert!(!life.remaining().is_zero());
    drop(listener);
    // It is not to begin anew before it is known whether this life goes on.
    let next = tokio::spawn(async move { (node.online().await.unwrap(), node) });
    until("the port to be free", async || {
        let port = life.port("http").unwrap().number();
        std::net::TcpListener::bind((HERE, port)).ok()
    })
    .await;
    assert!(!next.is_finished());
    wire.mend();
    let (next, node) = timeout(PATIENCE, next).await.unwrap().unwrap();
    assert_eq!(next.epoch(), life.epoch());
    next.listen("http", HERE).await.unwrap();
    node.deregister().await.unwrap();
    // Known from then on to whoever asks.
    assert!(matches!(life.ending().await.why, Loss::Released));
}

/// NATS server and registry are away for longer than the TTL. Then the registry counts anew: nothing has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_only_the_node_thought_over_goes_on_with_its_ports() {
    let mut nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let client = client(&nats.url()).await;
    let node = calc().ttl(2).port("http", "http");
    let node = node.start(&client).await.unwrap();
    let life = online(&node).await;
    let listener = life.listen("http", HERE).await.unwrap();
    registry.kill();
    nats.kill();
    assert!(matches!(over(&life).await, Loss::Expired(_)));
    drop(listener);
    nats.start_again();
    let _registry = Registry::on(&nats, &ARGS);
    let next = online(&node).await;
    // Unless the reconnect took longer than the registry waited once more.
    if next.epoch() == life.epoch() {
        assert_eq!(next.port("http"), life.port("http"));
        assert!(life.remaining().is_zero(), "what is over stays over");
    }
    let listener = next.listen("http", HERE).await.unwrap();
    assert_eq!(
        next.port("http").unwrap().number(),
        listener.local_addr().unwrap().port()
    );
    let seen = listed(&client, "calc").await.unwrap();
    assert_eq!(seen.liveness.known(), Some(&Liveness::Online));
    assert_eq!(seen.epoch, next.epoch());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_copies_the_later_one_stays_unless_the_first_is_told_to_come_back() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let first = calc().ttl(2).port("http", "http");
    let first = first.start(&client).await.unwrap();
    let life = online(&first).await;
    let second = calc().ttl(2).port("http", "http");
    let second = second.start(&client).await.unwrap();
    let theirs = online(&second).await;
    assert_ne!(life.port("http"), theirs.port("http"));
    match over(&life).await {
        Loss::Refused(error) => assert_eq!(error.code(), Some(ErrorCode::Superseded)),
        other => panic!("{other:?}"),
    }
    let ended = timeout(PATIENCE, first.online())
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(ended, Loss::Refused(_)), "{ended:?}");
    let error = life.listen("http", HERE).await.unwrap_err();
    assert!(matches!(error, Error::Over(Loss::Refused(_))), "{error:?}");
    first.deregister().await.unwrap_err();
    let seen = listed(&client, "calc").await.unwrap();
    assert_eq!((seen.epoch, seen.ended), (theirs.epoch(), None));

    // Another program's: it is refused for as long as the node lives.
    let other = calc().requester_id(RequesterId(Uuid::new_v4()));
    let error = other.start(&client).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotHolder));

    let third = calc().ttl(2).on_superseded(OnLoss::Rejoin);
    let third = third.start(&client).await.unwrap();
    over(&theirs).await;
    let fourth = calc().ttl(60).start(&client).await.unwrap();
    let fourth_life = online(&fourth).await;
    over(&fourth_life).await;
    assert!(online(&third).await.epoch() > fourth_life.epoch());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_evicted_is_over_and_does_not_come_back() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let node = calc()
        .ttl(2)
        .port("http", "http")
        .start(&client)
        .await
        .unwrap();
    let life = online(&node).await;
    let request = EvictRequest {
        node_id: node.id().clone(),
        epoch: Some(life.epoch()),
        reason: "it hangs".parse().unwrap(),
        request_id: None,
        min_revision: None,
    };
    let evicted = client.evict_node(&request).await.unwrap();
    assert_eq!(evicted.status, NodeEnd::Evicted);
    match over(&life).await {
        Loss::Refused(error) => {
            assert_eq!(error.code(), Some(ErrorCode::Superseded));
            assert!(error.to_string().contains("it hangs"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let ended = timeout(PATIENCE, node.online()).await.unwrap();
    assert!(matches!(ended, Err(Loss::Refused(_))), "{ended:?}");
    let seen = listed(&client, "calc").await.unwrap();
    assert_eq!(
        (seen.epoch, seen.ended),
        (life.epoch(), Some(NodeEnd::Evicted))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_stays_gone() {
    let mut registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let node = calc().ttl(1).on_expired(OnLoss::Stop);
    let node = node.start(&client).await.unwrap();
    let life = online(&node).await;
    registry.kill();
    assert!(matches!(over(&life).await, Loss::Expired(_)));
    let ended = timeout(PATIENCE, node.online()).await.unwrap();
    assert!(matches!(ended, Err(Loss::Expired(_))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_node_takes_leave_and_one_without_a_registry_waits_for_it() {
    let nats = Nats::start();
    let client = client(&nats.url()).await;
    let starting = tokio::spawn({
        let client = client.clone();
        async move { calc().ttl(3_600).start(&client).await }
    });
    let _registry = Registry::on(&nats, &ARGS);
    let node = timeout(PATIENCE, starting).await.unwrap().unwrap().unwrap();
    let life = online(&node).await;
    drop(node);
    assert!(matches!(over(&life).await, Loss::Released));
    until("the node to be gone", async || {
        let ended = listed(&client, "calc").await?.ended?;
        assert_eq!(ended, NodeEnd::Deregistered);
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_that_is_too_large_does_not_end_a_node() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let node = calc().ttl(2).health(|| Value::from("x".repeat(4_097)));
    let node = node.start(&client).await.unwrap();
    let life = online(&node).await;
    let first = life.valid_until();
    until("a heartbeat", async || {
        // Real time has to pass before the first one.
        (life.valid_until() > first).then_some(())
    })
    .await;
    assert!(!life.remaining().is_zero());
}

/// What the registry says of the node's ports: the number of each on which it listens, by its name.
async fn listens(client: &Client, node: &Node) -> Vec<(String, u64)> {
    let described = client.describe_node(node.id().clone(), None).await.unwrap();
    let described = serde_json::to_value(&described).unwrap();
    let inbound = described["ports"]["inbound"].as_array().unwrap().iter();
    let name_and_port = inbound.map(|port| {
        let name = port["name"].as_str().unwrap().to_owned();
        (name, port["port"].as_u64().unwrap())
    });
    name_and_port.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_another_port_for_one_that_cannot_be_used() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let client = client(&nats.url()).await;
    let node = calc()
        .ttl(6)
        .port("http", "http")
        .port_like("only", "http", |lease_request| {
            lease_request.preferred_port = Port::new(23_456);
            lease_request.exact = Some(true);
        })
        .bus_on("own", "nats", "http", |lease| {
            format!("nats://{}:{}", lease.host, lease.port)
        });
    let node = node.start(&client).await.unwrap();
    let life = online(&node).await;
    let same = online(&node).await;
    life.announce("only").await.unwrap();
    // What nobody listens on yet is not said.
    let first = life.port("http").unwrap();
    let unsaid = life.rebind("http").await.unwrap();
    assert_ne!(unsaid, first);
    assert_eq!(life.port("http"), Some(unsaid));
    let only = [("only".to_owned(), 23_456)];
    assert_eq!(listens(&client, &node).await, only);

    drop(life.listen("http", HERE).await.unwrap());
    let new = life.rebind("http").await.unwrap();
    assert!(![first, unsaid].contains(&new));
    let own = ("http".to_owned(), u64::from(new.number()));
    let [only] = only;
    let both = [own, only];
    assert_eq!(listens(&client, &node).await, both);
    let uri = format!("nats://here:{new}");
    let bus = async || {
        let mut buses = client.all(&BusListRequest::default()).await.unwrap().items;
        buses.pop().unwrap().endpoint_uri.as_str().to_owned()
    };
    assert_eq!(bus().await, uri);
    // Whoever has the life sees it.
    assert_eq!(same.port("http"), Some(new));
    let leased = same.ports().remove(0).1;
    assert_eq!((leased.port, &leased.ports[..]), (new, &[new][..]));
    assert_eq!(life.port("only"), Port::new(23_456));

    // What is registered again, at another instance, has it.
    registry.kill();
    let _registry = Registry::on(&nats, &ARGS);
    drop(
        timeout(PATIENCE, life.listen("http", HERE))
            .await
            .unwrap()
            .unwrap(),
    );
    assert_eq!(listens(&client, &node).await, both);
    assert_eq!(bus().await, uri);

    for (name, says) in [
        ("only", "23456 is the only one"),
        ("none", "is not a leased port"),
    ] {
        let error = life.rebind(name).await.unwrap_err();
        assert!(matches!(error, Error::Unfit(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }

    // And so has the next life.
    let leave = DeregisterRequest {
        node_id: node.id().clone(),
        requester_id: life.ports().remove(0).1.requester_id,
        epoch: life.epoch(),
        request_id: None,
        min_revision: None,
    };
    client.deregister_node(&leave).await.unwrap();
    over(&life).await;
    let error = life.rebind("http").await.unwrap_err();
    assert!(matches!(error, Error::Over(_)), "{error:?}");
    let next = online(&node).await;
    assert_ne!(next.epoch(), life.epoch());
    assert_eq!(next.port("http"), Some(new));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_rebind_whose_answer_was_lost_is_not_done_twice() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::of(&registry).await;
    let wire = Proxy::to(&nats.url()).await;
    let cut_off = client(&wire.url())
        .await
        .with_timeout(Duration::from_secs(2));
    let other = client(&nats.url()).await;
    let node = calc().port("http", "http").start(&cut_off).await.unwrap();
    let life = online(&node).await;
    let old = life.port("http").unwrap();
    registry.pause();
    wire.hold_after("port.rebind");
    let rebinding = tokio::spawn(async move { (life.rebind("http").await, life) });
    wire.held().await;
    wire.cut();
    registry.resume();
    let mine = ListRequest {
        node_id: Some("calc".parse().unwrap()),
        ..ListRequest::default()
    };
    let new = until("the node to have another port", async || {
        let lease = other.list(&mine).await.ok()?.items.pop()?;
        (lease.port != old).then_some(lease.port)
    })
    .await;
    wire.mend();
    let (rebound, life) = timeout(PATIENCE, rebinding).await.unwrap().unwrap();
    assert_eq!(rebound.unwrap(), new);
    assert_eq!(life.port("http"), Some(new));
    let events = Events::published(&caller).await;
    assert_eq!(events.of_kind("port.rebound").len(), 1);
}

/// Whoever listens next finds out what came of it, also where the program did not wait for the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_listens_on_the_port_that_a_lost_answer_named() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::of(&registry).await;
    let wire = Proxy::to(&nats.url()).await;
    let cut_off = client(&wire.url())
        .await
        .with_timeout(Duration::from_secs(2));
    let other = client(&nats.url()).await;
    let node = calc().port("http", "http").start(&cut_off).await.unwrap();
    let life = online(&node).await;
    let old = life.port("http").unwrap();
    life.announce("http").await.unwrap();
    registry.pause();
    wire.hold_after("port.rebind");
    let rebinding = tokio::spawn(async move {
        tokio::select! {
            _ = life.rebind("http") => {}
            () = wire.held() => {}
        }
        (life, wire)
    });
    let (life, wire) = timeout(PATIENCE, rebinding).await.unwrap().unwrap();
    wire.cut();
    registry.resume();
    let mine = ListRequest {
        node_id: Some("calc".parse().unwrap()),
        ..ListRequest::default()
    };
    let new = until("the node to have another port", async || {
        let lease = other.list(&mine).await.ok()?.items.pop()?;
        (lease.port != old).then_some(lease.port)
    })
    .await;
    assert_eq!(life.port("http"), Some(old));
    wire.mend();
    let listener = timeout(PATIENCE, life.listen("http", HERE)).await.unwrap();
    let listener = listener.unwrap();
    assert_eq!(listener.local_addr().unwrap().port(), new.number());
    assert_eq!(life.port("http"), Some(new));
    let listens = listens(&other, &node).await;
    assert_eq!(listens, [("http".to_owned(), u64::from(new.number()))]);
    let events = Events::published(&caller).await;
    assert_eq!(events.of_kind("port.rebound").len(), 1);
}

/// A refusal of the same request says that it was not done: the port stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_its_port_where_a_lost_rebind_was_not_done() {
    let mut registry = Scripted::new(&[
        Endpoint::NodeRegister,
        Endpoint::PortLease,
        Endpoint::PortRebind,
    ])
    .await;
    let client = registry.client.clone();
    let starting = tokio::spawn(async move {
        let node = calc().ttl(600).port("http", "http");
        node.start(&client).await.unwrap()
    });
    let registered = json!({
        "node_id": "calc", "status": "accepted", "registry_id": Uuid::nil(), "trust_state": "untrusted", "ttl": 600,
        "epoch": 1, "expires_in_ms": 600_000, "heartbeat_after_ms": 200_000, "warnings": [], "revision": 1,
    });
    let (_, _, to) = registry.next().await;
    registry.answer(to, &registered).await;
    let (_, _, to) = registry.next().await;
    registry.answer(to, &lease_of(21_000, 600, 2)).await;
    let node = starting.await.unwrap();
    let life = online(&node).await;
    let asked = {
        let rebinding = life.rebind("http");
        tokio::select! {
            rebound = rebinding => panic!("{rebound:?}"),
            (asked, _, _) = registry.next() => asked,
        }
    };
    let announcing = tokio::spawn(async move {
        life.announce("http").await.unwrap();
        life
    });
    let (again, _, to) = registry.next().await;
    assert_eq!(again, asked);
    let code = "RESOURCE_EXHAUSTED";
    registry.refuse_for(to, code, Some(600_000)).await;
    let (announced, _, to) = registry.next().await;
    assert_eq!(announced["inbound_ports"][0]["port"], 21_000);
    registry.answer(to, &registered).await;
    let life = announcing.await.unwrap();
    // It is another request from now on.
    let rebinding = tokio::spawn(async move { life.rebind("http").await });
    let (next, _, to) = registry.next().await;
    assert_ne!(next["request_id"], asked["request_id"]);
    registry.answer(to, &lease_of(21_007, 600, 3)).await;
    assert_eq!(Port::new(21_007), Some(rebinding.await.unwrap().unwrap()));
}

/// The port that its builder prefers could not be used: nobody asks for it again.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_life_asks_for_the_port_that_the_one_before_was_rebound_to() {
    let mut registry = Scripted::new(&[
        Endpoint::NodeRegister,
        Endpoint::NodeHeartbeat,
        Endpoint::PortLease,
        Endpoint::PortRebind,
    ])
    .await;
    let client = registry.client.clone();
    let prefers =
        |lease_request: &mut LeaseRequest| lease_request.preferred_port = Port::new(21_000);
    let node = calc().ttl(3).port_like("http", "http", prefers);
    let starting = tokio::spawn(async move { node.start(&client).await.unwrap() });
    let registered = |epoch: u64| {
        json!({
            "node_id": "calc", "status": "accepted", "registry_id": Uuid::nil(), "trust_state": "untrusted", "ttl": 3,
            "epoch": epoch, "expires_in_ms": 3000, "heartbeat_after_ms": 1000, "warnings": [], "revision": epoch,
        })
    };
    let (_, _, to) = registry.next().await;
    registry.answer(to, &registered(1)).await;
    let (lease, _, to) = registry.next().await;
    assert_eq!(lease["preferred_port"], 21_000);
    registry.answer(to, &lease_of(21_000, 3, 2)).await;
    let node = starting.await.unwrap();
    let life = online(&node).await;
    let rebinding = tokio::spawn(async move { life.rebind("http").await.unwrap() });
    let (rebind, _, to) = registry.next().await;
    assert_eq!(rebind["port"], 21_000);
    registry.answer(to, &lease_of(21_007, 3, 3)).await;
    assert_eq!(Port::new(21_007), Some(rebinding.await.unwrap()));
    // Its life ends with a heartbeat: a third of the TTL has to pass.
    let (heartbeat, _, to) = registry.next().await;
    assert_eq!(heartbeat["epoch"], 1);
    registry.refuse(to, "NODE_NOT_FOUND").await;
    for epoch in [2, 3] {
        let (_, _, to) = registry.next().await;
        registry.answer(to, &registered(epoch)).await;
        let (lease, _, to) = registry.next().await;
        assert_eq!(lease["preferred_port"], 21_007, "life {epoch}");
        registry.answer(to, &lease_of(21_007, 3, 4 + epoch)).await;
        let (heartbeat, _, to) = registry.next().await;
        assert_eq!(heartbeat["epoch"], epoch);
        registry.refuse(to, "NODE_NOT_FOUND").await;
    }
}
