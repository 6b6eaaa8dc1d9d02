//! Pools: which ports are granted on a host, as that is set and changed while registries run.

use std::collections::BTreeSet;

use crate::harness::{Caller, Events, Nats, Refused, Registry, lease_request, until};
use onex_registry::protocol::error::ErrorCode;
use onex_registry::protocol::pool::{POOL_DESCRIPTION_CHARS_MAX, POOL_RANGES_MAX};
use serde_json::{Value, json};
use uuid::Uuid;

/// Which of two instances answers is by chance: of so many requests in a row both get some.
const ASKED: usize = 24;

/// An instance on a host of that name, whose ports nobody tries.
fn on(nats: &Nats, host: &str) -> Registry {
    let args = ["--host", host, "--no-probe", "--ports", "20000-20099"];
    Registry::on(nats, &args)
}

fn range(first: u16, last: u16) -> Value {
    json!({"first": first, "last": last})
}

/// Leases a port of that host, and gives it back.
async fn granted(caller: &Caller, more: Value) -> Result<u64, Refused> {
    let requester = Uuid::new_v4();
    let lease = caller
        .ask("port.lease", lease_request(requester, more))
        .await?;
    let own = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    caller.get("port.release", own).await;
    Ok(lease["port"].as_u64().unwrap())
}

/// What the instances on that host say that they grant.
async fn announced(caller: &Caller, host: &str) -> BTreeSet<String> {
    let infos = caller.micro("INFO").await;
    let metadata = infos.iter().map(|info| &info["metadata"]);
    let there = metadata.filter(|metadata| metadata["host"] == host);
    there
        .map(|metadata| metadata["ranges"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_set_holds_at_every_instance_at_once_and_after_a_start() {
    let nats = Nats::start();
    let (mut one, mut other) = (on(&nats, "here"), on(&nats, "there"));
    let caller = Caller::of(&one).await;
    let holder = Uuid::new_v4();
    let outside = caller
        .lease(holder, json!({"host": "here", "ttl": 600}))
        .await;

    let set = caller.get("pool.set", json!({
        "host": "here", "ranges": [range(30_005, 30_009), range(30_000, 30_004)], "reserved": [range(30_005, 30_005)],
        "description": "for builds",
    }));
    let set = set.await;
    let [tcp, udp] = set["items"].as_array().unwrap().as_slice() else {
        panic!("{set:#}");
    };
    assert_eq!(
        (&tcp["transport"], &udp["transport"]),
        (&json!("tcp"), &json!("udp"))
    );
    assert_eq!(tcp["ranges"], json!([range(30_000, 30_009)]));
    assert_eq!(tcp["reserved"], json!([range(30_005, 30_005)]));
    assert_eq!(
        (&tcp["capacity"], &tcp["held"], &tcp["held_outside"]),
        (&json!(9), &json!(0), &json!(1))
    );
    assert_eq!(
        (&tcp["description"], &tcp["revision"]),
        (&json!("for builds"), &set["revision"])
    );
    assert_eq!(
        (&udp["ranges"], udp.get("held_outside")),
        (&tcp["ranges"], None)
    );

    // Whichever answers grants by it and shows it.
    let behind = json!({"host": "here", "min_revision": set["revision"]});
    let as_set = async |caller: &Caller| {
        for _ in 0..ASKED {
            let port = granted(caller, json!({"host": "here"})).await.unwrap();
            assert!(
                (30_000..=30_009).contains(&port) && port != 30_005,
                "{port}"
            );
            let shown = caller.get("pool.list", behind.clone()).await;
            for member in ["ranges", "reserved", "capacity", "description", "revision"] {
                assert_eq!(shown["items"][0][member], tcp[member], "{member}");
            }
        }
        let exact = |port: u16| json!({"host": "here", "preferred_port": port, "exact": true});
        for (port, state) in [(20_050, "outside"), (30_005, "reserved")] {
            let refused = granted(caller, exact(port)).await.unwrap_err();
            assert_eq!(refused.detail("state"), state, "{refused:?}");
        }
        // The other host keeps its ports.
        let elsewhere = granted(caller, json!({"host": "there"})).await.unwrap();
        assert!(elsewhere < 20_100, "{elsewhere}");
    };
    as_set(&caller).await;
    assert_eq!(
        announced(&caller, "here").await,
        ["30000-30009".to_owned()].into()
    );
    assert_eq!(
        announced(&caller, "there").await,
        ["20000-20099".to_owned()].into()
    );

    // What was leased before goes on, and its port is granted to nobody afterwards.
    let own = json!({"requester_id": holder, "lease_id": outside["lease_id"]});
    let renewed = caller.get("port.heartbeat", own.clone()).await;
    assert_eq!(renewed["port"], outside["port"]);

    // With the same --ports as ever.
    for instance in [&mut one, &mut other] {
        instance.terminate();
        assert!(instance.ended().0.success());
    }
    let (_one, _other) = (on(&nats, "here"), on(&nats, "there"));
    as_set(&caller).await;
    assert_eq!(
        announced(&caller, "here").await,
        ["30000-30009".to_owned()].into()
    );
    caller.get("port.heartbeat", own.clone()).await;
    caller.get("port.release", own).await;
    let exact = json!({"host": "here", "preferred_port": outside["port"], "exact": true});
    let refused = granted(&caller, exact).await.unwrap_err();
    assert_eq!(refused.detail("state"), "outside");

    let deleted = caller.get("pool.delete", json!({"host": "here"})).await;
    assert_eq!(
        deleted["items"][0]["ranges"],
        json!([range(20_000, 20_099)])
    );
    assert_eq!(deleted["items"][0].get("revision"), None);
    for _ in 0..ASKED {
        let port = granted(&caller, json!({"host": "here"})).await.unwrap();
        assert!(port < 20_100, "{port}");
    }
    until("the default ranges to be announced", async || {
        let announced = announced(&caller, "here").await;
        (announced == ["20000-20099".to_owned()].into()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_was_changed_meanwhile_is_not_overwritten() {
    let nats = Nats::start();
    let registry = on(&nats, "here");
    let caller = Caller::of(&registry).await;
    let pool = |last: u16, expected: Value| json!({"host": "new", "ranges": [range(30_000, last)], "expected_revision": expected});
    let first = caller.get("pool.set", pool(30_001, json!(0))).await["revision"].clone();
    let refused = caller
        .refused("pool.set", pool(30_002, json!(0)), ErrorCode::Conflict)
        .await;
    assert_eq!(
        (refused.detail("host"), refused.detail("present_revision")),
        (&json!("new"), &first)
    );
    // The answer to the first was lost: the same again is as good.
    let again = caller.get("pool.set", pool(30_001, json!(0))).await;
    assert_eq!(again["items"][0]["revision"], first);
    let second = caller.get("pool.set", pool(30_002, first.clone())).await;
    assert_eq!(second["items"][0]["capacity"], 3);
    let delete = |expected: &Value| json!({"host": "new", "expected_revision": expected});
    caller
        .refused("pool.delete", delete(&first), ErrorCode::Conflict)
        .await;
    let deleted = caller.get("pool.delete", delete(&second["revision"])).await;
    // Nothing is left of a host on which nobody is.
    assert_eq!(deleted["items"], json!([]));
    let refused = caller
        .refused(
            "pool.delete",
            json!({"host": "new"}),
            ErrorCode::PoolNotFound,
        )
        .await;
    assert_eq!(refused.detail("host"), "new");
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("has no pool of its own"), "{message}");
    let refused = caller
        .refused("pool.set", pool(30_001, first), ErrorCode::Conflict)
        .await;
    assert_eq!(refused.detail("present_revision"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_space_may_have_ports_of_its_own() {
    let nats = Nats::start();
    let registry = on(&nats, "here");
    let caller = Caller::of(&registry).await;
    let set = async |transport: &str, first: u16, last: u16| {
        let pool = json!({"host": "here", "transport": transport, "ranges": [range(first, last)]});
        let items = caller.get("pool.set", pool).await["items"].clone();
        [0, 1].map(|item| items[item]["ranges"].clone())
    };
    assert_eq!(
        set("both", 30_000, 30_009).await,
        [
            json!([range(30_000, 30_009)]),
            json!([range(30_000, 30_009)])
        ]
    );
    assert_eq!(
        set("udp", 30_008, 30_020).await,
        [
            json!([range(30_000, 30_009)]),
            json!([range(30_008, 30_020)])
        ]
    );
    assert_eq!(
        announced(&caller, "here").await,
        ["30000-30020".to_owned()].into()
    );
    for _ in 0..ASKED {
        // Both have these two only.
        let port = granted(&caller, json!({"transport": "both"}))
            .await
            .unwrap();
        assert!([30_008, 30_009].contains(&port), "{port}");
        let port = granted(&caller, json!({"transport": "udp"})).await.unwrap();
        assert!((30_008..=30_020).contains(&port), "{port}");
    }
    let refused = granted(&caller, json!({"preferred_port": 30_020, "exact": true}))
        .await
        .unwrap_err();
    assert_eq!(refused.detail("state"), "outside");
    assert_eq!(
        set("tcp", 30_008, 30_020).await,
        [
            json!([range(30_008, 30_020)]),
            json!([range(30_008, 30_020)])
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_make_no_sense_are_refused_by_their_place() {
    let nats = Nats::start();
    let registry = on(&nats, "here");
    let caller = Caller::of(&registry).await;
    let good = range(30_000, 30_009);
    for (ranges, reserved, place) in [
        (json!([]), json!([]), "/ranges"),
        (json!([good, range(9, 8)]), json!([]), "/ranges/1"),
        (
            json!([{"first": 0, "last": 8}]),
            json!([]),
            "/ranges/0/first",
        ),
        (json!([{"first": 1}]), json!([]), "/ranges/0"),
        (json!([good]), json!([range(30_001, 30_000)]), "/reserved/0"),
        (
            json!([good]),
            json!([range(30_000, 30_000), range(30_009, 30_010)]),
            "/reserved/1",
        ),
        (
            json!(vec![&good; POOL_RANGES_MAX + 1]),
            json!([]),
            "/ranges",
        ),
        (
            json!([good]),
            json!(vec![&good; POOL_RANGES_MAX + 1]),
            "/reserved",
        ),
    ] {
        let pool = json!({"host": "here", "ranges": ranges, "reserved": reserved});
        let refused = caller
            .refused("pool.set", pool.clone(), ErrorCode::InvalidRequest)
            .await;
        let pointer = refused.detail("pointer").as_str().unwrap();
        assert!(pointer.starts_with(place), "{pointer}: {pool}");
    }
    let description = "x".repeat(POOL_DESCRIPTION_CHARS_MAX + 1);
    let pool = json!({"host": "here", "ranges": [good], "description": description});
    let refused = caller
        .refused("pool.set", pool, ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("pointer"), "/description");
    let pools = caller.see("pool.list", json!({"host": "here"})).await;
    assert_eq!(pools["items"][0].get("revision"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_a_registry_of_another_namespace_grants_are_not_taken() {
    let nats = Nats::start();
    let ours = on(&nats, "here");
    let args = [
        "--host",
        "here",
        "--no-probe",
        "--ports",
        "21000-21099",
        "--namespace",
        "b",
    ];
    let _theirs = Registry::on(&nats, &args);
    let caller = Caller::of(&ours).await;
    let pool = |last: u16| json!({"host": "here", "ranges": [range(20_500, last)]});
    let refused = caller
        .refused("pool.set", pool(21_000), ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("pointer"), "/ranges");
    let message = refused.error["message"].as_str().unwrap();
    assert!(
        message.contains("namespace b grants 21000-21099 on here"),
        "{message}"
    );
    caller.get("pool.set", pool(20_999)).await;
    // What is left free is taken by the other one, and does not come back with the default ranges.
    let args = [
        "--host",
        "here",
        "--no-probe",
        "--ports",
        "20000-20049",
        "--namespace",
        "c",
    ];
    let _third = Registry::on(&nats, &args);
    let refused = caller
        .refused(
            "pool.delete",
            json!({"host": "here"}),
            ErrorCode::InvalidRequest,
        )
        .await;
    assert_eq!(refused.detail("pointer"), "/host");
    // And a registry that comes later does not take what was added.
    let args = [
        "--host",
        "here",
        "--no-probe",
        "--ports",
        "20900-20910",
        "--namespace",
        "d",
    ];
    let mut fourth = Registry::spawn_on(&nats, &args);
    assert!(!fourth.ended().0.success());
    assert!(
        fourth.said().contains("grants 20500-20999 on here"),
        "{}",
        fourth.said()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_pool_for_more_hosts_than_may_be_known() {
    let nats = Nats::start();
    let args = [
        "--host",
        "here",
        "--no-probe",
        "--ports",
        "20000-20099",
        "--reserved",
        "20099",
        "--hosts-max",
        "2",
    ];
    let registry = Registry::on(&nats, &args);
    let caller = Caller::of(&registry).await;
    let pool = |host: &str| json!({"host": host, "ranges": [range(30_000, 30_009)]});
    caller.get("pool.set", pool("there")).await;
    let refused = caller
        .refused("pool.set", pool("elsewhere"), ErrorCode::LimitExceeded)
        .await;
    assert_eq!(
        (refused.detail("bound"), refused.detail("limit")),
        (&json!("hosts"), &json!(2))
    );
    // One that is known may be set again, and what was leased by it stays when it is deleted.
    caller.lease(Uuid::new_v4(), json!({"host": "there"})).await;
    let deleted = caller.get("pool.delete", json!({"host": "there"})).await;
    let tcp = &deleted["items"][0];
    assert_eq!((&tcp["held"], &tcp["held_outside"]), (&json!(0), &json!(1)));
    assert_eq!(tcp["reserved"], json!([range(20_099, 20_099)]));
    let described = caller.see("describe", json!({"sections": ["ports"]})).await;
    let shown = described["pools"].as_array().unwrap().iter();
    let outside = shown.filter(|pool| pool["held_outside"] == 1);
    assert_eq!(outside.count(), 1, "{described:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_set_or_deleted_is_told_as_it_is_then() {
    let nats = Nats::start();
    let registry = on(&nats, "here");
    let caller = Caller::of(&registry).await;
    let pool = json!({
        "host": "build-7.example", "ranges": [range(30_000, 30_009)], "reserved": [range(30_001, 30_001)],
        "description": "for builds",
    });
    let set = caller.get("pool.set", pool.clone()).await;
    // What changes nothing is not told.
    caller.get("pool.set", pool.clone()).await;
    let of_udp =
        json!({"host": "build-7.example", "transport": "udp", "ranges": [range(31_000, 31_000)]});
    caller.get("pool.set", of_udp).await;
    let delete = json!({"host": "build-7.example"});
    let deleted = caller.get("pool.delete", delete).await;
    let events = Events::published(&caller).await;
    let [first, second] = events.of_kind("pool.changed").try_into().unwrap();
    let [last] = events.of_kind("pool.deleted").try_into().unwrap();
    let subject = "onex.registry.v1.event.pool.changed.pool.build-7=2Eexample";
    assert_eq!(first.subject, subject);
    let ports = |transport: &str, ranges: &Value, reserved: &Value| json!({"transport": transport, "ranges": ranges, "reserved": reserved});
    let (ranges, reserved) = (&pool["ranges"], &pool["reserved"]);
    assert_eq!(
        first.body["pools"],
        json!([
            ports("tcp", ranges, reserved),
            ports("udp", ranges, reserved)
        ])
    );
    assert_eq!(
        second.body["pools"],
        json!([
            ports("tcp", ranges, reserved),
            ports("udp", &json!([range(31_000, 31_000)]), &json!([]))
        ])
    );
    assert_eq!(first.body["description"], "for builds");
    assert_eq!(first.body["revision"], set["items"][0]["revision"]);
    assert_eq!(
        (&last.body["pools"], &last.body["description"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(last.body["revision"], deleted["revision"]);
    let counted = [first, second, last].map(|event| event.body["n"].as_u64().unwrap());
    assert_eq!(counted, [1, 2, 3]);
    for event in [first, second, last] {
        assert_eq!(event.body["host"], "build-7.example");
        assert!(event.body["correlation_id"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_free_outside_of_the_pool_is_nothing_to_wait_for() {
    let nats = Nats::start();
    let registry = on(&nats, "here");
    let caller = Caller::of(&registry).await;
    caller.lease(Uuid::new_v4(), json!({"ttl": 10})).await;
    let pool = json!({"host": "here", "ranges": [range(30_000, 30_000)]});
    caller.get("pool.set", pool).await;
    let inside = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    // A renewal counts, not when the lease was granted.
    let own = json!({"requester_id": inside["requester_id"], "lease_id": inside["lease_id"], "ttl": 1_000});
    caller.get("port.heartbeat", own).await;
    let refused = granted(&caller, json!({})).await.unwrap_err();
    let next = refused.detail("next");
    assert_eq!(next["port"], 30_000, "{next}");
    let left = next["expires_in_ms"].as_u64().unwrap();
    assert!(left > 900_000, "{left}");
    assert_eq!(refused.error["retry_after_ms"], left);
}
