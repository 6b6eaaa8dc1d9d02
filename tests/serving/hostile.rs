//! Callers and hands that mean no good, or know no better.

use std::{io::Write as _, net::TcpStream, time::Duration};

use crate::harness::{Caller, Log, Nats, Provider, Registry, Reply, lease_request, node, until};
use async_nats::{HeaderMap, jetstream};
use futures::StreamExt as _;
use onex_registry::protocol::error::ErrorCode;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    ARGS.iter().chain(more).copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_no_key_and_no_interface() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let holder = Uuid::new_v4();
    let lease = caller.lease(holder, json!({})).await;
    let key = format!("port.here.tcp.{}", lease["port"]);
    let context = jetstream::new(caller.client.clone());
    let bucket = context.get_stream("KV_onex-registry").await.unwrap();
    let before = bucket.get_info().await.unwrap().state.last_sequence;
    let asked = [
        "onex.registry.v1.help",
        "$SRV.PING",
        "$SRV.INFO.onex-registry",
    ];
    for reply in [
        format!("$KV.onex-registry.{key}"),
        "$KV.onex-registry.sys".to_owned(),
        "$JS.API.STREAM.DELETE.KV_onex-registry".to_owned(),
        "onex.registry.v1.event.port.leased.x".to_owned(),
        "onex.registry.v1.port.list".to_owned(),
        "orders.delete".to_owned(),
    ] {
        for subject in asked {
            let sent = caller
                .client
                .publish_with_reply(subject, reply.clone(), "{}".into());
            sent.await.unwrap();
        }
    }
    // Each is counted, as one that nobody answers, and nothing was written.
    let help = until("the requests to be counted", async || {
        let stats = caller.micro("STATS").await;
        let endpoints = stats[0]["endpoints"].as_array()?;
        let help = endpoints.iter().find(|one| one["name"] == "help")?;
        let of = |count: &serde_json::Value| count.as_u64().unwrap();
        let all = of(&help["num_requests"]) + of(&help["data"]["without_reply"]);
        (all == 6).then(|| help.clone())
    })
    .await;
    assert_eq!(
        help["data"]["without_reply"], 6,
        "some of them are answered where nobody may be: {help:#}"
    );
    let mine = json!({"requester_id": holder, "lease_id": lease["lease_id"]});
    caller.get("port.heartbeat", mine).await;
    let after = bucket.get_info().await.unwrap().state.last_sequence;
    // The heartbeat, and at most the publisher's claim and its checkpoint.
    assert!(after - before <= 3, "{before} to {after}");
}

/// A registry that has rights which its callers may lack calls for them only what it was told.
#[tokio::test(flavor = "multi_thread")]
async fn registry_with_credentials_calls_only_named_subjects() {
    let nats = Nats::start();
    let url = nats.url().replace("://", "://onex:secret@");
    let start = |more: &[&'static str]| {
        let args = [&["--nats", url.as_str()], &ARGS[..], more].concat();
        let mut registry = Registry::spawn(&args);
        registry.await_ready();
        registry
    };
    let registry = start(&[]);
    let caller = Caller::connect(&nats.url()).await;
    let own = "onex.node.v1.tool.own.calc";
    let deletes = Provider::answering(&nats.url(), "orders.delete", |_| json!("gone")).await;
    let _own = Provider::answering(&nats.url(), own, |_| json!("done")).await;
    let tools = json!([
        {"name": "wipe", "version": "1.0.0", "subject": "orders.delete"},
        {"name": "own", "version": "1.0.0"},
    ]);
    let body = node(Uuid::new_v4(), "calc", json!({"tools": tools}));
    caller.get("node.register", body).await;
    let wipe = json!({"tool_name": "wipe"});
    let refused = caller.refused("tool.invoke", wipe.clone(), ErrorCode::Forbidden);
    let refused = refused.await;
    assert_eq!(refused.detail("reason"), "tool_subject");
    let message = refused.error["message"].as_str().unwrap();
    for part in ["--tool-subjects", "orders.delete", "wipe of node calc"] {
        assert!(message.contains(part), "{message}");
    }
    let dry = json!({"tool_name": "wipe", "dry_run": true});
    let said = caller.get("tool.invoke", dry).await;
    assert_eq!(said["refusal"], "FORBIDDEN");
    assert_eq!(said["candidates"][0]["reason"], "subject");
    // Whoever calls with rights of its own is told where.
    let to = caller.get("tool.resolve", wipe.clone()).await;
    assert_eq!(to["subject"], "orders.delete");
    let reply = caller.get("tool.invoke", json!({"tool_name": "own"})).await;
    assert_eq!(reply["result"], "done");
    assert_eq!(deletes.count(), 0);
    drop(registry);

    let _registry = start(&["--tool-subjects", "calc.>,orders.*"]);
    let reply = caller.get("tool.invoke", wipe).await;
    assert_eq!(reply["result"], "gone");
}

/// So has one that says nothing of who it is, where the server takes such clients for a user.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_the_server_takes_for_a_user_calls_only_named_subjects() {
    let accounts = "jetstream { store_dir: \"FOLDER/store\", sync_interval: always }\n\
        accounts { APP { jetstream: enabled, users: [\n\
          { user: registry, password: x }\n\
          { user: guest, password: y, permissions: { publish: [\"onex.>\"], subscribe: [\"_INBOX.>\"] } }\n\
        ] } }\n\
        no_auth_user: registry";
    let nats = Nats::start_with(accounts);
    let registry = Registry::on(&nats, &ARGS);
    let guest = nats.url().replace("://", "://guest:y@");
    let caller = Caller::connect(&guest).await;
    let deletes = Provider::answering(&nats.url(), "orders.delete", |_| json!("gone")).await;
    let tools = json!([{"name": "wipe", "version": "1.0.0", "subject": "orders.delete"}]);
    let body = node(Uuid::new_v4(), "calc", json!({"tools": tools}));
    caller.get("node.register", body).await;
    let wipe = json!({"tool_name": "wipe"});
    let refused = caller.refused("tool.invoke", wipe.clone(), ErrorCode::Forbidden);
    assert_eq!(refused.await.detail("reason"), "tool_subject");
    assert_eq!(deletes.count(), 0);
    assert!(
        registry.said().contains("user=\"registry\""),
        "{}",
        registry.said()
    );
    drop(registry);
    let _registry = Registry::on(&nats, &with(&["--tool-subjects", "orders.*"]));
    let reply = caller.get("tool.invoke", wipe).await;
    assert_eq!(reply["result"], "gone");
}

/// A server whose configuration has changed is another one: what it takes the registry for is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_takes_the_registry_for_is_asked_again_after_each_reconnect() {
    let open = "jetstream { store_dir: \"FOLDER/store\", sync_interval: always }";
    let users = format!(
        "{open}\nauthorization {{ users: [{{ user: registry, password: x }}] }}\nno_auth_user: registry"
    );
    let mut nats = Nats::start_with(open);
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::of(&registry).await;
    let deletes = Provider::answering(&nats.url(), "orders.delete", |_| json!("gone")).await;
    let tools = json!([{"name": "wipe", "version": "1.0.0", "subject": "orders.delete"}]);
    let body = node(Uuid::new_v4(), "calc", json!({"ttl": 3600, "tools": tools}));
    caller.get("node.register", body).await;
    let wipe = json!({"tool_name": "wipe"});
    let reply = caller.get("tool.invoke", wipe.clone()).await;
    assert_eq!(reply["result"], "gone");
    assert_eq!(deletes.count(), 1);

    nats.kill();
    nats.configure(&users);
    nats.start_again();
    let call = async || {
        let body = wipe.to_string();
        let patience = Duration::from_secs(5);
        let reply = caller.send("tool.invoke", HeaderMap::new(), body, patience);
        reply.await.ok().map(Reply::outcome)
    };
    until("it to be refused", async || {
        let answer = call().await?;
        let refused = answer.err()?;
        refused.is(ErrorCode::Forbidden).then_some(())
    })
    .await;
    assert_eq!(deletes.count(), 1);
    registry.line("knows this registry as a user");

    nats.kill();
    nats.configure(open);
    nats.start_again();
    until("it to be called", async || {
        let reply = call().await?.ok()?;
        (reply["result"] == "gone").then_some(())
    })
    .await;
    registry.line("no longer knows this registry as a user");
}

/// Whoever announces a tool that will not be called is told so at once, not when somebody calls it.
#[tokio::test(flavor = "multi_thread")]
async fn announcing_a_tool_that_is_not_called_warns() {
    let nats = Nats::start();
    let url = nats.url().replace("://", "://onex:secret@");
    let mut registry = Registry::spawn(&[&["--nats", url.as_str()], &ARGS[..]].concat());
    registry.await_ready();
    let caller = Caller::connect(&nats.url()).await;
    let me = Uuid::new_v4();
    let wipe = json!({"name": "wipe", "version": "1.0.0", "subject": "orders.delete"});
    let own = json!({"name": "own", "version": "1.0.0"});
    let check = |reply: &serde_json::Value| {
        let [warning] = reply["warnings"].as_array().unwrap().as_slice() else {
            panic!("{reply:#}");
        };
        assert_eq!(warning["code"], "TOOL_SUBJECT", "{reply:#}");
        let message = warning["message"].as_str().unwrap();
        for part in ["wipe 1.0.0", "orders.delete", "--tool-subjects"] {
            assert!(message.contains(part), "{message}");
        }
    };
    let body = node(me, "calc", json!({"tools": [wipe, own]}));
    check(&caller.get("node.register", body).await);
    let more = json!({"name": "wipe", "version": "1.1.0", "subject": "orders.delete"});
    let body = crate::harness::with(crate::harness::claim(me, "calc", 1), json!({"tool": more}));
    let mut reply = caller.get("tool.register", body).await;
    reply["warnings"][0]["message"] = json!(
        reply["warnings"][0]["message"]
            .as_str()
            .unwrap()
            .replace("1.1.0", "1.0.0")
    );
    check(&reply);
    let body = crate::harness::with(
        crate::harness::claim(me, "calc", 1),
        json!({"tool": {"name": "more", "version": "1.0.0"}}),
    );
    let reply = caller.get("tool.register", body).await;
    assert_eq!(reply["warnings"], json!([]), "{reply:#}");
    drop(registry);
    // Where nothing is refused nothing is told: this one says nothing of who it is.
    let _registry = Registry::on(&nats, &ARGS);
    let body = node(me, "text", json!({"tools": [wipe]}));
    let reply = caller.get("node.register", body).await;
    assert_eq!(reply["warnings"], json!([]), "{reply:#}");
}

/// Where no tool may listen nothing is to be named, and what leaves it all open is worth a word.
#[test]
fn tool_subjects_that_mean_nothing_or_everything_are_told_of() {
    for (subjects, why) in [
        ("$JS.>", "NATS server"),
        ("$SYS.REQ.>", "NATS server"),
        ("calc.>,$KV.onex-registry.>", "NATS server"),
        ("_INBOX.>", "clients"),
        ("onex.registry.v1.>", "registry"),
        ("onex.*.registry.>", "registry"),
        ("onex.node.v1.tool.>", "default subject"),
    ] {
        let user = crate::harness::User::new();
        let told = user.run(&format!("serve --embedded --tool-subjects {subjects}"));
        let told = told.exits(2).stderr;
        assert!(
            told.contains("--tool-subjects") && told.contains(why),
            "{subjects}: {told}"
        );
    }
    let nats = Nats::start();
    let url = nats.url().replace("://", "://onex:secret@");
    for (subjects, warns) in [
        (">", true),
        ("calc.x,*.delete", true),
        ("onex.>", true),
        ("onex.*.v1.>", true),
        ("calc.>", false),
    ] {
        let args = ["--nats", url.as_str(), "--tool-subjects", subjects];
        let mut registry = Registry::spawn(&[&args, &ARGS[..]].concat());
        registry.await_ready();
        let said = registry.said();
        let warned = said
            .lines()
            .any(|line| line.contains("WARN") && line.contains("--tool-subjects"));
        assert_eq!(warned, warns, "{subjects}: {said}");
    }
}

/// Only inboxes are answered: those of the convention, and those whose prefix the registry was told.
#[tokio::test(flavor = "multi_thread")]
async fn inbox_prefix_names_further_reply_subjects() {
    let registry = Registry::start(&with(&["--inbox-prefix", "my.inbox,_TEAM"]));
    let caller = Caller::of(&registry).await;
    let mut answers = caller.client.subscribe(">").await.unwrap();
    for reply in ["orders.delete", "my.inboxes.1", "_TEAM", "my.inbox.1"] {
        let sent = caller.client.publish_with_reply(
            caller.subject("help"),
            reply,
            r#"{"limit":0}"#.into(),
        );
        sent.await.unwrap();
    }
    // Requests of one connection are answered in any order: what is dropped is dropped before the last is answered.
    let mut seen = Vec::new();
    while !seen.contains(&"my.inbox.1".to_owned()) {
        let message = tokio::time::timeout(crate::harness::PATIENCE, answers.next()).await;
        let message = message.unwrap_or_else(|_| panic!("no answer at my.inbox.1, only {seen:?}"));
        seen.push(message.unwrap().subject.to_string());
    }
    let stats = caller.micro("STATS").await;
    let endpoints = stats[0]["endpoints"].as_array().unwrap();
    let help = endpoints.iter().find(|one| one["name"] == "help").unwrap();
    assert_eq!(help["data"]["without_reply"], 3);
    for dropped in ["orders.delete", "my.inboxes.1", "_TEAM"] {
        assert!(!seen.contains(&dropped.to_owned()), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_for_many_at_once() {
    let registry = Registry::start(&with(&["--holder-leases-max", "10", "--hosts-max", "4"]));
    let caller = Caller::of(&registry).await;
    let holder = Uuid::new_v4();
    let mut callers = JoinSet::new();
    for n in 0..150 {
        let caller = caller.clone();
        callers.spawn(async move {
            let one = caller
                .ask("port.lease", lease_request(holder, json!({})))
                .await;
            let host = json!({"host": format!("host-{n}")});
            let other = caller
                .ask("port.lease", lease_request(Uuid::new_v4(), host))
                .await;
            (one.is_ok(), other.is_ok())
        });
    }
    let outcomes = callers.join_all().await;
    assert_eq!(outcomes.iter().filter(|(one, _)| *one).count(), 10);
    // The registry's own host is the fourth.
    assert_eq!(outcomes.iter().filter(|(_, other)| *other).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_heartbeat_loses_no_lease() {
    let registry = Registry::start(&with(&["--ttl-max", "100"]));
    let caller = Caller::of(&registry).await;
    let holder = Uuid::new_v4();
    let lease = caller.lease(holder, json!({})).await;
    for which in [json!({"lease_ids": [lease["lease_id"]]}), json!({})] {
        let mut body = which;
        body["requester_id"] = json!(holder);
        body["ttl"] = json!(1000);
        let refused = caller
            .refused("port.heartbeat", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), "/ttl");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_caller_has_gone_is_not_carried_out() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let holder = Uuid::new_v4();
    registry.pause();
    let mut headers = HeaderMap::new();
    headers.insert("Onex-Timeout-Ms", "500");
    let body = lease_request(holder, json!({"ttl": 86400})).to_string();
    // Longer than the caller says that it waits, and than what a busy machine might stand still.
    let patience = Duration::from_secs(2);
    assert!(
        caller
            .send("port.lease", headers, body, patience)
            .await
            .is_err()
    );
    registry.resume();
    let seen = caller
        .see("port.list", json!({"requester_id": holder}))
        .await;
    assert_eq!(seen["items"], json!([]));
    // Whoever asks now is served.
    caller.lease(holder, json!({})).await;
}

/// Whoever can write into the log can say anything that an instance can; what no instance says stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_absurd_numbers_stops_nothing() {
    let mut registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    let log = Log::of(&caller).await;
    let key = format!("port.here.tcp.{}", lease["port"]);
    let end = json!({"end": key, "how": "expired", "cooldown_ms": u64::MAX});
    log.append(json!([end])).await;
    caller.lease(Uuid::new_v4(), json!({})).await;
    assert!(registry.runs());
    assert!(!registry.said().contains("panicked"), "{}", registry.said());
    // The port is not granted again, ever.
    let exact = json!({"preferred_port": lease["port"], "exact": true});
    let refused = caller.refused(
        "port.lease",
        lease_request(Uuid::new_v4(), exact),
        ErrorCode::PortUnavailable,
    );
    assert_eq!(refused.await.detail("state"), "resting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_registry_whose_nats_is_away() {
    let mut nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    nats.kill();
    registry.line("connecting again");
    registry.terminate();
    let (status, said) = registry.ended();
    assert!(status.success(), "{said}");
}

/// What no client library sends: the one that reads it here does not survive it.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_none_takes_no_lease_away() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let holder = Uuid::new_v4();
    let lease = caller.lease(holder, json!({})).await;
    let address = registry.url().trim_start_matches("nats://").to_owned();
    for subject in ["onex.registry.v1.port.list", "$SRV.PING"] {
        let header = "NATS/1.0\r\nA: b\rc\r\n\r\n";
        let (size, all) = (header.len(), header.len() + 2);
        let mut raw = TcpStream::connect(&address).unwrap();
        let message = format!("HPUB {subject} _INBOX.x {size} {all}\r\n{header}{{}}\r\n");
        let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
        raw.write_all(format!("{connect}{message}PING\r\n").as_bytes())
            .unwrap();
        let mine = json!({"requester_id": holder, "lease_id": lease["lease_id"]});
        until("the registry to serve", async || {
            let headers = HeaderMap::new();
            let patience = Duration::from_secs(1);
            let reply = caller
                .send("port.heartbeat", headers, mine.to_string(), patience)
                .await;
            reply.ok()?.outcome().ok()
        })
        .await;
    }
    // It has noticed.
    registry.line(" again");
}
