//! Every error that is an endpoint's own where nodes, tools, buses, schemas and trust are concerned, at each endpoint
//! that declares it. What all endpoints share is in `fields.rs`.

use crate::harness::{Caller, Registry, with};
use onex_registry::protocol::endpoint::NODE_BYTES_MAX;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const UNTRIED: [&str; 3] = ["--host", "here", "--no-probe"];

/// Someone with nodes.
struct Owner {
    caller: Caller,
    requester: Uuid,
}

async fn start(args: &[&str]) -> (Registry, Owner) {
    let registry = Registry::start(&[&UNTRIED, args].concat());
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    (registry, Owner { caller, requester })
}

impl Owner {
    /// Somebody else.
    fn other(&self) -> Self {
        Self {
            caller: self.caller.clone(),
            requester: Uuid::new_v4(),
        }
    }

    fn node(&self, node_id: &str, more: Value) -> Value {
        let body = json!({
            "node_id": node_id, "requester_id": self.requester, "version": "1.0.0", "node_type": "tool",
        });
        with(body, more)
    }

    async fn register(&self, node_id: &str, more: Value) -> Value {
        let body = self.node(node_id, more);
        self.caller.get("node.register", body).await
    }

    fn of_node(&self, node_id: &str, epoch: u64, more: Value) -> Value {
        let body = json!({"node_id": node_id, "requester_id": self.requester, "epoch": epoch});
        with(body, more)
    }

    fn bus(&self, bus_id: &str, more: Value) -> Value {
        let body = json!({
            "bus_id": bus_id, "protocol": "redis", "endpoint_uri": "redis://here", "requester_id": self.requester,
        });
        with(body, more)
    }

    fn lease(&self, more: Value) -> Value {
        with(
            json!({"requester_id": self.requester, "protocol": "http"}),
            more,
        )
    }

    fn report(&self, node_id: &str, validator_id: &str, more: Value) -> Value {
        let body = json!({
            "node_id": node_id, "validator_id": validator_id, "requester_id": self.requester, "outcome": "pass",
        });
        with(body, more)
    }

    /// Each of these is refused with that code, and `details` has these members.
    async fn refused(&self, code: ErrorCode, details: Value, requests: &[(&str, Value)]) {
        for (endpoint, body) in requests {
            let refused = self.caller.refused(endpoint, body.clone(), code).await;
            let (names, mut rest) = refused.names();
            // Of a lease it is said who holds it, and for how long.
            if names.iter().any(|(name, _)| *name == "lease_id") && code == ErrorCode::NotHolder {
                let members = rest.as_object_mut().unwrap();
                assert!(members.remove("requester_id").is_some());
                assert!(members.remove("expires_in_ms").is_some());
            }
            assert_eq!(rest, details, "{endpoint} {body}: {:#}", refused.error);
            let is_of_nothing =
                matches!(code, ErrorCode::LimitExceeded | ErrorCode::InvalidRequest);
            assert!(is_of_nothing || !names.is_empty(), "{endpoint} {body}");
            for (name, text) in names {
                let known = name == "port" || body.to_string().contains(&text);
                assert!(known, "{endpoint} {body}: {name} {text}");
            }
        }
    }
}

fn tool(name: &str) -> Value {
    json!({"name": name, "version": "1.0.0"})
}

/// A request to each endpoint by which a node acts.
fn acts(owner: &Owner, node_id: &str, epoch: u64) -> [(&'static str, Value); 5] {
    let of_node = |more| owner.of_node(node_id, epoch, more);
    [
        ("node.heartbeat", of_node(json!({}))),
        ("node.deregister", of_node(json!({}))),
        ("tool.register", of_node(json!({"tool": tool("x")}))),
        ("tool.deregister", of_node(json!({"name": "x"}))),
        (
            "port.lease",
            owner.lease(json!({"node_id": node_id, "epoch": epoch})),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let (_registry, mine) = start(&[]).await;
    mine.register("judge", json!({"node_type": "validator"}))
        .await;
    mine.register("idle", json!({})).await;
    let nowhere = json!({"node_id": "nowhere"});
    let requests = [
        ("port.lease", mine.lease(nowhere.clone())),
        ("bus.register", mine.bus("b", nowhere.clone())),
        ("trust.report", mine.report("nowhere", "judge", json!({}))),
        ("trust.get", nowhere.clone()),
        ("describe", nowhere),
    ];
    mine.refused(ErrorCode::NodeNotFound, json!({}), &requests)
        .await;
    mine.refused(
        ErrorCode::NodeNotFound,
        json!({}),
        &acts(&mine, "nowhere", 1),
    )
    .await;
    // Nor is an epoch that has not begun.
    mine.refused(ErrorCode::NodeNotFound, json!({}), &acts(&mine, "idle", 2))
        .await;
    let idle = |name: &str| mine.of_node("idle", 1, json!({"name": name}));
    let requests = [
        ("tool.deregister", idle("x")),
        ("tool.describe", json!({"name": "x"})),
    ];
    mine.refused(ErrorCode::ToolNotFound, json!({}), &requests)
        .await;
    let nowhere = json!({"bus_id": "nowhere", "requester_id": mine.requester});
    mine.refused(
        ErrorCode::BusNotFound,
        json!({}),
        &[("bus.deregister", nowhere)],
    )
    .await;
    let nothing = json!({"name": "nothing"});
    mine.refused(
        ErrorCode::SchemaNotFound,
        json!({}),
        &[("schema.get", nothing)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_is_over_is_superseded() {
    let (_registry, mine) = start(&[]).await;
    for _ in 0..2 {
        let reply = mine.register("n", json!({})).await;
        mine.caller
            .get(
                "node.heartbeat",
                mine.of_node("n", reply["epoch"].as_u64().unwrap(), json!({})),
            )
            .await;
    }
    let last = json!({"epoch": 2});
    let again = ("node.register", mine.node("n", json!({"epoch": 1})));
    mine.refused(ErrorCode::Superseded, last.clone(), &[again])
        .await;
    mine.refused(ErrorCode::Superseded, last.clone(), &acts(&mine, "n", 1))
        .await;
    // An ended one is over as well.
    mine.caller
        .get("node.deregister", mine.of_node("n", 2, json!({})))
        .await;
    let again = ("node.register", mine.node("n", json!({"epoch": 2})));
    mine.refused(ErrorCode::Superseded, last, &[again]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_someone_elses_is_left_alone() {
    let (_registry, mine) = start(&[]).await;
    let other = mine.other();
    mine.register("n", json!({"tools": [tool("x")]})).await;
    mine.caller
        .get("bus.register", mine.bus("b", json!({})))
        .await;
    let lease = mine.caller.lease(mine.requester, json!({})).await;
    let lease_id = json!({"lease_id": lease["lease_id"]});

    mine.refused(ErrorCode::NotHolder, json!({}), &acts(&other, "n", 1))
        .await;
    let of_bus = json!({"bus_id": "b", "requester_id": other.requester});
    let requests = [
        ("port.lease", other.lease(json!({"node_id": "n"}))),
        ("bus.register", other.bus("c", json!({"node_id": "n"}))),
        ("bus.register", other.bus("c", lease_id.clone())),
        ("bus.register", other.bus("b", json!({}))),
        ("bus.deregister", of_bus),
    ];
    mine.refused(ErrorCode::NotHolder, json!({}), &requests)
        .await;
    // A node that lives is taken over by a higher epoch only, and that is said.
    let requests = [
        ("node.register", other.node("n", json!({}))),
        ("node.register", other.node("n", json!({"epoch": 1}))),
    ];
    mine.refused(ErrorCode::NotHolder, json!({"epoch": 1}), &requests)
        .await;
    let inbound = inbound(&lease, &lease["port"]);
    let request = ("node.register", other.node("m", inbound));
    mine.refused(ErrorCode::NotHolder, at_lease_id(), &[request])
        .await;
    other.register("n", json!({"epoch": 2})).await;
}

/// Of a node that listens on a leased port, or says so.
fn inbound(lease: &Value, port: &Value) -> Value {
    json!({"inbound_ports": [{
        "name": "api", "port": port, "protocol": "http", "lease_id": lease["lease_id"],
    }]})
}

fn at_lease_id() -> Value {
    json!({"pointer": "/inbound_ports/0/lease_id"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_named_is_live_and_of_that_port() {
    let (_registry, mine) = start(&[]).await;
    let never = json!({"lease_id": Uuid::now_v7(), "port": 20_000});
    let lease = mine.caller.lease(mine.requester, json!({})).await;
    let port = lease["port"].as_u64().unwrap();
    let of_other = mine.node("n", inbound(&lease, &json!(port ^ 1)));
    mine.refused(
        ErrorCode::InvalidRequest,
        at_lease_id(),
        &[("node.register", of_other)],
    )
    .await;
    mine.register("n", inbound(&lease, &lease["port"])).await;

    let release = json!({"requester_id": mine.requester, "lease_id": lease["lease_id"]});
    mine.caller.get("port.release", release).await;
    for (lease, code) in [
        (&never, ErrorCode::LeaseNotFound),
        (&lease, ErrorCode::LeaseExpired),
    ] {
        let register = mine.node("n", inbound(lease, &lease["port"]));
        mine.refused(code, at_lease_id(), &[("node.register", register)])
            .await;
        let bus = mine.bus("b", json!({"lease_id": lease["lease_id"]}));
        mine.refused(code, json!({}), &[("bus.register", bus)])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_for_one_request() {
    let (_registry, mine) = start(&[]).await;
    mine.register("n", json!({"tools": [tool("x"), tool("y")]}))
        .await;
    mine.register("judge", json!({"node_type": "validator"}))
        .await;
    let named = |body: Value| with(body, json!({"request_id": Uuid::new_v4()}));
    let cases = [
        (
            "node.register",
            mine.node("m", json!({})),
            json!({"version": "1.0.1"}),
        ),
        (
            "tool.register",
            mine.of_node("n", 1, json!({"tool": tool("z")})),
            json!({"tool": tool("w")}),
        ),
        (
            "tool.deregister",
            mine.of_node("n", 1, json!({"name": "x"})),
            json!({"name": "y"}),
        ),
        (
            "bus.register",
            mine.bus("b", json!({})),
            json!({"inbound": false}),
        ),
        (
            "trust.report",
            mine.report("n", "judge", json!({})),
            json!({"outcome": "fail"}),
        ),
    ];
    for (endpoint, body, other) in cases {
        let body = named(body);
        mine.caller.get(endpoint, body.clone()).await;
        let mismatch = with(body.clone(), other);
        mine.refused(
            ErrorCode::IdempotencyMismatch,
            json!({}),
            &[(endpoint, mismatch)],
        )
        .await;
        // A retry is idempotent.
        mine.caller.get(endpoint, body).await;
    }
    let bus = named(mine.bus("c", json!({})));
    mine.caller.get("bus.register", bus.clone()).await;
    let end = json!({
        "bus_id": "c", "requester_id": mine.requester, "request_id": bus["request_id"],
    });
    mine.refused(
        ErrorCode::IdempotencyMismatch,
        json!({}),
        &[("bus.deregister", end)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_contract_stays_and_only_validators_judge() {
    let (_registry, mine) = start(&[]).await;
    mine.register("n", json!({"tools": [tool("x")]})).await;
    mine.register("judge", json!({"node_type": "validator"}))
        .await;
    let frozen = mine.report("n", "judge", json!({"lifecycle": "frozen"}));
    mine.caller.get("trust.report", frozen).await;
    let of_node = |more| mine.of_node("n", 1, more);
    let requests = [
        ("node.register", mine.node("n", json!({"tools": []}))),
        ("tool.register", of_node(json!({"tool": tool("y")}))),
        ("tool.deregister", of_node(json!({"name": "x"}))),
    ];
    let why = |reason: &str| json!({"reason": reason});
    mine.refused(ErrorCode::Forbidden, why("frozen"), &requests)
        .await;
    // What is no part of the contract may change.
    mine.register("n", json!({"tools": [tool("x")], "description": "New."}))
        .await;
    let requests = [
        ("trust.report", mine.report("judge", "n", json!({}))),
        ("trust.report", mine.report("n", "nobody", json!({}))),
        ("trust.report", mine.other().report("n", "judge", json!({}))),
    ];
    mine.refused(ErrorCode::Forbidden, why("not_validator"), &requests)
        .await;
    let own = mine.report("judge", "judge", json!({}));
    mine.refused(
        ErrorCode::Forbidden,
        why("own_verdict"),
        &[("trust.report", own)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_on_nodes_and_buses_hold() {
    let (_registry, mine) = start(&["--nodes-max", "2", "--buses-max", "1"]).await;
    mine.register("a", json!({})).await;
    mine.register("b", json!({})).await;
    mine.caller
        .get("bus.register", mine.bus("a", json!({})))
        .await;
    let bound = |bound: &str, limit: usize| json!({"bound": bound, "limit": limit});
    let register = ("node.register", mine.node("c", json!({})));
    mine.refused(ErrorCode::LimitExceeded, bound("nodes", 2), &[register])
        .await;
    let register = ("bus.register", mine.bus("b", json!({})));
    mine.refused(ErrorCode::LimitExceeded, bound("buses", 1), &[register])
        .await;
    // What is known is not one more.
    mine.register("a", json!({})).await;
    mine.caller
        .get("bus.register", mine.bus("a", json!({"inbound": false})))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_on_one_node_hold() {
    let (_registry, mine) = start(&[]).await;
    let named = |n: usize| tool(&format!("t{n}"));
    let tools: Vec<Value> = (0..256).map(named).collect();
    mine.register("n", json!({"tools": tools})).await;
    let of_node = |more| mine.of_node("n", 1, more);
    let bound = |bound: &str, limit: usize| json!({"bound": bound, "limit": limit});
    let register = ("tool.register", of_node(json!({"tool": named(256)})));
    mine.refused(
        ErrorCode::LimitExceeded,
        bound("tools of one node", 256),
        &[register],
    )
    .await;
    // One in the place of another is not one more.
    let other = with(named(0), json!({"idempotent": true}));
    mine.caller
        .get("tool.register", of_node(json!({"tool": other})))
        .await;

    for n in 0..64 {
        let judge = format!("judge-{n}");
        mine.register(&judge, json!({"node_type": "validator"}))
            .await;
        mine.caller
            .get("trust.report", mine.report("n", &judge, json!({})))
            .await;
    }
    mine.register("judge", json!({"node_type": "validator"}))
        .await;
    let report = ("trust.report", mine.report("n", "judge", json!({})));
    mine.refused(
        ErrorCode::LimitExceeded,
        bound("validators of one contract", 64),
        &[report],
    )
    .await;
    mine.caller
        .get("trust.report", mine.report("n", "judge-0", json!({})))
        .await;
}

/// What `describe` could not show is not taken, in whichever way it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_grows_too_large_is_refused() {
    let (_registry, mine) = start(&[]).await;
    mine.register("n", json!({})).await;
    let large = |n: usize| {
        let schema = json!({"type": "object", "description": "x".repeat(60_000)});
        with(tool(&format!("t{n}")), json!({"input_schema": schema}))
    };
    let mut n = 0;
    let refused = loop {
        let body = mine.of_node("n", 1, json!({"tool": large(n)}));
        if let Err(refused) = mine.caller.ask("tool.register", body).await {
            break refused;
        }
        n += 1;
    };
    assert!(refused.is(ErrorCode::TooLarge), "{refused:?}");
    let limit = refused.detail("limit").as_u64().unwrap();
    assert_eq!(limit, NODE_BYTES_MAX as u64);
    assert_eq!(n as u64, limit / 60_000, "of {limit}");
    let node = mine.caller.see("describe", json!({"node_id": "n"})).await;
    assert_eq!(node["tools"].as_array().unwrap().len(), n);
}

/// Names as long as they may be: the subject of the tool is made of both, and still it is shown.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_longest_names_is_shown() {
    let (_registry, mine) = start(&[]).await;
    let node = format!("{}.{}", "n".repeat(63), "m".repeat(64));
    let name = "t".repeat(128);
    mine.register(&node, json!({"tools": [tool(&name)]})).await;
    let described = mine.caller.see("describe", json!({"node_id": node})).await;
    assert_eq!(described["tools"][0]["name"], name, "{described:#}");
    let described = mine
        .caller
        .see("tool.describe", json!({"name": name}))
        .await;
    assert_eq!(described["providers"][0]["node_id"], node);
}
