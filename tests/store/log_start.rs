//! Starts from snapshots, of the core that keeps its state in an ordered log, over real servers: from every kind of place at which
//! a log can end.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::{Caller, Log, Nats, Proxy, Registry, until};
use async_nats::{
    HeaderMap,
    jetstream::{self, consumer::DeliverPolicy},
};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-29999"];
/// After so many bytes of entries, and twice those of the last one, a snapshot is due.
const FREQUENT: [&str; 2] = ["--snapshot-bytes", "20000"];
/// So many that one of the snapshots takes several entries.
const LEASES: usize = 220;

/// An entry as it stands in the log.
struct Stored {
    headers: HeaderMap,
    payload: Bytes,
    body: Value,
}

/// A chunk of a snapshot: its number, and whether it is the last one.
fn chunk(stored: &Stored) -> Option<(u64, bool)> {
    let changes = stored.body["cmds"].as_array().unwrap().iter();
    let changes = changes.flat_map(|command| command["do"].as_array().into_iter().flatten());
    let mut chunks = changes.filter_map(|change| change.get("chunk"));
    let chunk = chunks.next()?;
    Some((chunk["n"].as_u64().unwrap(), chunk["last"] == true))
}

/// The tokens of the leases that these entries granted, by lease.
fn granted(entries: &[Stored]) -> BTreeMap<String, u64> {
    let commands = entries
        .iter()
        .flat_map(|stored| stored.body["cmds"].as_array().unwrap());
    let changes = commands.flat_map(|command| command["do"].as_array().into_iter().flatten());
    let leases =
        changes.filter_map(|change| change.get("lease").filter(|_| change.get("put").is_some()));
    leases
        .map(|lease| {
            (
                lease["lease_id"].as_str().unwrap().to_owned(),
                lease["fence"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// A log with several snapshots.
async fn log() -> Vec<Stored> {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &[&ARGS[..], &FREQUENT].concat());
    let caller = Caller::connect(&nats.url()).await;
    let labels: Vec<String> = (0..16).map(|n| format!("{n}-{}", "x".repeat(57))).collect();
    for _ in 0..LEASES {
        let more = json!({"ttl": 600, "labels": labels});
        caller.lease(Uuid::new_v4(), more).await;
    }
    drop(registry);
    let context = jetstream::new(caller.client.clone());
    let stream = context.get_stream("KV_onex-registry").await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let config = jetstream::consumer::pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let messages = consumer.messages().await.unwrap();
    let count = usize::try_from(last).unwrap();
    let entries = messages.take(count).map(|message| {
        let message = message.unwrap();
        Stored {
            headers: message.headers.clone().unwrap(),
            body: serde_json::from_slice(&message.payload).unwrap(),
            payload: message.payload.clone(),
        }
    });
    entries.collect().await
}

/// A server with the first of these entries.
async fn with_entries(entries: &[Stored]) -> Nats {
    let nats = Nats::start();
    let options = onex_log::Options {
        nats: onex_registry::connect::Options::at(nats.url()),
        bucket: "onex-registry".to_owned(),
        replicas: Some(1),
        size: onex_log::Size::or(None, 64 << 20),
    };
    onex_log::open(options).await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = jetstream::new(client);
    for Stored {
        headers, payload, ..
    } in entries
    {
        let sent =
            context.publish_with_headers("$KV.onex-registry.log", headers.clone(), payload.clone());
        sent.await.unwrap().await.unwrap();
    }
    nats
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_starts_wherever_a_log_with_snapshots_ends() {
    let entries = log().await;
    let place = |wanted: &dyn Fn((u64, bool)) -> bool| {
        let found = entries
            .iter()
            .position(|stored| chunk(stored).is_some_and(wanted));
        found.unwrap()
    };
    let whole = place(&|(n, last)| n == 0 && last);
    let begun = place(&|(n, last)| n == 0 && !last);
    let complete = place(&|(n, last)| n > 0 && last);
    let ends = [
        ("only its first entry", 1),
        ("right before a snapshot", whole),
        ("right behind a snapshot that no entry names", whole + 1),
        ("behind a snapshot that one entry names", whole + 2),
        ("with entries behind a snapshot", whole + 9),
        ("in a snapshot, behind its first chunk", begun + 1),
        ("in a snapshot, before its last chunk", complete),
        ("right behind a snapshot of several chunks", complete + 1),
        ("with all there is", entries.len()),
    ];
    for (what, end) in ends {
        let head = &entries[..end];
        let nats = with_entries(head).await;
        // Each is the same store, on a machine that knows nothing of it.
        let state = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_onex"));
        command.env("XDG_STATE_HOME", state.path()).arg("serve");
        command.args(["--nats", &nats.url()]).args(ARGS);
        let mut registry = Registry::spawn_command(command, false);
        registry.await_ready();
        let caller = Caller::connect(&nats.url()).await;
        let page = caller.see("port.list", json!({"limit": 1_000})).await;
        let mut items = page["items"].as_array().unwrap().clone();
        let mut page = page;
        while let Some(cursor) = page["next_cursor"].as_str() {
            page = caller
                .see("port.list", json!({"limit": 1_000, "cursor": cursor}))
                .await;
            items.extend(page["items"].as_array().unwrap().clone());
        }
        let found: BTreeMap<String, u64> = items
            .iter()
            .map(|item| {
                (
                    item["lease_id"].as_str().unwrap().to_owned(),
                    item["fencing_token"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, granted(head), "{what}: {end} of {}", entries.len());
        // It goes on above all that was there.
        let lease = caller.lease(Uuid::new_v4(), json!({})).await;
        let highest = found.values().max().copied().unwrap_or_default();
        assert!(lease["fencing_token"].as_u64().unwrap() > highest, "{what}");
        registry.kill();
    }
}

/// Of two that find no message in a new log one begins it before the other has looked whether the log ever had one.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_another_instance_begins_during_the_start_has_not_gone_back() {
    const LAST: &str = "STREAM.MSG.GET.KV_onex-registry";
    let nats = Nats::start();
    let wires = [Proxy::to(&nats.url()).await, Proxy::to(&nats.url()).await];
    let mut registries = Vec::new();
    for wire in &wires {
        wire.hold_after(LAST);
        let url = wire.url();
        let args = [&["--nats", url.as_str()], &ARGS[..]].concat();
        registries.push(Registry::spawn(&args));
    }
    futures::future::join_all(wires.iter().map(Proxy::held)).await;
    wires[1].mend();
    let log = Log::of(&Caller::connect(&nats.url()).await).await;
    until("the log to begin", async || {
        (log.last().await > 0).then_some(())
    })
    .await;
    wires[0].mend();
    for registry in &mut registries {
        registry.await_ready();
    }
}
