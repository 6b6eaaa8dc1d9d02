//! Every error that these endpoints can say, said by a real registry; and what is no request at all.

use std::time::{Duration, Instant};

use crate::harness::{
    Caller, Events, Nats, Refused, Registry, UNTRIED, User, behind_wire, lease_request, until,
};
use async_nats::jetstream;
use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

async fn start(args: &[&str]) -> (Registry, Caller) {
    let registry = Registry::start(&[&UNTRIED, args].concat());
    let caller = Caller::of(&registry).await;
    (registry, caller)
}

/// A registry says every code that it can say. `INTERNAL` is not among them: it is for faults that nobody knows how to
/// bring about.
#[tokio::test(flavor = "multi_thread")]
async fn every_code_is_said() {
    for code in ErrorCode::ALL {
        let refused = match code {
            ErrorCode::InvalidRequest => invalid_request().await,
            ErrorCode::NotHolder => not_holder().await,
            ErrorCode::LeaseNotFound => lease_not_found().await,
            ErrorCode::PoolNotFound => pool_not_found().await,
            ErrorCode::Conflict => conflict().await,
            ErrorCode::PortUnavailable => port_unavailable().await,
            ErrorCode::LeaseExpired => lease_expired().await,
            ErrorCode::IdempotencyMismatch => idempotency_mismatch().await,
            ErrorCode::StoreChanged => store_changed().await,
            ErrorCode::TooLarge => too_large().await,
            ErrorCode::LimitExceeded => limit_exceeded().await,
            ErrorCode::ResourceExhausted => resource_exhausted().await,
            ErrorCode::Stale => stale().await,
            ErrorCode::Busy => busy().await,
            ErrorCode::StoreUnavailable => store_unavailable().await,
            // Of nodes, tools, buses, schemas and trust: tests/resources/errors_nodes.rs.
            ErrorCode::Forbidden
            | ErrorCode::NodeNotFound
            | ErrorCode::ToolNotFound
            | ErrorCode::BusNotFound
            | ErrorCode::SchemaNotFound
            | ErrorCode::Superseded
            // Of calls of tools: tests/tools/invoke.rs.
            | ErrorCode::InvalidArguments
            | ErrorCode::ProviderNotFound
            | ErrorCode::ContractChanged
            | ErrorCode::ToolError
            | ErrorCode::InvalidResult
            | ErrorCode::ToolTimeout
            | ErrorCode::Internal => continue,
        };
        assert_eq!(refused.code, code.as_str(), "{:#}", refused.error);
        let of_something = matches!(
            code,
            ErrorCode::NotHolder
                | ErrorCode::LeaseNotFound
                | ErrorCode::LeaseExpired
                | ErrorCode::PortUnavailable
                | ErrorCode::PoolNotFound
                | ErrorCode::Conflict
                | ErrorCode::IdempotencyMismatch
                | ErrorCode::ResourceExhausted
        );
        let (names, _) = refused.names();
        assert_eq!(!names.is_empty(), of_something, "{:#}", refused.error);
    }
}

async fn conflict() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let pool = json!({
        "host": "there", "ranges": [{"first": 1, "last": 9}], "expected_revision": 9,
    });
    caller.refused("pool.set", pool, ErrorCode::Conflict).await
}

async fn invalid_request() -> Refused {
    let (_registry, caller) = start(&[]).await;
    for (body, pointer) in [
        (json!({"node_id": "n", "ttl": 9}), "/ttl"),
        (json!({"epoch": 1}), "/node_id"),
        (json!({"count": 0}), "/count"),
        (json!({"count": 65}), "/count"),
        (json!({"transport": "all"}), "/transport"),
        (json!({"exact": true}), "/preferred_port"),
        (json!({"labels": vec!["x"; 17]}), "/labels"),
    ] {
        let body = lease_request(Uuid::new_v4(), body);
        let refused = caller
            .refused("port.lease", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), pointer);
    }
    // The field, what was given, and what would be right.
    for (body, told) in [
        (
            json!({"ttl": 86_401}),
            "ttl must be 1 to 86400 seconds, not integer `86401`",
        ),
        (
            json!({"ttl": 0}),
            "ttl must be 1 to 86400 seconds, not integer `0`",
        ),
        (
            json!({"ttl": -5}),
            "ttl must be 1 to 86400 seconds, not integer `-5`",
        ),
        (
            json!({"ttl": "5m"}),
            "ttl must be 1 to 86400 seconds, not string \"5m\"",
        ),
        (
            json!({"ttl": 5e12}),
            "ttl must be 1 to 86400 seconds, not integer `5000000000000`",
        ),
        (
            json!({"request_id": "12"}),
            "request_id must be a UUID, as 0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21, not string \"12\"",
        ),
        (
            json!({"request_id": 12}),
            "request_id must be a UUID, as 0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21, not integer `12`",
        ),
    ] {
        let body = lease_request(Uuid::new_v4(), body);
        let refused = caller
            .refused("port.lease", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.error["message"], told);
    }
    let ids = json!({"requester_id": Uuid::nil(), "lease_ids": ["x"]});
    let refused = caller
        .refused("port.heartbeat", ids, ErrorCode::InvalidRequest)
        .await;
    let told = refused.error["message"].as_str().unwrap();
    assert!(told.starts_with("lease_ids/0 must be a UUID"), "{told}");
    let ids = vec![Uuid::nil(); 1_001];
    let id = Uuid::nil();
    for (endpoint, body, pointer) in [
        (
            "port.heartbeat",
            json!({"requester_id": id, "lease_id": id, "lease_ids": []}),
            "/lease_ids",
        ),
        (
            "port.heartbeat",
            json!({"requester_id": id, "lease_ids": ids}),
            "/lease_ids",
        ),
        ("port.resolve", json!({}), "/name"),
        ("port.resolve", json!({"name": "a", "label": "b"}), "/label"),
        ("pool.list", json!({"cursor": "x"}), "/cursor"),
        ("describe", json!({"cursor": "=.tcp"}), "/cursor"),
    ] {
        let refused = caller
            .refused(endpoint, body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), pointer, "{endpoint}");
    }
    caller
        .refused("port.lease", json!({}), ErrorCode::InvalidRequest)
        .await
}

async fn not_holder() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    let other = json!({"requester_id": Uuid::new_v4(), "lease_id": lease["lease_id"]});
    caller
        .refused("port.heartbeat", other.clone(), ErrorCode::NotHolder)
        .await;
    caller
        .refused("port.release", other, ErrorCode::NotHolder)
        .await
}

async fn lease_not_found() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let never = json!({"requester_id": Uuid::new_v4(), "lease_id": Uuid::new_v4()});
    caller
        .refused("port.heartbeat", never.clone(), ErrorCode::LeaseNotFound)
        .await;
    caller
        .refused("port.release", never, ErrorCode::LeaseNotFound)
        .await
}

async fn pool_not_found() -> Refused {
    let (_registry, caller) = start(&["--known-hosts-only"]).await;
    let elsewhere = lease_request(Uuid::new_v4(), json!({"host": "elsewhere"}));
    let refused = caller
        .refused("port.lease", elsewhere, ErrorCode::PoolNotFound)
        .await;
    assert_eq!(refused.detail("host"), "elsewhere");
    refused
}

async fn port_unavailable() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let exact = |port| {
        lease_request(
            Uuid::new_v4(),
            json!({"preferred_port": port, "exact": true}),
        )
    };
    let port = caller.lease(Uuid::new_v4(), json!({})).await["port"].clone();
    let refused = caller
        .refused(
            "port.lease",
            exact(port.clone()),
            ErrorCode::PortUnavailable,
        )
        .await;
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains(&format!("port {port}")), "{message}");
    caller
        .refused("port.lease", exact(json!(1)), ErrorCode::PortUnavailable)
        .await
}

async fn lease_expired() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({})).await;
    let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    caller.get("port.release", mine.clone()).await;
    caller
        .refused("port.heartbeat", mine, ErrorCode::LeaseExpired)
        .await
}

async fn idempotency_mismatch() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let (requester, request) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .lease(requester, json!({"request_id": request}))
        .await;
    let other = lease_request(requester, json!({"request_id": request, "ttl": 61}));
    caller
        .refused("port.lease", other, ErrorCode::IdempotencyMismatch)
        .await
}

/// What a bucket had is gone, and an operator has accepted that.
async fn store_changed() -> Refused {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::connect(&nats.url()).await;
    let lost = caller.lease(Uuid::new_v4(), json!({})).await;
    registry.terminate();
    assert!(registry.ended().0.success());
    User::lose_log(&nats).await;
    let _registry = Registry::on(&nats, &UNTRIED);
    let before = json!({"min_revision": lost["revision"]});
    let page = caller.get("port.list", json!({})).await;
    assert!(page["revision"].as_u64().unwrap() > 1 << 40, "{page:#}");
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    assert!(lease["fencing_token"].as_u64() > lost["fencing_token"].as_u64());
    caller
        .refused("port.list", before, ErrorCode::StoreChanged)
        .await
}

async fn too_large() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let mut body = lease_request(Uuid::new_v4(), json!({})).to_string();
    body.push_str(&" ".repeat(64 * 1024 + 1 - body.len()));
    let refused = caller
        .raw("port.lease", &[], body.clone())
        .await
        .unwrap_err();
    assert_eq!(refused.detail("limit"), 64 * 1024);
    body.pop();
    caller.raw("port.lease", &[], body).await.unwrap();
    refused
}

async fn limit_exceeded() -> Refused {
    let (_registry, caller) = start(&["--holder-leases-max", "2", "--hosts-max", "2"]).await;
    let requester = Uuid::new_v4();
    let first = caller.lease(requester, json!({"host": "there"})).await;
    // Bounds are judged by what an instance has seen: what is under way can pass them.
    let seen = |more: Value, lease: &Value| {
        let mut body = lease_request(requester, more);
        body["min_revision"] = lease["revision"].clone();
        body
    };
    let third = seen(json!({"host": "elsewhere"}), &first);
    let refused = caller
        .refused("port.lease", third, ErrorCode::LimitExceeded)
        .await;
    assert_eq!(
        (refused.detail("limit"), refused.detail("bound")),
        (&json!(2), &json!("hosts"))
    );
    let lease = caller.lease(requester, json!({})).await;
    let refused = caller
        .refused(
            "port.lease",
            seen(json!({}), &lease),
            ErrorCode::LimitExceeded,
        )
        .await;
    assert_eq!(refused.detail("limit"), 2);
    caller
        .get(
            "port.release",
            json!({"requester_id": requester, "lease_id": lease["lease_id"]}),
        )
        .await;
    caller.lease(requester, json!({})).await;
    refused
}

async fn resource_exhausted() -> Refused {
    let (_registry, caller) = start(&["--ports", "20000"]).await;
    caller.lease(Uuid::new_v4(), json!({"ttl": 10})).await;
    let refused = caller
        .refused(
            "port.lease",
            lease_request(Uuid::new_v4(), json!({})),
            ErrorCode::ResourceExhausted,
        )
        .await;
    let after = refused.error["retry_after_ms"].as_u64().unwrap();
    assert!((5_000..=11_000).contains(&after), "{after}");
    refused
}

async fn stale() -> Refused {
    let (_registry, caller) = start(&[]).await;
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    let next = lease["revision"].as_u64().unwrap() + 1_000;
    let refused = caller
        .refused("port.list", json!({"min_revision": next}), ErrorCode::Stale)
        .await;
    assert!(refused.detail("revision").as_u64().unwrap() < next);
    refused
}

/// One request is under way and hangs; there is room for no other.
async fn busy() -> Refused {
    let (_nats, wire, _registry, caller) = behind_wire(&["--in-flight-max", "1"]).await;
    wire.silence_store();
    let body = lease_request(Uuid::new_v4(), json!({})).to_string();
    let hangs = tokio::spawn({
        let caller = caller.clone();
        async move {
            // It may come while another request is under way.
            loop {
                let headers = [("Onex-Timeout-Ms", "60000")];
                match caller.raw("port.lease", &headers, body.clone()).await {
                    Err(refused) if refused.is(ErrorCode::Busy) => {}
                    answer => return answer,
                }
            }
        }
    });
    let refused = until("a refusal", async || {
        caller.ask("help", json!({})).await.err()
    })
    .await;
    assert!(refused.error["retry_after_ms"].as_u64().is_some());
    wire.mend();
    hangs.await.unwrap().unwrap();
    until("room", async || caller.ask("help", json!({})).await.ok()).await;
    refused
}

/// Events that cannot be published delay nothing: a port goes from holder to holder, and what became of it is told once
/// that can be.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_are_published_later_and_delay_nothing() {
    let (_registry, caller) = start(&["--ports", "20000-20001"]).await;
    let context = jetstream::new(caller.client.clone());
    // One that were deleted would be made again.
    let mut stream = context.get_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
    let roomy = stream.info().await.unwrap().config.clone();
    let full = jetstream::stream::Config {
        max_message_size: 1,
        ..roomy.clone()
    };
    context.update_stream(&full).await.unwrap();
    let requester = Uuid::new_v4();
    let exact = lease_request(requester, json!({"preferred_port": 20_000, "exact": true}));
    let mut leases = Vec::new();
    for _ in 0..8 {
        let lease = caller.get("port.lease", exact.clone()).await;
        let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
        caller.get("port.heartbeat", mine.clone()).await;
        caller.get("port.release", mine).await;
        leases.push(lease["lease_id"].clone());
    }
    assert!(Events::read(&caller).await.0.is_empty());
    context.update_stream(&roomy).await.unwrap();
    let events = until("all events", async || {
        let events = Events::read(&caller).await;
        (events.0.len() >= 2 * leases.len()).then_some(events)
    })
    .await;
    assert!(events.check().is_empty());
    let told = events.0.iter().map(|event| event.body["lease_id"].clone());
    let twice = leases
        .iter()
        .flat_map(|lease| [lease.clone(), lease.clone()]);
    assert_eq!(told.collect::<Vec<_>>(), twice.collect::<Vec<_>>());
}

/// Nothing is heard of what was written: it may have been done, and the same request again finds out. What was not written
/// was not done; nor is anything without a bucket.
async fn store_unavailable() -> Refused {
    let (_nats, wire, _registry, caller) = behind_wire(&[]).await;
    wire.silence_store();
    let requester = Uuid::new_v4();
    let request = || lease_request(requester, json!({"request_id": Uuid::new_v4()})).to_string();
    let (first, second) = (request(), request());
    let soon = [("Onex-Timeout-Ms", "500")];
    let before = Instant::now();
    let unknown = caller.raw("port.lease", &soon, first.clone()).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.detail("outcome"), "unknown", "{:#}", unknown.error);
    // One entry at a time is under way.
    let none = caller.raw("port.lease", &soon, second).await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(none.detail("outcome"), "none", "{:#}", none.error);
    wire.mend();
    let lease = until("the request to be settled", async || {
        let answer = caller.raw("port.lease", &[], first.clone()).await;
        answer
            .inspect_err(|refused| {
                assert!(refused.is(ErrorCode::StoreUnavailable), "{refused:?}");
            })
            .ok()
    })
    .await;
    let page = caller
        .see("port.list", json!({"requester_id": requester}))
        .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page:#}");
    assert_eq!(page["items"][0]["lease_id"], lease["lease_id"]);

    let context = jetstream::new(caller.client.clone());
    context.delete_stream("KV_onex-registry").await.unwrap();
    // The first one may be in an entry that was sent: of that nobody hears any more.
    let first = caller.raw("port.lease", &soon, request()).await;
    assert!(first.unwrap_err().is(ErrorCode::StoreUnavailable));
    let none = caller.raw("port.lease", &soon, request()).await;
    let none = none.unwrap_err();
    assert_eq!(none.detail("outcome"), "none", "{:#}", none.error);
    assert!(none.is(ErrorCode::StoreUnavailable));
    let body = json!({"requester_id": requester}).to_string();
    let none = caller.raw("port.heartbeat", &soon, body).await.unwrap_err();
    assert_eq!(none.detail("outcome"), "none", "{:#}", none.error);
    unknown
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_and_the_next_request_served() {
    let (mut registry, caller) = start(&[]).await;
    let good = lease_request(Uuid::new_v4(), json!({"ttl": 5})).to_string();
    let most = caller.client.server_info().max_payload;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    let mut bodies: Vec<Vec<u8>> = vec![
        deep("[", "]").into(),
        deep("{\"a\":", "}").into(),
        format!(
            "{}{}",
            &good[..good.len() - 1],
            format_args!(",\"x\":{}}}", deep("[", "]"))
        )
        .into(),
        good.replace("http", "\u{0}").into(),
        good.replace('{', "[").into(),
        format!("[{good}]").into(),
        format!("{good}{good}").into(),
        format!("\u{feff}{good}").into(),
        format!("{good}\0").into(),
        b"null".to_vec(),
        b"0".to_vec(),
        b"\"\"".to_vec(),
        b"{}{}".to_vec(),
        b"{\"requester_id\":NaN}".to_vec(),
        b"\0\0\0\0".to_vec(),
        vec![0xff; 100],
        good.replace("http", "ht\\ud800tp").into(),
        vec![b'{'; 65_536],
        vec![b' '; 65_537],
        vec![b'x'; most - 200],
        good.bytes()
            .chain(std::iter::repeat_n(b' ', most - 200 - good.len()))
            .collect(),
    ];
    let mut invalid = good.clone().into_bytes();
    let at = good.find("http").unwrap();
    invalid[at] = 0xc3;
    invalid[at + 1] = 0x28;
    bodies.push(invalid);
    // Cut off anywhere.
    bodies.extend((1..good.len()).map(|end| good.as_bytes()[..end].to_vec()));
    for endpoint in Endpoint::ALL.map(Endpoint::name) {
        // The other endpoints share the parser; a few of each are enough.
        let share = if endpoint == "port.lease" { 1 } else { 5 };
        for body in bodies.iter().step_by(share) {
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let refused = caller.raw(endpoint, &[], body.clone()).await;
            let refused = refused.expect_err(&shown);
            let known = [ErrorCode::InvalidRequest, ErrorCode::TooLarge];
            assert!(
                known.iter().any(|code| refused.is(*code)),
                "{endpoint} {shown}: {refused:?}"
            );
        }
        caller.raw("port.lease", &[], good.clone()).await.unwrap();
    }
    // Headers that say nothing sensible, many of them, and a body of each kind with nobody to reply to.
    let long = "x".repeat(20_000);
    let headers = [
        ("X-Long", long.as_str()),
        ("Onex-Unknown", "1"),
        ("traceparent", "garbage"),
        ("Onex-Identity", "me"),
    ];
    caller
        .raw("port.lease", &headers, good.clone())
        .await
        .unwrap();
    let before = requests(&caller).await;
    for body in &bodies {
        for endpoint in ["port.lease", "help"] {
            caller
                .client
                .publish(caller.subject(endpoint), body.clone().into())
                .await
                .unwrap();
        }
    }
    until("them to be counted", async || {
        let now = requests(&caller).await;
        (now.1 >= before.1 + 2 * bodies.len() as u64).then_some(())
    })
    .await;
    assert_eq!(
        requests(&caller).await.0,
        before.0,
        "nothing was done for them"
    );
    caller.raw("port.lease", &[], good).await.unwrap();
    assert!(registry.runs());
    assert!(!registry.said().contains("panicked"), "{}", registry.said());
}

/// Requests that were answered, and messages without a reply subject.
async fn requests(caller: &Caller) -> (u64, u64) {
    let stats = caller.micro("STATS").await;
    let endpoints = stats[0]["endpoints"].as_array().unwrap();
    endpoints.iter().fold((0, 0), |(requests, without), one| {
        (
            requests + one["num_requests"].as_u64().unwrap(),
            without + one["data"]["without_reply"].as_u64().unwrap(),
        )
    })
}
