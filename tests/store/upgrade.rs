//! From a bucket of the first storage format to a log: `onex doctor --upgrade`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use crate::harness::{Caller, Nats, Registry, User, View, terminal};
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures::StreamExt as _;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-29999"];
/// The last message of each key, as a registry of that format had written them.
const MESSAGES: &str = include_str!("../tables/format_one.jsonl");
const BUCKET: &str = "$KV.onex-registry.";
const ALICE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BOB: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// The request ids that those messages have.
fn request(n: u8) -> String {
    format!("11111111-0000-4000-8000-00000000000{n}")
}

/// A server with a bucket as the first format has it.
struct Bucket {
    nats: Nats,
    caller: Caller,
    context: jetstream::Context,
}

impl Bucket {
    async fn start() -> Self {
        let nats = Nats::start();
        let caller = Caller::connect(&nats.url()).await;
        let context = jetstream::new(caller.client.clone());
        let config = jetstream::stream::Config {
            name: "KV_onex-registry".to_owned(),
            subjects: vec![format!("{BUCKET}>")],
            max_messages_per_subject: 1,
            discard: jetstream::stream::DiscardPolicy::New,
            deny_delete: true,
            deny_purge: true,
            allow_direct: true,
            allow_message_ttl: true,
            ..jetstream::stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
        let this = Self {
            nats,
            caller,
            context,
        };
        for line in MESSAGES.lines() {
            let message: Value = serde_json::from_str(line).unwrap();
            let subject = message["subject"].as_str().unwrap();
            let key = subject.strip_prefix(BUCKET).unwrap();
            this.put(key, message["body"].to_string()).await;
        }
        this
    }

    async fn put(&self, key: &str, body: impl Into<Bytes>) -> u64 {
        let stored = self
            .context
            .publish(format!("{BUCKET}{key}"), body.into())
            .await;
        stored.unwrap().await.unwrap().sequence
    }

    async fn remove(&self, key: &str) {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        let subject = format!("{BUCKET}{key}");
        let stored = self
            .context
            .publish_with_headers(subject, headers, "".into());
        stored.await.unwrap().await.unwrap();
    }

    fn user(&self) -> User {
        User::of_registries(&self.nats)
    }

    fn refused(&self) -> String {
        Registry::spawn_on(&self.nats, &ARGS).ended().1
    }
}

/// The record of a lease, of that port.
fn lease_record(port: u16) -> Value {
    let line = MESSAGES
        .lines()
        .find(|line| line.contains("port.here.udp.20001"));
    let mut message: Value = serde_json::from_str(line.unwrap()).unwrap();
    let lease = &mut message["body"]["lease"];
    lease["ports"] = json!([port]);
    lease["lease_id"] = json!(Uuid::new_v4());
    message["body"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_promised_goes_on_in_the_log() {
    let bucket = Bucket::start().await;
    let held = bucket.put("port.here.tcp.20010", lease_record(20010).to_string());
    let held = held.await;
    let said = bucket.refused();
    assert!(said.contains("`onex doctor --upgrade"), "{said}");
    let done = bucket.user().run("doctor --upgrade -o json").json();
    assert_eq!(done["upgraded"], true, "{done:#}");
    for (what, count) in [
        ("leases", 4),
        ("ports", 1),
        ("nodes", 3),
        ("buses", 1),
        ("trust", 1),
        ("calls", 1),
        ("executions", 1),
        ("hosts", 1),
        ("left", 0),
    ] {
        assert_eq!(done[what], count, "{what} {done:#}");
    }
    assert!(done["revision"].as_u64().unwrap() > held, "{done:#}");
    assert_eq!(done["kept_as"], "ONEX_FORMAT_1_onex-registry");
    let again = bucket.user().run("doctor --upgrade -o json").json();
    assert_eq!(again, json!({"upgraded": false}));

    let mut registry = Registry::on(&bucket.nats, &ARGS);
    let caller = &bucket.caller;
    let listed = caller.get("port.list", json!({"port": 20000})).await;
    let lease = listed["items"][0].clone();
    assert_eq!(lease["lease_id"], "01a22dc7-4e87-70cd-970c-81cac5f398c5");
    assert_eq!(lease["requester_id"], ALICE);
    assert_eq!(lease["name"], "web.main");
    assert_eq!(lease["labels"], json!(["blue"]));
    assert_eq!(lease["ttl"], 86_400);
    let fence = lease["fencing_token"].as_u64().unwrap();
    assert!(fence <= held, "{lease:#}");
    let renew = json!({"requester_id": ALICE, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", renew).await;
    assert_eq!(renewed["fencing_token"], fence);

    // Retries of what was asked for before are answered as then.
    let retry = json!({
        "requester_id": ALICE, "protocol": "http", "ttl": 86400, "name": "web.main", "labels": ["blue"],
        "request_id": request(1), "preferred_port": 20000,
    });
    let retried = caller.get("port.lease", retry.clone()).await;
    assert_eq!(retried["lease_id"], lease["lease_id"]);
    let mut other = retry;
    other["ttl"] = json!(60);
    caller
        .refused("port.lease", other, ErrorCode::IdempotencyMismatch)
        .await;
    let released = json!({
        "requester_id": ALICE, "lease_id": "01a22dc7-5101-7356-9fb7-91131fe45033", "request_id": request(4),
    });
    let released = caller.get("port.release", released).await;
    assert_eq!(released["status"], "released");
    let call = json!({"tool_name": "add", "arguments": {"a": 1}, "request_id": request(8)});
    let call = caller.get("tool.invoke", call).await;
    assert_eq!(call["result"], json!({"sum": 3}), "{call:#}");

    // Nobody else gets a port that is held, and a new lease has a higher token than any that was known.
    let wanted = json!({"requester_id": Uuid::new_v4(), "protocol": "http", "preferred_port": 20000, "exact": true});
    caller
        .refused("port.lease", wanted, ErrorCode::PortUnavailable)
        .await;
    let new = caller.lease(Uuid::new_v4(), json!({})).await;
    assert!(new["fencing_token"].as_u64() > Some(held), "{new:#}");

    // Nodes live on, with what belongs to them.
    let node = caller.get("describe", json!({"node_id": "calc"})).await;
    assert_eq!(node["tools"][0]["name"], "add", "{node:#}");
    assert_eq!(node["trust"]["registry_lifecycle"], "frozen", "{node:#}");
    let beat = json!({"node_id": "calc", "requester_id": ALICE, "epoch": 1});
    caller.get("node.heartbeat", beat.clone()).await;
    let buses = caller.get("bus.list", json!({})).await;
    assert_eq!(buses["items"][0]["endpoint_uri"], "nats://here:4222");
    let judge = json!({"node_id": "judge", "requester_id": BOB, "epoch": 1});
    caller.get("node.heartbeat", judge).await;
    caller.get("node.deregister", beat).await;
    let listed = caller.get("port.list", json!({"port": 20003})).await;
    assert_eq!(listed["items"], json!([]), "it ended with its node");
    let view = View::of(caller).await;
    view.until("port.here.tcp.20000", |it| {
        it["lease_id"] == lease["lease_id"]
    })
    .await;
    assert!(registry.runs());

    // What was in the bucket is kept, and nothing of it is needed.
    let kept = bucket
        .context
        .get_stream("ONEX_FORMAT_1_onex-registry")
        .await;
    let kept = kept.unwrap().get_info().await.unwrap();
    assert!(kept.config.sealed);
    assert_eq!(kept.state.messages, MESSAGES.lines().count() as u64 + 1);
    let gone = bucket.context.delete_stream("ONEX_FORMAT_1_onex-registry");
    gone.await.unwrap();
    registry.terminate();
    registry.ended();
    let _registry = Registry::on(&bucket.nats, &ARGS);
    let again = bucket.user().run("doctor --upgrade").exits(0);
    assert!(
        again.stdout.contains("Nothing to upgrade"),
        "{}",
        again.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_whose_record_cannot_be_read_stays_reserved() {
    let bucket = Bucket::start().await;
    bucket.put("port.here.tcp.20050", "garbage").await;
    bucket.remove("port.here.tcp.20051").await;
    bucket.put("port.here.tcp.20052", "{\"format\":2}").await;
    bucket.put("live.broken", "{}").await;
    bucket.put("something.else", "{}").await;
    let (ours, theirs) = terminal(80, 60);
    let done = Command::new(env!("CARGO_BIN_EXE_onex"))
        .args(["doctor", "--upgrade", "--nats", &bucket.nats.url()])
        .env("XDG_STATE_HOME", Registry::state_folder())
        .stdout(theirs)
        .status()
        .unwrap();
    assert!(done.success());
    let mut shown = String::new();
    let lines = BufReader::new(ours).lines();
    // At its end there is an error: nobody has the other side open.
    for line in lines.map_while(Result::ok) {
        assert!(line.chars().count() <= 80, "{line}");
        shown += &line;
        shown.push('\n');
    }
    for said in [
        "port.here.tcp.20050",
        "somebody removed it",
        "it has format 2",
        "live.broken",
        "something.else",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let _registry = Registry::on(&bucket.nats, &ARGS);
    for port in [20050, 20051, 20052] {
        let wanted = json!({
            "requester_id": Uuid::new_v4(), "protocol": "http", "preferred_port": port, "exact": true,
        });
        bucket
            .caller
            .refused("port.lease", wanted, ErrorCode::PortUnavailable)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_upgraded_under_an_instance_that_runs() {
    let bucket = Bucket::start().await;
    let client = bucket.caller.client.clone();
    let mut asked = client
        .subscribe("onex.registry.v1.peer.instances")
        .await
        .unwrap();
    client.flush().await.unwrap();
    // As instances of that format say who they are.
    let identity = json!({
        "name": "onex-registry", "id": Uuid::new_v4().simple().to_string(), "version": "0.1.0",
        "metadata": {"host": "there", "registry_id": Uuid::new_v4()},
    });
    let answers = tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            let reply = message.reply.unwrap();
            client
                .publish(reply, identity.to_string().into())
                .await
                .unwrap();
        }
    });
    let told = bucket.user().run("doctor --upgrade").exits(1).stderr;
    assert!(
        told.contains("an instance of this registry runs, on host there"),
        "{told}"
    );
    answers.abort();
    let _ = answers.await;
    let kept = bucket.context.get_stream("KV_onex-registry").await.unwrap();
    let kept = kept.get_info().await.unwrap();
    assert_eq!(kept.config.subjects, [format!("{BUCKET}>")]);
    assert_eq!(kept.state.messages, MESSAGES.lines().count() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_killed_at_any_time_is_gone_on_with() {
    const PORTS: std::ops::Range<u16> = 21_000..22_500;
    let bucket = Bucket::start().await;
    for port in PORTS {
        let key = format!("port.here.tcp.{port}");
        bucket.put(&key, lease_record(port).to_string()).await;
    }
    let url = bucket.nats.url();
    // Whether the bucket was there at each kill.
    let mut kills = Vec::new();
    for patience in (1..).map(|n| Duration::from_millis(50 * n)) {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_onex"))
            .args(["doctor", "--upgrade", "--nats", &url])
            .env("XDG_STATE_HOME", Registry::state_folder())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Whatever it has done by then.
        tokio::time::sleep(patience).await;
        if let Some(status) = doctor.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        doctor.kill().unwrap();
        doctor.wait().unwrap();
        let stream = bucket.context.get_stream("KV_onex-registry").await;
        let is_there = stream.is_ok_and(|it| it.cached_info().config.max_messages_per_subject == 1);
        if kills.last() != Some(&is_there) {
            let said = bucket.refused();
            assert!(said.contains("`onex doctor --upgrade"), "{said}");
            assert_eq!(said.contains("broken off"), !is_there, "{said}");
        }
        kills.push(is_there);
    }
    assert_eq!(kills.first(), Some(&true), "{kills:?}");
    assert_eq!(kills.last(), Some(&false), "{kills:?}");
    let _registry = Registry::on(&bucket.nats, &ARGS);
    let caller = &bucket.caller;
    let mut found = 0;
    let mut cursor = Value::Null;
    loop {
        let request = json!({"requester_id": BOB, "limit": 1000, "cursor": cursor});
        let page = caller.get("port.list", request).await;
        found += page["items"].as_array().unwrap().len();
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(found, PORTS.len() + 1);
}
