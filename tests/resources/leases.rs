//! The endpoints as `docs/protocol.md` describes them, asked over a real server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::harness::{Caller, Event, Events, PATIENCE, Registry, View, lease_request, until};
use futures::StreamExt as _;
use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Ports that nobody tries: what other programs of this machine do does not matter.
const UNTRIED: [&str; 3] = ["--host", "here", "--no-probe"];

async fn start(args: &[&str]) -> (Registry, Caller) {
    let registry = Registry::start(&[&UNTRIED, args].concat());
    let caller = Caller::of(&registry).await;
    (registry, caller)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no text {name} in {value:#}"))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {name} in {value:#}"))
}

fn time(value: &Value, name: &str) -> jiff::Timestamp {
    let time = text(value, name);
    assert!(time.ends_with('Z'), "not UTC: {time}");
    time.parse().unwrap()
}

/// The ports of a page, in its order.
fn ports(page: &Value) -> Vec<u64> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| number(item, "port")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_says_all_that_its_holder_needs() {
    // A range of its own: the port is really tried, and must not be one that another test tries as well.
    let registry = Registry::start(&["--host", "here", "--ports", "19000-19099"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();

    let lease = caller.lease(requester, json!({})).await;
    let id: Uuid = text(&lease, "lease_id").parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let port = number(&lease, "port");
    assert!((19_000..=19_099).contains(&port));
    assert_eq!(lease["ports"], json!([port]));
    for (name, value) in [
        ("status", "active"),
        ("host", "here"),
        ("transport", "tcp"),
        ("protocol", "http"),
        ("requester_id", requester.to_string().as_str()),
        ("assigned_to", requester.to_string().as_str()),
        ("availability", "verified"),
        ("verified_on", "here"),
    ] {
        assert_eq!(lease[name], value, "{name}");
    }
    assert_eq!(lease["ttl"], 60);
    let lasts = time(&lease, "expires_at").duration_since(time(&lease, "granted_at"));
    assert_eq!(lasts.as_secs(), 60);
    let left = number(&lease, "expires_in_ms");
    assert!((55_000..=60_000).contains(&left), "{left}");
    assert_eq!(number(&lease, "renew_after_ms"), left / 3);
    assert!(number(&lease, "fencing_token") > 0);
    assert!(number(&lease, "revision") >= number(&lease, "fencing_token"));
    for absent in [
        "node_id",
        "name",
        "labels",
        "requested_at",
        "holder",
        "ignored",
    ] {
        assert_eq!(lease.get(absent), None, "{absent}");
    }

    let more = json!({
        "ttl": 86_400, "transport": "udp", "host": "there", "name": "api.v1", "labels": ["b: c", "a", "a"],
        "requested_at": "2026-01-02T03:04:05.678Z", "protocol": "grpc", "count": 1,
    });
    let lease = caller.lease(requester, more).await;
    for (name, value) in [
        ("transport", json!("udp")),
        ("host", json!("there")),
        ("name", json!("api.v1")),
        ("labels", json!(["a", "b: c"])),
        ("requested_at", json!("2026-01-02T03:04:05.678Z")),
        ("protocol", json!("grpc")),
        ("ttl", json!(86_400)),
        // Nobody here can try a port of another host.
        ("availability", json!("unverified")),
    ] {
        assert_eq!(lease[name], value, "{name}");
    }
    assert_eq!(lease.get("verified_on"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn preferred_and_exact_ports() {
    let (_registry, caller) = start(&["--ports", "20000-20099", "--reserved", "20050"]).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());

    let lease = caller.lease(one, json!({"preferred_port": 20_007})).await;
    assert_eq!(lease["port"], 20_007);
    let exact = |port: u16| json!({"preferred_port": port, "exact": true});
    let lease = caller.lease(two, exact(20_008)).await;
    assert_eq!(lease["port"], 20_008);
    // Preferred, and somebody has it, or nobody ever gets it: another one will do.
    for taken in [20_007, 20_050, 80] {
        let lease = caller.lease(two, json!({"preferred_port": taken})).await;
        assert_ne!(lease["port"], taken);
    }
    for (port, state) in [
        (20_007, "held"),
        (20_008, "held"),
        (20_050, "reserved"),
        (80, "outside"),
    ] {
        let lease_request = lease_request(two, exact(port));
        let refused = caller.refused("port.lease", lease_request, ErrorCode::PortUnavailable);
        assert_eq!(refused.await.detail("state"), state, "{port}");
    }
    // Port spaces and hosts are apart.
    let mut udp = exact(20_007);
    udp["transport"] = json!("udp");
    assert_eq!(caller.lease(two, udp).await["port"], 20_007);
    let mut there = exact(20_007);
    there["host"] = json!("10.0.0.9");
    assert_eq!(caller.lease(two, there).await["port"], 20_007);

    let pools = caller.see("pool.list", json!({})).await;
    let known: Vec<_> = pools["items"].as_array().unwrap().iter().collect();
    let known: Vec<_> = known
        .iter()
        .map(|pool| {
            (
                text(pool, "host"),
                text(pool, "transport"),
                number(pool, "held"),
            )
        })
        .collect();
    assert_eq!(
        known,
        [
            ("10.0.0.9", "tcp", 1),
            ("10.0.0.9", "udp", 0),
            ("here", "tcp", 5),
            ("here", "udp", 1)
        ]
    );
    let pool = &pools["items"][2];
    assert_eq!(pool["ranges"], json!([{"first": 20_000, "last": 20_099}]));
    assert_eq!(pool["reserved"], json!([{"first": 20_050, "last": 20_050}]));
    assert_eq!((number(pool, "capacity"), number(pool, "free")), (99, 94));
    let of_host = caller.see("pool.list", json!({"host": "10.0.0.9"})).await;
    assert_eq!(of_host["items"].as_array().unwrap().len(), 2);
    // Page by page.
    let mut seen = 0;
    let mut request = json!({"limit": 1});
    loop {
        let page = caller.see("pool.list", request).await;
        seen += page["items"].as_array().unwrap().len();
        let Some(cursor) = page.get("next_cursor") else {
            break;
        };
        request = json!({"limit": 1, "cursor": cursor});
    }
    assert_eq!(seen, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_sticky_and_resolves() {
    let (_registry, caller) = start(&[]).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let named = json!({"name": "api", "labels": ["blue"]});
    let first = caller.lease(one, named.clone()).await;
    let other = caller
        .lease(two, json!({"name": "api", "host": "there"}))
        .await;

    let both = caller.see("port.resolve", json!({"name": "api"})).await;
    assert_eq!(
        ports(&both),
        [number(&first, "port"), number(&other, "port")]
    );
    let there = json!({"name": "api", "host": "there"});
    assert_eq!(
        ports(&caller.see("port.resolve", there).await),
        [number(&other, "port")]
    );
    let blue = caller.see("port.resolve", json!({"label": "blue"})).await;
    assert_eq!(blue["items"][0]["lease_id"], first["lease_id"]);
    assert_eq!(blue["items"][0]["fencing_token"], first["fencing_token"]);
    let nothing = caller.see("port.resolve", json!({"name": "no-such"})).await;
    assert_eq!(nothing["items"], json!([]));

    // The same requester gets the port of that name again, though many others are free; another one does not.
    for _ in 0..3 {
        let lease = caller
            .see("port.resolve", json!({"name": "api", "host": "here"}))
            .await;
        let lease_id = lease["items"][0]["lease_id"].clone();
        let release = json!({"requester_id": one, "lease_id": lease_id});
        let released = caller.get("port.release", release).await;
        let after = json!({"name": "api", "host": "here", "min_revision": released["revision"]});
        assert_eq!(caller.see("port.resolve", after).await["items"], json!([]));
        // A port whose events wait to be published is passed over, sticky or not.
        Events::published(&caller).await;
        let again = caller.lease(one, named.clone()).await;
        assert_eq!(again["port"], first["port"]);
        assert_ne!(again["lease_id"], lease_id);
    }
    let stranger = caller.lease(Uuid::new_v4(), named.clone()).await;
    assert_ne!(stranger["port"], first["port"]);
    // While it is held the name gets another port.
    assert_ne!(caller.lease(one, named).await["port"], first["port"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered() {
    let (_registry, caller) = start(&[]).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let mut all = Vec::new();
    for (requester, more) in [
        (one, json!({"name": "a", "labels": ["x", "y"]})),
        (one, json!({"host": "there", "labels": ["y"]})),
        (two, json!({"name": "a", "transport": "udp"})),
        (two, json!({"host": "there", "name": "b", "labels": ["x"]})),
    ] {
        all.push(caller.lease(requester, more).await);
    }
    let last = all.last().unwrap()["revision"].clone();
    for (filter, expected) in [
        (json!({}), vec![0, 1, 2, 3]),
        (json!({"host": "here"}), vec![0, 2]),
        (json!({"requester_id": two}), vec![2, 3]),
        (json!({"name": "a"}), vec![0, 2]),
        (json!({"label": "x"}), vec![0, 3]),
        (json!({"label": "y", "host": "there"}), vec![1]),
        (json!({"requester_id": one, "name": "b"}), vec![]),
    ] {
        let mut request = filter.clone();
        request["min_revision"] = last.clone();
        let page = caller.see("port.list", request).await;
        let got: BTreeSet<&str> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| text(item, "lease_id"))
            .collect();
        let want = expected
            .iter()
            .map(|index: &usize| text(&all[*index], "lease_id"));
        assert_eq!(got, want.collect(), "{filter}");
        assert!(number(&page, "revision") >= last.as_u64().unwrap());
    }
    let page = caller.see("port.list", json!({"name": "b"})).await;
    let mut item = page["items"][0].clone();
    // The list says what the grant said, except for what was tried then.
    for grown in [
        "expires_in_ms",
        "renew_after_ms",
        "revision",
        "availability",
    ] {
        item[grown] = all[3][grown].clone();
    }
    assert_eq!(item, all[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_never_skips_what_does_not_change() {
    let (_registry, caller) = start(&[]).await;
    let (still, moving) = (Uuid::new_v4(), Uuid::new_v4());
    let mut kept = BTreeSet::new();
    let mut changing = Vec::new();
    for _ in 0..25 {
        kept.insert(number(&caller.lease(still, json!({})).await, "port"));
        changing.push(caller.lease(moving, json!({})).await);
    }
    let mut seen = Vec::new();
    let mut request = json!({"limit": 4});
    loop {
        let page = caller.see("port.list", request).await;
        let some = ports(&page);
        assert!((1..=4).contains(&some.len()));
        seen.extend(some);
        let Some(cursor) = page.get("next_cursor") else {
            break;
        };
        request = json!({"limit": 4, "cursor": cursor});
        // Between two pages some go, some are renewed and some come.
        let gone = changing.swap_remove(changing.len() / 2);
        let body = json!({"requester_id": moving, "lease_id": gone["lease_id"]});
        caller.get("port.release", body).await;
        changing.push(caller.lease(moving, json!({})).await);
        let body = json!({"requester_id": moving, "lease_id": changing[0]["lease_id"]});
        caller.get("port.heartbeat", body).await;
    }
    assert!(seen.is_sorted_by(|one, two| one < two), "{seen:?}");
    let seen: BTreeSet<u64> = seen.into_iter().collect();
    let skipped: Vec<_> = kept.difference(&seen).collect();
    assert!(skipped.is_empty(), "{skipped:?}");

    for cursor in ["", "x", "port.here.tcp.0", "port.here.tcp.80.81"] {
        let body = json!({"cursor": cursor});
        let refused = caller.refused("port.list", body, ErrorCode::InvalidRequest);
        assert_eq!(refused.await.detail("pointer"), "/cursor");
    }
}

/// Of each lease it is said as of which revision, behind `before`.
fn each_says_as_of_when(reply: &Value, before: u64) {
    let revisions = before..=number(reply, "revision");
    let lists = ["renewed", "lost"].map(|list| reply[list].as_array().unwrap());
    for item in lists.into_iter().flatten() {
        assert!(revisions.contains(&number(item, "revision")), "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_of_one_several_and_all() {
    let (_registry, caller) = start(&[]).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let mine = [
        caller.lease(one, json!({"ttl": 30})).await,
        caller
            .lease(one, json!({"ttl": 30, "name": "n", "labels": ["l"]}))
            .await,
    ];
    let theirs = caller.lease(two, json!({})).await;
    let gone = caller.lease(one, json!({})).await;
    let body = json!({"requester_id": one, "lease_id": gone["lease_id"]});
    caller.get("port.release", body).await;
    let never = Uuid::now_v7();

    // One: the lease as it is now.
    let heartbeat = |lease: &Value, ttl: Value| {
        let mut body = json!({"requester_id": one, "lease_id": lease["lease_id"]});
        if !ttl.is_null() {
            body["ttl"] = ttl;
        }
        caller.get("port.heartbeat", body)
    };
    let renewed = heartbeat(&mine[1], Value::Null).await;
    assert!(number(&renewed, "revision") > number(&mine[1], "revision"));
    for same in [
        "lease_id",
        "fencing_token",
        "port",
        "name",
        "labels",
        "granted_at",
        "ttl",
        "host",
    ] {
        assert_eq!(renewed[same], mine[1][same], "{same}");
    }
    assert!(time(&renewed, "expires_at") > time(&mine[1], "expires_at"));
    // A TTL only grows.
    assert_eq!(heartbeat(&mine[1], json!(5)).await["ttl"], 30);
    assert_eq!(heartbeat(&mine[1], json!(90)).await["ttl"], 90);
    assert_eq!(heartbeat(&mine[1], Value::Null).await["ttl"], 90);

    // Several.
    let ids = json!([
        mine[0]["lease_id"],
        mine[1]["lease_id"],
        theirs["lease_id"],
        gone["lease_id"],
        never
    ]);
    let body = json!({"requester_id": one, "lease_ids": ids});
    let reply = caller.get("port.heartbeat", body).await;
    let of = |list: &str, name: &str| -> BTreeSet<String> {
        let items = reply[list].as_array().unwrap().iter();
        items.map(|item| text(item, name).to_owned()).collect()
    };
    let ids_of = |leases: &[Value]| -> BTreeSet<String> {
        let id = |lease: &Value| text(lease, "lease_id").to_owned();
        leases.iter().map(id).collect()
    };
    assert_eq!(of("renewed", "lease_id"), ids_of(&mine));
    assert!(number(&reply, "revision") > number(&renewed, "revision"));
    let lost: BTreeSet<(String, String)> = reply["lost"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            ["lease_id", "code"]
                .map(|name| text(item, name).to_owned())
                .into()
        })
        .collect();
    let expected = [
        (
            text(&theirs, "lease_id").to_owned(),
            "NOT_HOLDER".to_owned(),
        ),
        (
            text(&gone, "lease_id").to_owned(),
            "LEASE_EXPIRED".to_owned(),
        ),
        (never.to_string(), "LEASE_NOT_FOUND".to_owned()),
    ];
    assert_eq!(lost, expected.into());
    assert_eq!(reply["unknown"], json!([]));
    each_says_as_of_when(&reply, number(&renewed, "revision"));
    for item in reply["renewed"].as_array().unwrap() {
        let of = |lease: &&Value| lease["lease_id"] == item["lease_id"];
        let lease = mine.iter().find(of).unwrap();
        assert_eq!(item["fencing_token"], lease["fencing_token"]);
        assert!(number(item, "expires_in_ms") > 25_000);
    }

    // All: theirs is not among them.
    let reply = caller
        .get("port.heartbeat", json!({"requester_id": one}))
        .await;
    let renewed = ids_of(reply["renewed"].as_array().unwrap());
    assert_eq!(renewed, ids_of(&mine));
    assert_eq!(reply["lost"], json!([]));
    let body = json!({"requester_id": Uuid::new_v4()});
    let none = caller.get("port.heartbeat", body).await;
    assert_eq!((&none["renewed"], &none["lost"]), (&json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_remembered_until_the_port_is_granted_again() {
    let (_registry, caller) = start(&["--ports", "20000"]).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let lease = caller.lease(one, json!({})).await;
    let id = &lease["lease_id"];
    let mine = json!({"requester_id": one, "lease_id": id});
    let other = json!({"requester_id": two, "lease_id": id});

    caller
        .refused("port.release", other, ErrorCode::NotHolder)
        .await;
    let released = caller.get("port.release", mine.clone()).await;
    assert_eq!(released["lease_id"], *id);
    assert_eq!(released["status"], "released");
    let mut again = caller.get("port.release", mine.clone()).await;
    assert!(number(&again, "revision") >= number(&released, "revision"));
    again["revision"] = released["revision"].clone();
    assert_eq!(again, released);
    caller
        .refused("port.heartbeat", mine.clone(), ErrorCode::LeaseExpired)
        .await;

    let next = caller.lease(two, json!({})).await;
    // An index that has not seen the next grant still remembers this lease.
    let mut mine = mine;
    mine["min_revision"] = next["revision"].clone();
    for endpoint in ["port.release", "port.heartbeat"] {
        caller
            .refused(endpoint, mine.clone(), ErrorCode::LeaseNotFound)
            .await;
    }
}

/// The next event with that kind.
async fn next(events: &mut async_nats::Subscriber, kind: &str) -> Event {
    let wanted = async {
        loop {
            let message = events.next().await.expect("the subscription lasts");
            let event = Event {
                subject: message.subject.to_string(),
                headers: message.headers.clone().unwrap_or_default(),
                body: serde_json::from_slice(&message.payload).unwrap(),
            };
            if event.kind() == kind {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wanted).await.expect(kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unrenewed_lease_expires_and_is_told_once() {
    let (_registry, caller) = start(&[]).await;
    let mut events = caller
        .client
        .subscribe("onex.registry.v1.event.>")
        .await
        .unwrap();
    let requester = Uuid::new_v4();
    let before = Instant::now();
    let lease = caller
        .lease(requester, json!({"ttl": 1, "name": "short"}))
        .await;
    let kept = caller.lease(requester, json!({"ttl": 1})).await;
    let id = text(&lease, "lease_id");

    // The other one is kept by heartbeats while this one's time passes.
    let body = json!({"requester_id": requester, "lease_id": kept["lease_id"]});
    let ended = until("the lease to end", async || {
        caller.get("port.heartbeat", body.clone()).await;
        let page = caller.see("port.list", json!({"name": "short"})).await;
        page["items"]
            .as_array()
            .unwrap()
            .is_empty()
            .then(Instant::now)
    })
    .await;
    let took = ended - before;
    // Not before the holder stops: one second. Not long after the registry's own count: a second and its slack.
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");

    let event = next(&mut events, "port.expired").await;
    assert_eq!(event.lease_id(), id);
    let port = number(&lease, "port");
    assert_eq!(
        event.subject,
        format!("onex.registry.v1.event.port.expired.port.here.tcp.{port}")
    );
    for (name, value) in [
        ("requester_id", json!(requester)),
        ("name", json!("short")),
        ("outcome", json!("expired")),
        ("port", json!(port)),
        ("host", json!("here")),
        ("transport", json!("tcp")),
        ("n", json!(2)),
    ] {
        assert_eq!(event.body[name], value, "{name} of {:#}", event.body);
    }
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-type", "port.expired"),
        ("ce-source", "onex.registry.v1"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(
            event.headers.get(name).map(ToString::to_string).as_deref(),
            Some(value)
        );
    }

    let expired = json!({"requester_id": requester, "lease_id": id});
    let released = caller.get("port.release", expired.clone()).await;
    assert_eq!(released["status"], "expired");
    caller
        .refused("port.heartbeat", expired, ErrorCode::LeaseExpired)
        .await;
    // Behind the end of the other one everything about this one is out.
    caller.get("port.release", body).await;
    next(&mut events, "port.released").await;
    let all = Events::published(&caller).await;
    assert_eq!(all.of_lease(id), ["port.leased", "port.expired"]);
    assert_eq!(
        all.of_lease(text(&kept, "lease_id")),
        ["port.leased", "port.released"]
    );
    assert!(all.check().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_idempotent() {
    let (_registry, caller) = start(&[]).await;
    let requester = Uuid::new_v4();
    let request = |more: Value| {
        let mut body = lease_request(requester, more);
        body["request_id"] = json!("0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21");
        body
    };
    let first = caller
        .get("port.lease", request(json!({"name": "x"})))
        .await;
    let id = &first["lease_id"];
    // When it was asked does not count.
    let later = request(json!({"name": "x", "requested_at": "2026-01-02T03:04:05Z"}));
    let again = caller.get("port.lease", later.clone()).await;
    assert_eq!(again["lease_id"], *id);
    assert!(number(&again, "fencing_token") >= number(&first, "fencing_token"));
    // The first answer to a replay may be noted in the record; after that nothing is written.
    let once_more = caller.get("port.lease", later).await;
    assert_eq!(
        (&once_more["lease_id"], &once_more["fencing_token"]),
        (id, &again["fencing_token"])
    );
    let other = request(json!({"name": "y"}));
    caller
        .refused("port.lease", other.clone(), ErrorCode::IdempotencyMismatch)
        .await;

    // A heartbeat is done once as well, and a replay of the grant shows its present state.
    let mut heartbeat =
        json!({"requester_id": requester, "lease_id": id, "request_id": Uuid::new_v4()});
    let renewed = caller.get("port.heartbeat", heartbeat.clone()).await;
    let repeated = caller.get("port.heartbeat", heartbeat.clone()).await;
    assert_eq!(renewed["fencing_token"], repeated["fencing_token"]);
    let again = caller
        .get("port.lease", request(json!({"name": "x"})))
        .await;
    assert_eq!(
        (&again["lease_id"], &again["fencing_token"]),
        (id, &renewed["fencing_token"])
    );
    heartbeat["ttl"] = json!(70);
    caller
        .refused("port.heartbeat", heartbeat, ErrorCode::IdempotencyMismatch)
        .await;
    // One request id names one request, whatever it asks for.
    let mut release = json!({"requester_id": requester, "lease_id": id, "request_id": request(json!({}))["request_id"]});
    caller
        .refused(
            "port.release",
            release.clone(),
            ErrorCode::IdempotencyMismatch,
        )
        .await;
    // Another requester's ids are its own.
    let mut stranger = request(json!({"name": "y"}));
    stranger["requester_id"] = json!(Uuid::new_v4());
    assert_ne!(caller.get("port.lease", stranger).await["lease_id"], *id);

    release["request_id"] = json!(Uuid::new_v4());
    let released = caller.get("port.release", release.clone()).await;
    assert_eq!(
        caller.get("port.release", release).await["released_at"],
        released["released_at"]
    );
    // Never a new grant under the old id.
    caller
        .refused(
            "port.lease",
            request(json!({"name": "x"})),
            ErrorCode::LeaseExpired,
        )
        .await;
    caller
        .refused("port.lease", other, ErrorCode::IdempotencyMismatch)
        .await;
    let page = caller
        .see("port.list", json!({"requester_id": requester}))
        .await;
    assert_eq!(page["items"], json!([]));
    let events = Events::published(&caller).await;
    assert_eq!(events.of_kind("port.leased").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fencing_token_lasts_as_long_as_its_lease_and_is_higher_in_every_later_one() {
    let (_registry, caller) = start(&["--ports", "20000"]).await;
    let mut last = 0;
    for _ in 0..5 {
        let requester = Uuid::new_v4();
        let lease = caller.lease(requester, json!({})).await;
        let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
        let token = number(&lease, "fencing_token");
        assert!(token > last);
        let mut revision = number(&lease, "revision");
        for _ in 0..3 {
            let renewed = caller.get("port.heartbeat", mine.clone()).await;
            assert_eq!(number(&renewed, "fencing_token"), token);
            // Who hears several things of one lease believes the highest revision.
            assert!(number(&renewed, "revision") > revision);
            revision = number(&renewed, "revision");
        }
        let released = caller.get("port.release", mine).await;
        assert!(number(&released, "revision") > revision);
        last = token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_ports_are_never_granted_and_a_full_pool_says_when() {
    let (_registry, caller) = start(&["--ports", "20000-20002,20005", "--reserved", "20001"]).await;
    let requester = Uuid::new_v4();
    let mut granted = BTreeSet::new();
    for _ in 0..3 {
        granted.insert(number(
            &caller.lease(requester, json!({"ttl": 30})).await,
            "port",
        ));
    }
    assert_eq!(granted, [20_000, 20_002, 20_005].into());
    let refused = caller
        .refused(
            "port.lease",
            lease_request(requester, json!({})),
            ErrorCode::ResourceExhausted,
        )
        .await;
    let after = number(&refused.error, "retry_after_ms");
    assert!((20_000..=31_000).contains(&after), "{after}");
    // The other port space has its own.
    caller.lease(requester, json!({"transport": "udp"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_ttl_is_kept_to() {
    let (_registry, caller) = start(&["--ttl-max", "30"]).await;
    let requester = Uuid::new_v4();
    let refused = caller
        .refused(
            "port.lease",
            lease_request(requester, json!({"ttl": 31})),
            ErrorCode::InvalidRequest,
        )
        .await;
    assert_eq!(refused.detail("pointer"), "/ttl");
    let lease = caller.lease(requester, json!({"ttl": 30})).await;
    let body = json!({"requester_id": requester, "lease_id": lease["lease_id"], "ttl": 31});
    let refused = caller
        .refused("port.heartbeat", body, ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("pointer"), "/ttl");
    let told = refused.error["message"].as_str().unwrap();
    assert!(
        told.starts_with("ttl must be 1 to 30 seconds here, not 31"),
        "{told}"
    );
    // Who names none gets what there is.
    assert_eq!(caller.lease(requester, json!({})).await["ttl"], 30);
    let described = caller.see("describe", json!({})).await;
    assert_eq!(described["registry"]["ttl_max"], 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_as_new_as_it_was_asked_for() {
    let (_registry, caller) = start(&[]).await;
    let requester = Uuid::new_v4();
    for _ in 0..20 {
        let lease = caller.lease(requester, json!({})).await;
        let request = json!({"requester_id": requester, "min_revision": lease["fencing_token"], "limit": 1000});
        let page = caller.see("port.list", request).await;
        assert!(ports(&page).contains(&number(&lease, "port")));
        assert!(number(&page, "revision") >= number(&lease, "fencing_token"));
    }
    // One that will not come.
    for (endpoint, mut body) in [
        ("port.list", json!({})),
        ("port.lease", lease_request(requester, json!({}))),
        ("describe", json!({})),
    ] {
        body["min_revision"] = json!(1_u64 << 40);
        let before = Instant::now();
        let refused = caller.refused(endpoint, body, ErrorCode::Stale).await;
        assert!(refused.retryable());
        assert!(before.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correlation_id_comes_back_in_the_reply_and_in_the_event() {
    let (_registry, caller) = start(&[]).await;
    let requester = Uuid::new_v4();
    let headers = [("Onex-Correlation-Id", "build-7/step.3")];
    let reply = caller
        .reply(
            "port.lease",
            &headers,
            lease_request(requester, json!({})).to_string(),
        )
        .await;
    assert_eq!(
        reply.headers.get("Onex-Correlation-Id").unwrap().as_str(),
        "build-7/step.3"
    );
    let lease = reply.outcome().unwrap();
    let refused = caller.raw("port.lease", &headers, "x").await.unwrap_err();
    assert_eq!(refused.error["correlation_id"], "build-7/step.3");
    // One is made where none is sent, and it is not always the same.
    let mut made = BTreeSet::new();
    for _ in 0..3 {
        let reply = caller.reply("pool.list", &[], "").await;
        made.insert(
            reply
                .headers
                .get("Onex-Correlation-Id")
                .unwrap()
                .as_str()
                .to_owned(),
        );
    }
    assert_eq!(made.len(), 3);
    let release = json!({"requester_id": requester, "lease_id": lease["lease_id"]}).to_string();
    let headers = [("Onex-Correlation-Id", "the-end")];
    caller.raw("port.release", &headers, release).await.unwrap();
    let events = Events::published(&caller).await;
    let told: Vec<_> = events
        .0
        .iter()
        .map(|event| text(&event.body, "correlation_id"))
        .collect();
    assert_eq!(told, ["build-7/step.3", "the-end"]);

    let long = "x".repeat(129);
    for bad in [long.as_str(), "a b", "é"] {
        let headers = [("Onex-Correlation-Id", bad)];
        let refused = caller.raw("pool.list", &headers, "").await.unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest));
        assert_eq!(refused.detail("header"), "Onex-Correlation-Id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_minor_may_say_more() {
    let (_registry, caller) = start(&[]).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({})).await;
    let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    let all_mine = json!({"requester_id": requester});
    for (endpoint, body) in [
        ("port.lease", lease_request(requester, json!({}))),
        ("port.heartbeat", mine.clone()),
        ("port.heartbeat", all_mine),
        ("port.release", mine),
        ("port.list", json!({})),
        ("port.resolve", json!({"name": "x"})),
        ("pool.list", json!({})),
        ("describe", json!({})),
        ("help", json!({})),
    ] {
        let mut body = body;
        body["a/colour"] = json!({"deep": [1, 2]});
        let later = [("Onex-Protocol", "1.99")];
        let reply = caller
            .raw(endpoint, &later, body.to_string())
            .await
            .unwrap();
        assert_eq!(reply["ignored"], json!(["/a~1colour"]), "{endpoint}");
        for same in [vec![], vec![("Onex-Protocol", "1.0")]] {
            let refused = caller
                .raw(endpoint, &same, body.to_string())
                .await
                .unwrap_err();
            assert!(refused.is(ErrorCode::InvalidRequest), "{endpoint}");
            assert_eq!(refused.detail("pointer"), "/a~1colour", "{endpoint}");
        }
    }
    let typo = lease_request(requester, json!({"preffered_port": 20_000}));
    let refused = caller
        .refused("port.lease", typo, ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("nearest"), "preferred_port");
    for bad in ["2.0", "1", "", "1.x", "1.-1"] {
        let refused = caller
            .raw("help", &[("Onex-Protocol", bad)], "")
            .await
            .unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest));
        assert_eq!(refused.detail("header"), "Onex-Protocol", "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_asks_for_defaults_or_teaches() {
    let (_registry, caller) = start(&[]).await;
    let help = caller.raw("help", &[], "").await.unwrap();
    let endpoints = help["endpoints"].as_array().unwrap();
    let names: Vec<_> = endpoints
        .iter()
        .map(|help| text(help, "endpoint"))
        .collect();
    let all = Endpoint::ALL.map(Endpoint::name);
    assert_eq!(names, all);
    assert!(text(&help, "holders_clock").contains("highest revision"));
    let codes: BTreeSet<_> = help["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| text(error, "code"))
        .collect();
    assert_eq!(
        codes,
        ErrorCode::ALL.iter().map(|code| code.as_str()).collect()
    );
    for one in endpoints {
        let endpoint = text(one, "endpoint");
        assert_eq!(text(one, "subject"), format!("onex.registry.v1.{endpoint}"));
        let required = one["request_schema"].get("required");
        let answer = caller.raw(endpoint, &[], " \n").await;
        match endpoint {
            _ if required.is_some() => {
                let refused = answer.unwrap_err();
                assert!(refused.is(ErrorCode::InvalidRequest));
                assert_eq!(refused.detail("help"), one, "{endpoint}");
            }
            // It has no default, and no required field either.
            "port.resolve" => assert_eq!(answer.unwrap_err().detail("pointer"), "/name"),
            _ => drop(answer.unwrap()),
        }
        // What it shows works, or speaks of what there is not.
        if let Err(refused) = caller.ask(endpoint, one["example"].clone()).await {
            let not_there = refused.error["details"]["reason"] == "not_validator"
                || refused.code.ends_with("_NOT_FOUND");
            assert!(not_there, "{endpoint}: {refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_micro_service_that_counts() {
    let (_registry, caller) = start(&["--ports", "20000-20009"]).await;
    for _ in 0..3 {
        caller.lease(Uuid::new_v4(), json!({})).await;
    }
    caller.raw("port.lease", &[], "").await.unwrap_err();
    // Nobody to reply to: nothing is done.
    let body = lease_request(Uuid::new_v4(), json!({"name": "nobody"})).to_string();
    caller
        .client
        .publish(caller.subject("port.lease"), body.into())
        .await
        .unwrap();

    let pings = caller.micro("PING").await;
    assert_eq!(pings.len(), 1);
    let ping = &pings[0];
    assert_eq!(ping["type"], "io.nats.micro.v1.ping_response");
    assert_eq!(ping["name"], "onex-registry");
    assert_eq!(ping["metadata"]["ranges"], "20000-20009");
    assert_eq!(ping["metadata"]["protocol"], "1.0");
    let info = &caller.micro("INFO").await[0];
    let endpoints = info["endpoints"].as_array().unwrap();
    let names: BTreeSet<_> = endpoints.iter().map(|one| text(one, "name")).collect();
    let all = Endpoint::ALL.len();
    assert_eq!((names.len(), endpoints.len()), (all, all));
    for one in endpoints {
        assert_eq!(one["queue_group"], "onex-registry");
        let name = text(one, "name");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
            "{name}"
        );
    }
    let lease = until(
        "the message without a reply subject to be counted",
        async || {
            let stats = caller.micro("STATS").await;
            let endpoints = stats[0]["endpoints"].as_array().unwrap().clone();
            let lease = endpoints
                .into_iter()
                .find(|one| one["name"] == "port-lease")
                .unwrap();
            (lease["data"]["without_reply"] == 1).then_some(lease)
        },
    )
    .await;
    assert_eq!(
        (number(&lease, "num_requests"), number(&lease, "num_errors")),
        (4, 1)
    );
    assert_eq!(lease["last_error"], "400:INVALID_REQUEST");
    assert!(number(&lease, "processing_time") > 0);
    assert!(number(&lease, "average_processing_time") > 0);
    let page = caller.see("port.list", json!({"name": "nobody"})).await;
    assert_eq!(page["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_says_what_there_is() {
    let (_registry, caller) = start(&["--ports", "20000-20009"]).await;
    caller.lease(Uuid::new_v4(), json!({})).await;
    caller.lease(Uuid::new_v4(), json!({"host": "there"})).await;
    let described = until("both to be known", async || {
        let described = caller.see("describe", json!({})).await;
        (described["counts"]["leases"] == 2).then_some(described)
    })
    .await;
    assert_eq!(described["counts"]["hosts"], 2);
    let registry = &described["registry"];
    for (name, value) in [
        ("host", "here"),
        ("protocol", "1.0"),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(registry[name], value, "{name}");
    }
    assert_eq!(registry["probes"], false);
    let instances = described["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 1);
    assert_eq!(instances[0]["registry_id"], registry["registry_id"]);
    let pools = described["pools"].as_array().unwrap();
    assert_eq!(pools.len(), 4, "{pools:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_a_world_of_its_own() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--namespace", "ci"]);
    let mut caller = Caller::of(&registry).await;
    caller.prefix = "onex.ci.registry.v1".to_owned();
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    let described = caller.see("describe", json!({})).await;
    assert_eq!(described["registry"]["namespace"], "ci");
    let context = async_nats::jetstream::new(caller.client.clone());
    context.get_key_value("onex-registry-ci").await.unwrap();
    let view = View::named(&caller, "onex-registry-view-ci").await;
    let key = format!("port.here.tcp.{}", number(&lease, "port"));
    view.until(&key, |record| record["lease_id"] == lease["lease_id"])
        .await;
    context.get_stream("ONEX_REGISTRY_EVENTS_ci").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_wait_starts_nothing_late() {
    let (_registry, caller) = start(&[]).await;
    for bad in ["0", "-1", "x", "", "300001", "1.5"] {
        let refused = caller
            .raw("pool.list", &[("Onex-Timeout-Ms", bad)], "")
            .await
            .unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest));
        assert_eq!(refused.detail("header"), "Onex-Timeout-Ms", "{bad:?}");
    }
    // A caller with so little patience is told that nothing was done, or that nobody knows, or gets its lease; never
    // the wrong one of these.
    let requester = Uuid::new_v4();
    for _ in 0..50 {
        let body = lease_request(requester, json!({"request_id": Uuid::new_v4(), "ttl": 300}));
        let answer = caller
            .raw("port.lease", &[("Onex-Timeout-Ms", "1")], body.to_string())
            .await;
        let held = async || {
            // Behind whatever is on its way.
            let all = caller
                .get("port.heartbeat", json!({"requester_id": requester}))
                .await;
            all["renewed"].as_array().unwrap().len()
        };
        match answer {
            Ok(_) => assert_eq!(held().await, 1),
            Err(refused) => {
                assert!(refused.is(ErrorCode::StoreUnavailable), "{refused:?}");
                if refused.detail("outcome") == "none" {
                    assert_eq!(held().await, 0);
                }
            }
        }
        // The same request again finds out.
        let lease = caller.get("port.lease", body).await;
        assert_eq!(held().await, 1);
        let body = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
        caller.get("port.release", body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_superseded_gets_no_port_with_its_node() {
    let (_registry, caller) = start(&[]).await;
    let requester = Uuid::new_v4();
    let node = json!({
        "node_id": "worker", "requester_id": requester, "version": "1.0.0", "node_type": "tool",
    });
    let first = number(
        &caller.ask("node.register", node.clone()).await.unwrap(),
        "epoch",
    );
    let lease = caller
        .lease(requester, json!({"node_id": "worker", "epoch": first}))
        .await;
    assert_eq!(lease["node_id"], "worker");

    let second = number(&caller.ask("node.register", node).await.unwrap(), "epoch");
    assert!(second > first);
    let body = lease_request(requester, json!({"node_id": "worker", "epoch": first}));
    let refused = caller
        .refused("port.lease", body, ErrorCode::Superseded)
        .await;
    assert_eq!(*refused.detail("epoch"), json!(second));
    caller
        .lease(requester, json!({"node_id": "worker", "epoch": second}))
        .await;
    let body = lease_request(requester, json!({"node_id": "worker", "epoch": second + 1}));
    caller
        .refused("port.lease", body, ErrorCode::NodeNotFound)
        .await;
}
