//! The view bucket of the core that keeps its state in an ordered log, over real servers: what people see with `nats kv get`.

use std::collections::BTreeMap;

use crate::harness::{Caller, Nats, Registry, View, until};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-29999"];

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_shows_who_holds_a_port_until_when_and_how_it_ended() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let view = View::of(&caller).await;
    let requester = Uuid::new_v4();
    let more = json!({"name": "api", "preferred_port": 20_000, "ttl": 60, "labels": ["blue"]});
    let lease = caller.lease(requester, more).await;
    let key = "port.here.tcp.20000";
    let shown = view.until(key, |shown| shown["status"] == "active").await;
    for member in [
        "lease_id",
        "requester_id",
        "name",
        "host",
        "transport",
        "ports",
        "protocol",
        "labels",
        "ttl",
        "granted_at",
        "expires_at",
        "fencing_token",
    ] {
        assert_eq!(shown[member], lease[member], "{member}: {shown:#}");
    }
    // At a glance: who, and until when, before everything else.
    let entry = caller_text(&caller, key).await;
    let place = |member: &str| entry.find(&format!("\"{member}\"")).unwrap();
    assert!(place("expires_at") < place("lease_id") && place("requester_id") < place("name"));
    let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    caller.get("port.heartbeat", mine.clone()).await;
    view.until(key, |shown| {
        time(&shown["expires_at"]) > time(&lease["expires_at"])
    })
    .await;
    caller.get("port.release", mine).await;
    let ended = view.until(key, |shown| shown["status"] == "released").await;
    assert_eq!(ended["requester_id"], lease["requester_id"]);
    assert_eq!(ended["name"], "api");
    assert_eq!(ended.get("expires_at"), None);
}

async fn caller_text(caller: &Caller, key: &str) -> String {
    let context = async_nats::jetstream::new(caller.client.clone());
    let bucket = context.get_key_value("onex-registry-view").await.unwrap();
    let body = bucket.get(key).await.unwrap().unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn leases(caller: &Caller) -> BTreeMap<String, Value> {
    let page = caller.see("port.list", json!({"limit": 1_000})).await;
    let items = page["items"].as_array().unwrap().clone();
    let key = |item: &Value| format!("port.here.tcp.{}", item["port"]);
    items.into_iter().map(|item| (key(&item), item)).collect()
}

async fn await_same(view: &View, caller: &Caller) {
    until("the view to be in line", async || {
        let leases = leases(caller).await;
        let keys: Vec<String> = leases.keys().cloned().collect();
        if view.keys().await != keys {
            return None;
        }
        for (key, lease) in leases {
            let shown = view.get(&key).await?;
            if shown["lease_id"] != lease["lease_id"] || shown["expires_at"] != lease["expires_at"]
            {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_brings_the_whole_view_in_line() {
    let nats = Nats::start();
    let mut first = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let view = View::of(&caller).await;
    for _ in 0..60 {
        caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    }
    await_same(&view, &caller).await;
    // Nobody is named now, and what somebody does to the view meanwhile is not seen by anybody.
    first.kill();
    view.put("port.here.tcp.20003", "mine").await;
    view.delete("port.here.tcp.20004").await;
    view.put("port.here.tcp.21111", "{}").await;
    view.put("hello", "world").await;
    let _second = Registry::on(&nats, &ARGS);
    caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    await_same(&view, &caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_into_the_view_is_overwritten_with_the_next_change() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let view = View::of(&caller).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({"ttl": 600})).await;
    await_same(&view, &caller).await;
    let key = format!("port.here.tcp.{}", lease["port"]);
    for round in 0..3 {
        view.put(&key, "mine").await;
        view.put("hello", "world").await;
        // The view of another lease is written behind that, and notices.
        caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
        await_same(&view, &caller).await;
        if round == 1 {
            // A bucket that is gone is made again.
            let context = async_nats::jetstream::new(caller.client.clone());
            context
                .delete_key_value("onex-registry-view")
                .await
                .unwrap();
            caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
            let again = View::of(&caller).await;
            await_same(&again, &caller).await;
        }
    }
}
