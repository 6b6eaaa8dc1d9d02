//! Who holds a port, and why: what holders say of themselves, and what is shown of it.

use std::net::{TcpListener, UdpSocket};

use crate::harness::{
    Caller, Events, Nats, Refused, Registry, View, free_port, lease_request, node, until, with,
};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Ports that nobody tries: what other programs of this machine do does not matter.
const UNTRIED: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20009"];

fn holder() -> Value {
    json!({"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_holder_says_of_itself_is_shown_wherever_the_lease_is() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let view = View::of(&caller).await;
    let me = Uuid::new_v4();
    let lease = json!({"name": "api", "holder": holder(), "preferred_port": 20_001, "exact": true});
    let mut request = lease_request(me, lease);
    request["request_id"] = json!(Uuid::new_v4());
    let lease = caller.get("port.lease", request.clone()).await;
    assert_eq!(lease["holder"], holder());
    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", mine.clone()).await;
    assert_eq!(renewed["holder"], holder());
    for (list, filter) in [
        ("port.list", json!({})),
        ("port.resolve", json!({"name": "api"})),
    ] {
        let page = caller.see(list, filter).await;
        assert_eq!(page["items"][0]["holder"], holder(), "{list}");
    }
    // A retry from another process is the same request, and changes nothing of what was said.
    request["holder"]["pid"] = json!(4_712);
    let again = caller.get("port.lease", request).await;
    assert_eq!(
        (&again["lease_id"], &again["holder"]),
        (&lease["lease_id"], &holder())
    );

    caller.get("port.release", mine).await;
    let key = "port.here.tcp.20001";
    let ended = view.until(key, |port| port["status"] == "released").await;
    assert_eq!(ended["holder"], holder());
    let events = Events::published(&caller).await;
    assert_eq!(events.0.len(), 2);
    for event in events.0 {
        assert_eq!(event.body["holder"], holder(), "{}", event.subject);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_says_nothing_is_not_shown() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let lease = caller.lease(Uuid::new_v4(), json!({"holder": {}})).await;
    assert_eq!(lease.get("holder"), None);
    let lease = caller.lease(Uuid::new_v4(), json!({"holder": null})).await;
    assert_eq!(lease.get("holder"), None);
}

/// A registry that looks at the ports of this machine, and grants one that nobody uses and the nine behind it.
async fn looking(more: &[&str]) -> (Registry, Caller, u16) {
    let first = free_port();
    let ports = format!("{first}-{}", first + 9);
    let registry = Registry::start(&[&["--host", "here", "--ports", &ports], more].concat());
    let caller = Caller::of(&registry).await;
    (registry, caller, first)
}

async fn explain(caller: &Caller, port: u16) -> Value {
    caller.see("port.explain", json!({"port": port})).await
}

#[track_caller]
fn says(explained: &Value, words: &[&str]) {
    let verdict = explained["verdict"].as_str().unwrap();
    for word in words {
        assert!(verdict.contains(word), "no {word:?} in: {verdict}");
    }
}

/// What is seen of this process on a port.
fn this_process() -> Value {
    let command = std::env::args().next().unwrap();
    let (_, command) = command.rsplit_once('/').unwrap();
    json!({"pid": std::process::id(), "command": command})
}

fn process_of(listener: &Value) -> Value {
    json!({"pid": listener["pid"], "command": listener["command"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_port_has_its_lease_and_who_listens() {
    let (_registry, caller, port) = looking(&[]).await;
    let nobody = explain(&caller, port).await;
    assert_eq!(
        (&nobody["state"], &nobody["in_use"]),
        (&json!("free"), &json!([]))
    );
    assert_eq!(nobody["next_free"], port);
    assert_eq!(nobody.get("lease"), None);
    assert!(nobody["ephemeral_range"]["first"].is_u64(), "{nobody:#}");

    let me = Uuid::new_v4();
    let lease = json!({
        "name": "api", "holder": holder(), "preferred_port": port, "exact": true, "transport": "both", "count": 2,
    });
    let lease = caller.lease(me, lease).await;
    let other = u16::try_from(lease["ports"][1].as_u64().unwrap()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", other)).unwrap();
    // Of every port of the lease, in each port space.
    for (port, transport) in [(port, "tcp"), (port, "udp"), (other, "tcp"), (other, "udp")] {
        let asked = json!({"port": port, "transport": transport});
        let held = caller.see("port.explain", asked).await;
        assert_eq!(
            (&held["state"], &held["port"]),
            (&json!("held"), &json!(port))
        );
        for member in [
            "lease_id",
            "ports",
            "transports",
            "holder",
            "name",
            "requester_id",
        ] {
            assert_eq!(held["lease"][member], lease[member], "{member}: {held:#}");
        }
        assert_eq!(held["since"], lease["granted_at"]);
        assert_eq!(held["until"], lease["expires_at"]);
        assert!((1..=60_000).contains(&held["expires_in_ms"].as_u64().unwrap()));
        says(
            &held,
            &[
                "is held by ana@build-7 (pytest, pid 4711) as \"api\"",
                "for another",
            ],
        );
        let next = held["next_free"].as_u64().unwrap();
        assert!(
            next != u64::from(port) && next != u64::from(other),
            "{held:#}"
        );
        let in_use = held["in_use"].as_array().unwrap();
        if (port, transport) == (other, "tcp") {
            assert_eq!(process_of(&in_use[0]), this_process());
            assert_eq!(in_use[0]["address"], "127.0.0.1");
            assert!(in_use[0]["user"].is_string());
            says(&held, &["listens there"]);
        } else {
            assert!(in_use.is_empty(), "{held:#}");
            says(&held, &["nobody listens there"]);
        }
    }
    drop(listener);

    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.release", mine).await;
    let free = explain(&caller, port).await;
    assert_eq!(free["state"], "free");
    let last = &free["last"];
    for (member, value) in [
        ("lease_id", lease["lease_id"].clone()),
        ("requester_id", json!(me)),
        ("name", json!("api")),
        ("holder", holder()),
        ("outcome", json!("released")),
        ("fencing_token", lease["fencing_token"].clone()),
    ] {
        assert_eq!(last[member], value, "{member}");
    }
    assert_eq!(free["since"], last["ended_at"]);
    says(
        &free,
        &[
            "is free; it was last held by ana@build-7",
            "who released it",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_is_named_by_the_kernels_tables() {
    let nats = Nats::start();
    let port: u16 = nats.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let registry = Registry::start(&["--host", "here", "--ports", &format!("{port}-{}", port + 1)]);
    let caller = Caller::of(&registry).await;
    let used = explain(&caller, port).await;
    assert_eq!(used["state"], "in_use");
    let listener = &used["in_use"][0];
    assert_eq!(listener["command"], "nats-server", "{used:#}");
    assert!(listener["pid"].as_u64().unwrap() > 1);
    assert_ne!(used["next_free"], port);
    says(&used, &["Nobody has leased port", "but nats-server (pid"]);
    // Looking leaves nothing behind, and hinders nobody.
    let pools = caller.see("pool.list", json!({})).await;
    assert_eq!(pools["items"][0]["free"], 2);

    // UDP has ports of its own.
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let asked = json!({"port": port, "transport": "udp"});
    let used = caller.see("port.explain", asked.clone()).await;
    assert_eq!(used["state"], "in_use");
    assert_eq!(process_of(&used["in_use"][0]), this_process());
    drop(socket);
    assert_eq!(caller.see("port.explain", asked).await["state"], "free");

    // Asked for, it is found to be in use, and put aside for a while.
    // The refusal says by whom, both times.
    for state in ["in_use", "quarantined"] {
        let exact = json!({"preferred_port": port, "exact": true, "transport": "both"});
        let request = lease_request(Uuid::new_v4(), exact);
        let refused = caller
            .refused("port.lease", request, ErrorCode::PortUnavailable)
            .await;
        assert_eq!(refused.detail("state"), state);
        assert_eq!(refused.detail("in_use")[0]["command"], "nats-server");
        let message = refused.error["message"].as_str().unwrap();
        assert!(message.contains("; nats-server (pid "), "{message}");
        assert!(message.ends_with(") uses it now"), "{message}");
    }
    let quarantined = explain(&caller, port).await;
    assert_eq!(quarantined["state"], "quarantined");
    assert!((1..=61_000).contains(&quarantined["expires_in_ms"].as_u64().unwrap()));
    assert_eq!(quarantined["last"]["outcome"], "in_use");
    says(
        &quarantined,
        &[
            "is quarantined for another",
            "nats-server (pid",
            "uses it now",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_never_granted_says_why() {
    let (_registry, caller, first) = looking(&[]).await;
    let outside = explain(&caller, 9_999).await;
    assert_eq!(outside["state"], "outside");
    assert_eq!(outside["next_free"], first);
    says(
        &outside,
        &[
            "in none of the ranges of that host",
            &format!("{first}-{}", first + 9),
        ],
    );

    let registry = Registry::start(&[
        "--host",
        "here",
        "--no-probe",
        "--ports",
        "20000",
        "--known-hosts-only",
    ]);
    let caller = Caller::of(&registry).await;
    let nowhere = json!({"port": 20_000, "host": "nowhere"});
    let refused = caller
        .refused("port.explain", nowhere, ErrorCode::PoolNotFound)
        .await;
    assert_eq!(refused.detail("host"), "nowhere");
    // Of the only port there is nothing is left, and nobody can look at it.
    caller.lease(Uuid::new_v4(), json!({})).await;
    let held = explain(&caller, 20_000).await;
    for unknown in ["next_free", "in_use", "ephemeral_range"] {
        assert_eq!(held.get(unknown), Some(&Value::Null), "{unknown}");
    }

    let registry = Registry::start(&[&UNTRIED[..], &["--reserved", "20003"]].concat());
    let caller = Caller::of(&registry).await;
    let reserved = explain(&caller, 20_003).await;
    assert_eq!(
        (&reserved["state"], &reserved["next_free"]),
        (&json!("reserved"), &json!(20_004))
    );
    says(&reserved, &["is reserved"]);
    // The highest port is followed by the lowest.
    caller
        .lease(
            Uuid::new_v4(),
            json!({"preferred_port": 20_009, "exact": true}),
        )
        .await;
    assert_eq!(explain(&caller, 20_009).await["next_free"], 20_000);
    // A host that nobody has named has the same ranges.
    let elsewhere = json!({"port": 20_001, "host": "elsewhere"});
    let free = caller.see("port.explain", elsewhere).await;
    assert_eq!(
        (&free["state"], &free["host"]),
        (&json!("free"), &json!("elsewhere"))
    );
    says(
        &free,
        &["whether another program uses it cannot be seen from here"],
    );
    let pools = caller.see("pool.list", json!({})).await;
    assert_eq!(pools["items"].as_array().unwrap().len(), 2, "{pools:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_its_last_holder_may_count_on_says_for_how_long() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller.register(me, "calc", json!({"ttl": 30})).await;
    let lease =
        json!({"node_id": "calc", "holder": holder(), "preferred_port": 20_001, "exact": true});
    caller.lease(me, lease).await;
    says(&explain(&caller, 20_001).await, &["with node calc"]);
    // Another life of the node; a process of the first one may still listen.
    let next = node(me, "calc", json!({"epoch": 2}));
    caller.get("node.register", next).await;
    let resting = explain(&caller, 20_001).await;
    assert_eq!(resting["state"], "resting");
    assert_eq!(resting["last"]["outcome"], "superseded");
    assert!((20_000..=31_000).contains(&resting["expires_in_ms"].as_u64().unwrap()));
    assert!(resting["since"].is_string() && resting["until"].is_string());
    says(&resting, &["cools down for another", "ana@build-7"]);
}

/// What a refusal says of a lease that somebody else has.
#[track_caller]
fn names_the_holder(refused: &Refused, requester: Uuid, left: std::ops::RangeInclusive<u64>) {
    assert_eq!(refused.detail("requester_id"), &json!(requester));
    assert_eq!(refused.detail("name"), "api");
    assert_eq!(refused.detail("holder"), &holder());
    let expires = refused.detail("expires_in_ms").as_u64().unwrap();
    assert!(left.contains(&expires), "{expires}");
    let message = refused.error["message"].as_str().unwrap();
    let whose = "ana@build-7 (pytest, pid 4711) as \"api\"";
    assert!(message.contains(whose), "{message}");
    // Each name that the details have is in the message.
    refused.names();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_who_has_the_port() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let (me, other) = (Uuid::new_v4(), Uuid::new_v4());
    let exact = |port: u16, more: Value| with(json!({"preferred_port": port, "exact": true}), more);
    let mine =
        json!({"name": "api", "holder": holder(), "ttl": 90, "count": 2, "contiguous": true});
    let lease = caller.lease(me, exact(20_001, mine)).await;
    // Also of a port that is not the first of its lease, and in a set that would need it.
    for (port, more) in [
        (20_001, json!({})),
        (20_002, json!({})),
        (20_000, json!({"count": 3, "contiguous": true})),
    ] {
        let request = lease_request(other, exact(port, more));
        let refused = caller
            .refused("port.lease", request, ErrorCode::PortUnavailable)
            .await;
        assert_eq!(refused.detail("state"), "held");
        names_the_holder(&refused, me, 60_000..=90_000);
        let message = refused.error["message"].as_str().unwrap();
        assert!(
            message.ends_with(", unless it is renewed before"),
            "{message}"
        );
        assert!(message.contains(" is held by ana@build-7"), "{message}");
    }
    let others = json!({"requester_id": other, "lease_id": lease["lease_id"]});
    for endpoint in ["port.heartbeat", "port.release"] {
        let refused = caller
            .refused(endpoint, others.clone(), ErrorCode::NotHolder)
            .await;
        names_the_holder(&refused, me, 60_000..=90_000);
    }
    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.release", mine).await;
    let refused = caller
        .refused("port.release", others, ErrorCode::NotHolder)
        .await;
    assert_eq!(refused.detail("holder"), &holder());
    assert_eq!(refused.detail("expires_in_ms"), &Value::Null);

    // With a node, and after the node's next life has begun.
    caller.register(me, "calc", json!({"ttl": 30})).await;
    let of_node = json!({"node_id": "calc", "name": "api", "holder": holder()});
    let of_node = caller.lease(me, exact(20_005, of_node)).await;
    let request = lease_request(other, exact(20_005, json!({})));
    let refused = caller
        .refused("port.lease", request.clone(), ErrorCode::PortUnavailable)
        .await;
    assert_eq!(refused.detail("node_id"), "calc");
    names_the_holder(&refused, me, 1..=30_000);
    let others = json!({"requester_id": other, "lease_id": of_node["lease_id"]});
    let not_holder = caller
        .refused("port.release", others, ErrorCode::NotHolder)
        .await;
    assert_eq!(not_holder.detail("node_id"), "calc");
    caller
        .get("node.register", node(me, "calc", json!({"epoch": 2})))
        .await;
    let refused = caller
        .refused("port.lease", request, ErrorCode::PortUnavailable)
        .await;
    assert_eq!(refused.detail("state"), "resting");
    assert!((1..=31_000).contains(&refused.detail("expires_in_ms").as_u64().unwrap()));
    assert_eq!(refused.detail("requester_id"), &Value::Null);
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("it can be had in "), "{message}");

    // What no time ends has none; and who says nothing of himself is named by his id.
    let request = lease_request(other, exact(80, json!({})));
    let refused = caller
        .refused("port.lease", request, ErrorCode::PortUnavailable)
        .await;
    assert_eq!(refused.detail("expires_in_ms"), &Value::Null);
    caller.lease(me, exact(20_007, json!({}))).await;
    let request = lease_request(other, exact(20_007, json!({})));
    let refused = caller
        .refused("port.lease", request, ErrorCode::PortUnavailable)
        .await;
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains(&format!("by requester {me}")), "{message}");
    assert_eq!(refused.detail("holder"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_says_what_it_is_full_of_and_what_comes_free_next() {
    let args = ["--host", "here", "--no-probe", "--ports", "20000-20002"];
    let registry = Registry::start(&args);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller.register(me, "calc", json!({"ttl": 60})).await;
    caller.lease(me, json!({"node_id": "calc"})).await;
    caller
        .get("node.register", node(me, "calc", json!({"epoch": 2})))
        .await;
    caller.lease(me, json!({"ttl": 600})).await;
    let soonest = caller.lease(me, json!({"ttl": 20})).await;
    let request = lease_request(Uuid::new_v4(), json!({}));
    let refused = caller
        .refused("port.lease", request, ErrorCode::ResourceExhausted)
        .await;
    for (name, count) in [
        ("capacity", 3),
        ("held", 2),
        ("resting", 1),
        ("quarantined", 0),
    ] {
        assert_eq!(refused.detail(name), count, "{name}");
    }
    let next = refused.detail("next");
    assert_eq!(
        (&next["port"], &next["state"]),
        (&soonest["port"], &json!("held"))
    );
    let left = next["expires_in_ms"].as_u64().unwrap();
    assert!((10_000..=21_000).contains(&left), "{left}");
    assert_eq!(refused.error["retry_after_ms"], left);
    let message = refused.error["message"].as_str().unwrap();
    let port = &soonest["port"];
    for said in [
        "no tcp port of the pool of host here is free: 2 of 3 tcp ports held, 1 cooling down",
        &format!("the next to come free may be {port} in "),
        "unless it is renewed",
    ] {
        assert!(message.contains(said), "no {said:?} in: {message}");
    }
}

/// What the history says of a port, the newest first, once that many states of it are published.
async fn history(caller: &Caller, port: u16, count: usize) -> Vec<Value> {
    until("the history of the port", async || {
        let explained = explain(caller, port).await;
        let history = explained["history"].as_array().unwrap().clone();
        assert!(history.len() <= 10);
        (history.len() == count).then_some(history)
    })
    .await
}

fn was(history: &[Value]) -> Vec<(&str, &str)> {
    let text = |past: &Value, name: &str| -> String { past[name].as_str().unwrap().to_owned() };
    let each = history
        .iter()
        .map(|past| (text(past, "event"), text(past, "state")));
    each.map(|(event, state)| (&*event.leak(), &*state.leak()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_grants_and_ends_with_their_reasons() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    assert_eq!(explain(&caller, 20_001).await["history"], json!([]));
    let me = Uuid::new_v4();
    let exact = |more: Value| with(json!({"preferred_port": 20_001, "exact": true}), more);
    let first = caller
        .lease(me, exact(json!({"name": "api", "holder": holder()})))
        .await;
    // What happens to others is not told of this one.
    caller
        .lease(me, json!({"preferred_port": 20_005, "exact": true}))
        .await;
    let udp = json!({"preferred_port": 20_001, "exact": true, "transport": "udp"});
    caller.lease(me, udp).await;
    let mine = json!({"requester_id": me, "lease_id": first["lease_id"]});
    caller.get("port.release", mine).await;
    caller.lease(me, exact(json!({"ttl": 1}))).await;
    let seen = history(&caller, 20_001, 4).await;
    let told = was(&seen);
    assert_eq!(
        told,
        [
            ("port.expired", "free"),
            ("port.leased", "held"),
            ("port.released", "free"),
            ("port.leased", "held"),
        ]
    );
    let released = &seen[2];
    assert_eq!(released["lease_id"], first["lease_id"]);
    assert_eq!(released["requester_id"], json!(me));
    assert_eq!(
        (&released["name"], &released["holder"]),
        (&json!("api"), &holder())
    );
    assert!(released["correlation_id"].is_string() && released["since"].is_string());
    assert_eq!(seen[0]["correlation_id"], Value::Null);
    let revisions: Vec<u64> = seen
        .iter()
        .map(|past| past["revision"].as_u64().unwrap())
        .collect();
    assert!(
        revisions.is_sorted_by(|one, next| one > next),
        "{revisions:?}"
    );

    // The last ten of more, among many events of other ports.
    for _ in 0..7 {
        let lease = caller.lease(me, exact(json!({}))).await;
        for _ in 0..5 {
            let other = caller.lease(me, json!({})).await;
            let mine = json!({"requester_id": me, "lease_id": other["lease_id"]});
            caller.get("port.release", mine).await;
        }
        let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
        caller.get("port.release", mine).await;
    }
    let lease = caller
        .lease(me, exact(json!({"count": 2, "contiguous": true})))
        .await;
    let newest = until("the newest lease in the history", async || {
        let seen = history(&caller, 20_001, 10).await;
        (seen[0]["lease_id"] == lease["lease_id"]).then_some(seen)
    })
    .await;
    let told = was(&newest);
    for pair in told.chunks(2) {
        assert_eq!(
            pair,
            [("port.leased", "held"), ("port.released", "free")],
            "{told:?}"
        );
    }
    // Of another port of that lease what is told of the lease, before what it was by itself.
    let other = explain(&caller, 20_002).await["history"][0].clone();
    assert_eq!(other["lease_id"], lease["lease_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_what_administrators_and_rebinds_did_with_why() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let set = json!({
        "preferred_port": 20_001, "exact": true, "count": 3, "contiguous": true, "name": "api", "holder": holder(),
    });
    let lease = caller.lease(me, set).await;
    let rebind = async |port: &Value, reason: &str| {
        let body = json!({
            "requester_id": me, "lease_id": lease["lease_id"], "port": port, "reason": reason,
        });
        caller.get("port.rebind", body).await
    };
    // The first port, and one behind it.
    let first = rebind(&json!(20_001), "it is jammed").await["port"].clone();
    let second = rebind(&json!(20_002), "so is this").await["ports"][1].clone();
    let given_up = "its lease gave it up for another one: ";
    for (port, why) in [(20_001, "it is jammed"), (20_002, "so is this")] {
        let seen = history(&caller, port, 2).await;
        let state = ("port.quarantined", "quarantined");
        assert_eq!(was(&seen)[0], state, "{port}");
        assert_eq!(seen[0]["reason"], format!("{given_up}{why}"), "{port}");
        assert_eq!(seen[0]["lease_id"], lease["lease_id"]);
        assert_eq!(
            (&seen[0]["name"], &seen[0]["holder"]),
            (&json!("api"), &holder())
        );
        let quarantined = explain(&caller, port).await;
        assert_eq!(quarantined["last"]["outcome"], "rebound", "{port}");
        says(
            &quarantined,
            &["ana@build-7", "as \"api\" gave it up for another one"],
        );
        let exact = json!({"preferred_port": port, "exact": true});
        let request = lease_request(Uuid::new_v4(), exact);
        let refused = caller
            .refused("port.lease", request, ErrorCode::PortUnavailable)
            .await;
        assert_eq!(refused.detail("state"), "quarantined");
        assert!(refused.detail("expires_in_ms").as_u64().unwrap() > 50_000);
        let message = refused.error["message"].as_str().unwrap();
        assert!(
            message.contains("it was given up for another one"),
            "{message}"
        );
    }
    // Of those that it got, and of the one that it kept: none was quarantined.
    for (port, old, why, states) in [
        (&first, 20_001, "it is jammed", 2),
        (&second, 20_002, "so is this", 1),
        (&json!(20_003), 20_002, "so is this", 2),
    ] {
        let port = u16::try_from(port.as_u64().unwrap()).unwrap();
        let seen = history(&caller, port, states).await;
        assert!(
            was(&seen)
                .iter()
                .all(|was| *was == ("port.rebound", "held")),
            "{seen:#?}"
        );
        let rebound = seen.iter().any(|past| {
            past["reason"] == format!("its lease gave up port {old} for another one: {why}")
        });
        assert!(rebound, "{seen:#?}");
    }

    let revoke = json!({"lease_id": lease["lease_id"], "reason": "it is not needed"});
    caller.get("admin.port.revoke", revoke).await;
    let seen = history(&caller, 20_003, 3).await;
    assert_eq!(was(&seen)[0], ("port.revoked", "resting"));
    let revoked = "an administrator took it away: it is not needed";
    assert_eq!(seen[0]["reason"], revoked);
    // The last states of the first one that it got are its own.
    let first = u16::try_from(first.as_u64().unwrap()).unwrap();
    assert_eq!(history(&caller, first, 3).await[0]["reason"], revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_the_end_of_a_quarantine_with_why() {
    let (_registry, caller, port) = looking(&[]).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let request = lease_request(
        Uuid::new_v4(),
        json!({"preferred_port": port, "exact": true}),
    );
    caller
        .refused("port.lease", request, ErrorCode::PortUnavailable)
        .await;
    drop(listener);
    let lift = json!({"port": port, "reason": "the program is gone"});
    caller.get("admin.port.unquarantine", lift).await;
    let seen = history(&caller, port, 3).await;
    assert_eq!(
        was(&seen),
        [
            ("port.unquarantined", "free"),
            ("port.quarantined", "quarantined"),
            ("port.leased", "held"),
        ]
    );
    let lifted = "an administrator lifted its quarantine: the program is gone";
    assert_eq!(seen[0]["reason"], lifted);
    assert_eq!(
        seen[1]["reason"],
        "another program was using it when it was to be granted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_set_that_is_taken_back_only_the_port_in_use_was_quarantined() {
    let quarantined = ("port.quarantined", "quarantined");
    for in_use in [0, 1] {
        let (_registry, caller, first) = looking(&[]).await;
        let listener = TcpListener::bind(("127.0.0.1", first + in_use)).unwrap();
        let set = json!({"preferred_port": first, "exact": true, "count": 3, "contiguous": true});
        let request = lease_request(Uuid::new_v4(), set);
        caller
            .refused("port.lease", request, ErrorCode::PortUnavailable)
            .await;
        drop(listener);
        for port in first..first + 3 {
            let now = explain(&caller, port).await;
            let is_in_use = port == first + in_use;
            let state = if is_in_use { "quarantined" } else { "free" };
            assert_eq!(now["state"], state, "{port}: {now:#}");
            // Of what nobody has and which is not quarantined nothing is remembered but under the first.
            if !is_in_use && port != first {
                continue;
            }
            let seen = history(&caller, port, 2).await;
            let expected = if is_in_use {
                quarantined
            } else {
                ("port.released", "free")
            };
            assert_eq!(was(&seen), [expected, ("port.leased", "held")], "{seen:#?}");
        }
        let lift = json!({"port": first + in_use, "reason": "it is gone"});
        caller.get("admin.port.unquarantine", lift).await;
        let set = json!({"preferred_port": first, "exact": true, "count": 3, "contiguous": true});
        caller.lease(Uuid::new_v4(), set).await;
        let seen = history(&caller, first + 2, 3).await;
        let states: Vec<_> = was(&seen).into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, ["held", "free", "held"], "{seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_of_a_set_remembers_who_had_it_last() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let set = json!({
        "preferred_port": 20_001, "exact": true, "count": 3, "contiguous": true, "transport": "both", "name": "api",
        "holder": holder(),
    });
    let lease = caller.lease(me, set.clone()).await;
    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.release", mine).await;
    for (port, transport) in [(20_001, "udp"), (20_003, "tcp"), (20_003, "udp")] {
        let asked = json!({"port": port, "transport": transport});
        let free = caller.see("port.explain", asked.clone()).await;
        assert_eq!(free["state"], "free", "{port}/{transport}");
        let last = &free["last"];
        assert_eq!(last["lease_id"], lease["lease_id"], "{port}/{transport}");
        assert_eq!(last["outcome"], "released");
        assert_eq!(last["fencing_token"], lease["fencing_token"]);
        assert_eq!((&last["name"], &last["holder"]), (&json!("api"), &holder()));
        assert_eq!(free["since"], last["ended_at"]);
        says(&free, &["was last held by ana@build-7", "who released it"]);
        let events = until("the end in the history", async || {
            let explained = caller.see("port.explain", asked.clone()).await;
            let history = explained["history"].as_array().unwrap().clone();
            (history.len() == 2).then_some(history)
        });
        assert_eq!(was(&events.await)[0], ("port.released", "free"));
    }
    // The same name gets the same set, and all of them are its once more.
    let again = caller.lease(
        me,
        json!({
            "count": 3, "contiguous": true, "transport": "both", "name": "api",
        }),
    );
    assert_eq!(again.await["ports"], lease["ports"]);
    assert_eq!(explain(&caller, 20_003).await.get("last"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_cannot_be_read_is_null_and_the_rest_is_there() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    caller
        .lease(
            Uuid::new_v4(),
            json!({"preferred_port": 20_001, "exact": true}),
        )
        .await;
    history(&caller, 20_001, 1).await;
    // Whoever may write there can put in what is none of an event, even in a form that no client library can read.
    let subject = "onex.registry.v1.event.port.leased.port.here.tcp.20001";
    caller.client.publish(subject, "{}".into()).await.unwrap();
    caller.client.flush().await.unwrap();
    until("the foreign message to be the last", async || {
        (explain(&caller, 20_001).await["history"] == Value::Null).then_some(())
    })
    .await;
    let held = explain(&caller, 20_001).await;
    assert_eq!(held["state"], "held");
    let context = async_nats::jetstream::new(caller.client.clone());
    context.delete_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
    assert_eq!(explain(&caller, 20_001).await["state"], "held");
}
