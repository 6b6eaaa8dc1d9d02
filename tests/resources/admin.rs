//! What administrators take away: leases, nodes, quarantines; what whoever had it is told, and when others get it.

use std::net::TcpListener;

use crate::harness::{
    Caller, Event, Events, Nats, Registry, View, claim, lease_request, node, tool, until,
};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Which of two instances answers is by chance: of so many requests in a row both get some.
const ASKED: usize = 12;
const REASON: &str = "the build that held it is gone";

/// An instance on a host of that name, whose ports nobody tries.
fn on(nats: &Nats, host: &str) -> Registry {
    let args = ["--host", host, "--no-probe", "--ports", "20000-20099"];
    Registry::on(nats, &args)
}

/// Why nobody gets that port now; none where somebody does.
async fn unavailable(caller: &Caller, port: &Value) -> Option<String> {
    let exact = json!({"host": "here", "preferred_port": port, "exact": true});
    let requester = Uuid::new_v4();
    match caller
        .ask("port.lease", lease_request(requester, exact))
        .await
    {
        Ok(lease) => {
            let own = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
            caller.get("port.release", own).await;
            None
        }
        Err(refused) => {
            assert!(refused.is(ErrorCode::PortUnavailable), "{refused:?}");
            Some(refused.detail("state").as_str().unwrap().to_owned())
        }
    }
}

/// The events of that kind.
async fn told(caller: &Caller, kind: &str) -> Vec<Event> {
    let events = Events::published(caller).await;
    events.of_kind(kind).into_iter().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn a_lease_that_is_revoked_ends_and_its_port_rests_for_its_whole_ttl() {
    let nats = Nats::start();
    let (mut one, mut other) = (on(&nats, "here"), on(&nats, "there"));
    let caller = Caller::of(&one).await;
    let holder = Uuid::new_v4();
    let lease = caller
        .lease(holder, json!({"host": "here", "ttl": 600, "name": "api"}))
        .await;
    let (lease_id, port) = (&lease["lease_id"], &lease["port"]);
    let bus = json!({
        "bus_id": "main", "protocol": "redis", "endpoint_uri": "redis://here", "requester_id": holder,
        "lease_id": lease_id,
    });
    caller.get("bus.register", bus).await;

    let by_port = json!({"host": "here", "port": port, "reason": REASON});
    let revoked = caller.get("admin.port.revoke", by_port.clone()).await;
    assert_eq!(
        (&revoked["lease_id"], &revoked["outcome"]),
        (lease_id, &json!("revoked"))
    );
    // Again changes nothing, whichever answers, while the holder may count on it.
    let by_id = json!({"lease_id": lease_id, "reason": "another one"});
    for again in [&by_port, &by_id].repeat(ASKED) {
        let again = caller.get("admin.port.revoke", again.clone()).await;
        for member in ["lease_id", "outcome", "ended_at"] {
            assert_eq!(again[member], revoked[member], "{member}");
        }
    }
    // The holder is told to stop, and why.
    let own = json!({"requester_id": holder, "lease_id": lease_id});
    let refused = caller
        .refused("port.heartbeat", own.clone(), ErrorCode::LeaseExpired)
        .await;
    assert_eq!(refused.detail("admin_reason"), REASON);
    assert!(refused.error["message"].as_str().unwrap().contains(REASON));
    let all = caller
        .get("port.heartbeat", json!({"requester_id": holder}))
        .await;
    assert_eq!(all["renewed"], json!([]));
    assert_eq!(
        caller.get("port.release", own.clone()).await["status"],
        "expired"
    );
    let found = caller.see("port.resolve", json!({"name": "api"})).await;
    assert_eq!(found["items"], json!([]));
    // Why, wherever somebody may look for it.
    let ask = json!({"host": "here", "port": port});
    let explained = caller.see("port.explain", ask).await;
    assert_eq!(explained["last"]["reason"], REASON, "{explained:#}");
    let verdict = explained["verdict"].as_str().unwrap();
    assert!(verdict.contains(REASON), "{verdict}");
    let view = View::of(&caller).await;
    let key = format!("port.here.tcp.{port}");
    let shown = view.until(&key, |it| it["status"] == "revoked").await;
    assert_eq!(shown["reason"], REASON, "{shown:#}");

    let behind = json!({"min_revision": revoked["revision"]});
    until("the bus to end", async || {
        let buses = caller.get("bus.list", behind.clone()).await;
        (buses["items"][0]["active"] == false).then_some(())
    })
    .await;
    let [event] = told(&caller, "port.revoked").await.try_into().unwrap();
    for (member, value) in [
        ("reason", &json!(REASON)),
        ("outcome", &json!("revoked")),
        ("lease_id", lease_id),
        ("requester_id", &json!(holder)),
        ("port", port),
    ] {
        assert_eq!(event.body[member], *value, "{member}");
    }
    assert!(event.body["correlation_id"].is_string());
    let [removed] = told(&caller, "bus.removed").await.try_into().unwrap();
    assert_eq!(removed.body["outcome"], "revoked");
    let logged = [&one, &other].map(Registry::said).concat();
    assert!(
        logged.contains(REASON) && logged.contains("admin.port.revoke"),
        "{logged}"
    );

    for _ in 0..ASKED {
        assert_eq!(unavailable(&caller, port).await.unwrap(), "resting");
    }
    // Nor after a start, for the whole time again.
    for instance in [&mut one, &mut other] {
        instance.terminate();
        assert!(instance.ended().0.success());
    }
    let _instances = (on(&nats, "here"), on(&nats, "there"));
    assert_eq!(unavailable(&caller, port).await.unwrap(), "resting");
    let refused = caller
        .refused("port.heartbeat", own, ErrorCode::LeaseExpired)
        .await;
    assert_eq!(refused.detail("admin_reason"), REASON);

    // What is not held for long is free soon.
    let lease = caller
        .lease(holder, json!({"host": "here", "ttl": 2}))
        .await;
    let by_id = json!({"lease_id": lease["lease_id"], "reason": REASON});
    caller.get("admin.port.revoke", by_id).await;
    assert_eq!(
        unavailable(&caller, &lease["port"]).await.unwrap(),
        "resting"
    );
    until("its time to be up", async || {
        unavailable(&caller, &lease["port"])
            .await
            .is_none()
            .then_some(())
    })
    .await;
    let by_port = json!({"host": "here", "port": lease["port"], "reason": REASON});
    let refused = caller
        .refused("admin.port.revoke", by_port, ErrorCode::LeaseNotFound)
        .await;
    assert_eq!(
        (refused.detail("host"), refused.detail("port")),
        (&json!("here"), &lease["port"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_revoked_is_refused_by_name() {
    let nats = Nats::start();
    let registry = on(&nats, "here");
    let caller = Caller::of(&registry).await;
    let (me, id) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", node(me, "calc", json!({})))
        .await;
    let lease = caller
        .lease(me, json!({"node_id": "calc", "epoch": 1}))
        .await;
    for which in [
        json!({"lease_id": lease["lease_id"]}),
        json!({"port": lease["port"]}),
    ] {
        let mut body = which.clone();
        body["reason"] = json!(REASON);
        let refused = caller
            .refused("admin.port.revoke", body, ErrorCode::Conflict)
            .await;
        assert_eq!(refused.detail("node_id"), "calc", "{which}");
        assert_eq!(refused.detail("lease_id"), &lease["lease_id"], "{which}");
    }
    let own = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.heartbeat", own).await;
    let nobodys = json!({"lease_id": id, "reason": REASON});
    let refused = caller
        .refused("admin.port.revoke", nobodys, ErrorCode::LeaseNotFound)
        .await;
    assert_eq!(refused.detail("lease_id"), &json!(id));
    for (body, place) in [
        (json!({"reason": REASON}), "/port"),
        (
            json!({"reason": REASON, "port": 1, "lease_id": id}),
            "/port",
        ),
        (
            json!({"reason": REASON, "host": "here", "lease_id": id}),
            "/host",
        ),
        (
            json!({"reason": REASON, "transport": "udp", "lease_id": id}),
            "/transport",
        ),
        (json!({"port": 1}), "/reason"),
        (json!({"port": 1, "reason": ""}), "/reason"),
        (json!({"port": 1, "reason": "  "}), "/reason"),
        (json!({"port": 1, "reason": "é".repeat(257)}), "/reason"),
        (json!({"port": 1, "reason": "a\u{7}"}), "/reason"),
    ] {
        let refused = caller
            .refused("admin.port.revoke", body.clone(), ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), place, "{body}");
    }
    let longest = json!({"port": 1, "reason": "é".repeat(256)});
    caller
        .refused("admin.port.revoke", longest, ErrorCode::LeaseNotFound)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_free_at_once_when_its_quarantine_is_lifted() {
    let nats = Nats::start();
    // One that tries its ports, and one elsewhere that is asked as well.
    let here = Registry::on(&nats, &["--host", "here", "--ports", "18930-18939"]);
    let args = ["--host", "there", "--no-probe", "--ports", "18930-18939"];
    let _there = Registry::on(&nats, &args);
    let caller = Caller::of(&here).await;
    let port = json!(18_930);
    let program = TcpListener::bind("127.0.0.1:18930").unwrap();
    until("its port to be quarantined", async || {
        let state = unavailable(&caller, &port).await?;
        (state == "quarantined").then_some(())
    })
    .await;
    drop(program);
    assert_eq!(unavailable(&caller, &port).await.unwrap(), "quarantined");
    let lift = json!({"host": "here", "port": port, "reason": REASON});
    for _ in 0..ASKED {
        let lifted = caller.get("admin.port.unquarantine", lift.clone()).await;
        assert_eq!(
            (&lifted["host"], &lifted["transport"], &lifted["port"]),
            (&json!("here"), &json!("tcp"), &port)
        );
    }
    let held = caller
        .lease(
            Uuid::new_v4(),
            json!({"host": "here", "preferred_port": port, "exact": true}),
        )
        .await;
    assert_eq!(held["port"], port);
    let [event] = told(&caller, "port.unquarantined")
        .await
        .try_into()
        .unwrap();
    assert_eq!(
        (&event.body["reason"], &event.body["port"]),
        (&json!(REASON), &port)
    );

    // Whoever holds it, or may still count on it, is not touched.
    let refused = caller
        .refused(
            "admin.port.unquarantine",
            lift.clone(),
            ErrorCode::PortUnavailable,
        )
        .await;
    assert_eq!(refused.detail("state"), "held");
    assert_eq!(*refused.detail("requester_id"), held["requester_id"]);
    assert!(refused.detail("expires_in_ms").as_u64().unwrap() > 0);
    let revoke = json!({"lease_id": held["lease_id"], "reason": REASON});
    caller.get("admin.port.revoke", revoke).await;
    let refused = caller
        .refused("admin.port.unquarantine", lift, ErrorCode::PortUnavailable)
        .await;
    assert_eq!(refused.detail("state"), "resting");
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("for another 6"), "{message}");
    let left = refused.detail("expires_in_ms").as_u64().unwrap();
    assert!((1..=61_000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn a_node_that_is_evicted_ends_with_all_it_has_and_its_process_is_told() {
    let nats = Nats::start();
    let (one, _other) = (on(&nats, "here"), on(&nats, "there"));
    let caller = Caller::of(&one).await;
    let me = Uuid::new_v4();
    let more = json!({"ttl": 600, "tools": [tool("add")], "host": "here"});
    let announced = node(me, "calc", more);
    caller.get("node.register", announced.clone()).await;
    let lease = caller
        .lease(me, json!({"node_id": "calc", "epoch": 1}))
        .await;
    let bus = json!({
        "bus_id": "main", "protocol": "redis", "endpoint_uri": "redis://here", "requester_id": me,
        "node_id": "calc",
    });
    caller.get("bus.register", bus).await;
    let evict = json!({"node_id": "calc", "epoch": 1, "reason": REASON});
    let evicted = caller.get("admin.node.evict", evict.clone()).await;
    assert_eq!(
        (&evicted["node_id"], &evicted["epoch"], &evicted["status"]),
        (&json!("calc"), &json!(1), &json!("evicted"))
    );
    // Whichever answers.
    for _ in 0..ASKED {
        let again = caller.get("admin.node.evict", evict.clone()).await;
        assert_eq!(again["ended_at"], evicted["ended_at"]);
        let heartbeat = claim(me, "calc", 1);
        let refused = caller
            .refused("node.heartbeat", heartbeat, ErrorCode::Superseded)
            .await;
        assert_eq!(
            (refused.detail("admin_reason"), refused.detail("epoch")),
            (&json!(REASON), &json!(1))
        );
    }
    let mut same = announced.clone();
    same["epoch"] = json!(1);
    caller
        .refused("node.register", same, ErrorCode::Superseded)
        .await;
    caller
        .refused(
            "node.deregister",
            claim(me, "calc", 1),
            ErrorCode::Superseded,
        )
        .await;
    let behind = json!({"min_revision": evicted["revision"]});
    let buses = caller.get("bus.list", behind.clone()).await;
    assert_eq!(buses["items"][0]["active"], false);
    for list in ["tool.list", "port.list"] {
        let page = caller.get(list, behind.clone()).await;
        assert_eq!(page["items"], json!([]), "{list}");
    }
    let shown = caller.get("node.list", behind).await;
    let shown = &shown["items"][0];
    assert_eq!(
        (&shown["liveness"], &shown["ended"], &shown["reason"]),
        (&json!("ended"), &json!("evicted"), &json!(REASON))
    );
    let described = caller.see("describe", json!({"node_id": "calc"})).await;
    assert_eq!(described["node"]["reason"], REASON, "{described:#}");
    let view = View::of(&caller).await;
    let ended = view.until("live.calc", |it| it["ended"] == "evicted").await;
    assert_eq!(ended["reason"], REASON, "{ended:#}");
    until("its port to rest", async || {
        (unavailable(&caller, &lease["port"]).await.unwrap() == "resting").then_some(())
    })
    .await;

    // Another life begins without what the last one had, and is not ended by a late copy.
    let again = caller.get("node.register", announced).await;
    assert_eq!(again["epoch"], 2);
    assert_eq!(
        unavailable(&caller, &lease["port"]).await.unwrap(),
        "resting"
    );
    let refused = caller
        .refused("admin.node.evict", evict, ErrorCode::Superseded)
        .await;
    assert_eq!(refused.detail("epoch"), 2);
    caller.get("node.heartbeat", claim(me, "calc", 2)).await;
    let nobody = json!({"node_id": "nobody", "reason": REASON});
    caller
        .refused("admin.node.evict", nobody, ErrorCode::NodeNotFound)
        .await;
    let later = json!({"node_id": "calc", "epoch": 3, "reason": REASON});
    caller
        .refused("admin.node.evict", later, ErrorCode::NodeNotFound)
        .await;

    let [event] = told(&caller, "node.evicted").await.try_into().unwrap();
    assert_eq!(
        (&event.body["node_id"], &event.body["reason"]),
        (&json!("calc"), &json!(REASON))
    );
    let [ended] = told(&caller, "port.revoked").await.try_into().unwrap();
    for (member, value) in [
        ("lease_id", &lease["lease_id"]),
        ("outcome", &json!("revoked")),
        ("reason", &json!(REASON)),
    ] {
        assert_eq!(ended.body[member], *value, "{member}");
    }
    let events = Events::published(&caller).await;
    let of_node = events.about("node_id", "calc");
    assert_eq!(
        of_node,
        [
            "node.registered",
            "tool.registered",
            "node.evicted",
            "tool.removed",
            "node.registered",
            "tool.registered"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_forgotten_when_nothing_is_on_it_and_nobody_counts_on_its_ports() {
    let nats = Nats::start();
    let (one, _other) = (on(&nats, "here"), on(&nats, "there"));
    let caller = Caller::of(&one).await;
    let me = Uuid::new_v4();
    let forget = |host: &str| json!({"host": host, "reason": REASON});
    let in_use = async |host: &str, what: &str| {
        let refused = caller
            .refused("admin.host.forget", forget(host), ErrorCode::Conflict)
            .await;
        assert_eq!(refused.detail("host"), host);
        let message = refused.error["message"].as_str().unwrap();
        assert!(message.contains(what), "{message}");
    };
    for host in ["here", "there"].repeat(ASKED) {
        in_use(host, "an instance of the registry runs there").await;
    }
    let ranges = json!([{"first": 30_000, "last": 30_639}]);
    caller
        .get("pool.set", json!({"host": "gone", "ranges": ranges}))
        .await;
    caller
        .get("node.register", node(me, "calc", json!({"host": "gone"})))
        .await;
    // More ports than are forgotten at once.
    let mut leases = Vec::new();
    for _ in 0..10 {
        let lease = caller
            .lease(me, json!({"host": "gone", "count": 64, "ttl": 600}))
            .await;
        leases.push(lease["lease_id"].clone());
    }
    in_use("gone", "nodes live there: calc").await;
    in_use("gone", "leases hold ports 30").await;
    caller.get("node.deregister", claim(me, "calc", 1)).await;
    for lease_id in &leases {
        let release = json!({"requester_id": me, "lease_id": lease_id});
        caller.get("port.release", release).await;
    }
    // One of them was taken away, and its holder may count on it.
    let lease = caller.lease(me, json!({"host": "gone", "ttl": 2})).await;
    let revoke = json!({"lease_id": lease["lease_id"], "reason": REASON});
    caller.get("admin.port.revoke", revoke).await;
    let port = format!(
        "their last holders may count on ports {}/tcp",
        lease["port"]
    );
    in_use("gone", &port).await;
    let forgotten = until("its time to be up", async || {
        caller.ask("admin.host.forget", forget("gone")).await.ok()
    })
    .await;
    assert_eq!(forgotten["host"], "gone");
    let behind = json!({"host": "gone", "min_revision": forgotten["revision"]});
    for _ in 0..ASKED {
        let pools = caller.get("pool.list", behind.clone()).await;
        assert_eq!(pools["items"], json!([]));
        // Again, and of a host that nobody ever named.
        caller.get("admin.host.forget", forget("gone")).await;
        caller.get("admin.host.forget", forget("nowhere")).await;
    }
    let [event] = told(&caller, "host.forgotten").await.try_into().unwrap();
    assert_eq!(
        (&event.body["host"], &event.body["reason"]),
        (&json!("gone"), &json!(REASON))
    );
    assert_eq!(
        event.subject,
        "onex.registry.v1.event.host.forgotten.host.gone"
    );
    // It has the default ports from now on.
    let lease = caller.lease(me, json!({"host": "gone"})).await;
    assert!(lease["port"].as_u64().unwrap() < 20_100);
}
