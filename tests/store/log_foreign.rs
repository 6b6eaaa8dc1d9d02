//! What others write into the streams of the core that keeps its state in an ordered log, and a store that is full, over real
//! servers.

use crate::harness::{Caller, Events, Nats, Refused, Registry, View, lease_request, until};
use async_nats::{
    HeaderMap,
    jetstream::{self, stream::Stream},
};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20299"];
const LOG: &str = "$KV.onex-registry.log";

fn mine(lease: &Value) -> Value {
    json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]})
}

fn headers(of: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in of {
        headers.insert(*name, value.as_str());
    }
    headers
}

/// A lease is granted, renewed and released.
async fn works(caller: &Caller) {
    let lease = caller.lease(Uuid::new_v4(), json!({"ttl": 60})).await;
    caller.get("port.heartbeat", mine(&lease)).await;
    caller.get("port.release", mine(&lease)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_messages_in_each_stream_stop_nothing_and_change_nothing() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    let kept = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    let key = format!("port.here.tcp.{}", kept["port"]);
    let view = View::of(&caller).await;
    view.until(&key, |shown| shown["lease_id"] == kept["lease_id"])
        .await;
    let log = context.get_stream("KV_onex-registry").await.unwrap();
    let last = log.get_info().await.unwrap().state.last_sequence;
    let own = log.get_raw_message(last).await.unwrap();
    let forged = format!("{0} {0} 2 0 0", "0".repeat(31) + "9");
    let messages = [
        (LOG, headers(&[]), "garbage"),
        // A marker, as `nats kv del` writes it.
        (LOG, headers(&[("KV-Operation", "DEL".to_owned())]), ""),
        (LOG, headers(&[("Onex-Entry", forged)]), "{}"),
        // A copy of an entry.
        (
            LOG,
            headers(&[(
                "Onex-Entry",
                own.headers.get("Onex-Entry").unwrap().to_string(),
            )]),
            "{}",
        ),
        (
            "onex.registry.v1.event.port.leased.x",
            headers(&[]),
            "garbage",
        ),
        (
            "onex.registry.v1.event.port.leased.x",
            headers(&[("ce-id", "999999999.0".to_owned())]),
            "{}",
        ),
        ("$KV.onex-registry-view.hello", headers(&[]), "garbage"),
        (
            "$KV.onex-registry-view.port.here.tcp.20299",
            headers(&[("KV-Operation", "DEL".to_owned())]),
            "",
        ),
    ];
    for _ in 0..3 {
        for (subject, headers, body) in messages.clone() {
            let published = context
                .publish_with_headers(subject, headers, body.into())
                .await;
            published.unwrap().await.unwrap();
            works(&caller).await;
        }
    }
    // The server takes no message that stands for the whole history.
    let purge = headers(&[("Nats-Rollup", "sub".to_owned())]);
    let purged = context.publish_with_headers(LOG, purge, "".into()).await;
    assert!(purged.unwrap().await.is_err());
    registry.line("somebody else writes there");
    // One lease that lasts; of the others all three things.
    let expected = 1 + 3 * messages.len() * 2;
    let ours = |event: &&crate::harness::Event| event.headers.get("ce-source").is_some();
    until("all events", async || {
        let events = read_events(&caller).await;
        (events.iter().filter(ours).count() == expected).then_some(())
    })
    .await;
    assert!(registry.runs());
    until("the view", async || {
        (view.get("hello").await.is_none()).then_some(())
    })
    .await;
    registry.kill();
    let _registry = Registry::on(&nats, &ARGS);
    caller.get("port.heartbeat", mine(&kept)).await;
    works(&caller).await;
}

/// Those whose bodies are JSON.
async fn read_events(caller: &Caller) -> Vec<crate::harness::Event> {
    Events::read_json(caller).await.0
}

async fn ask(caller: &Caller) -> Result<Value, Refused> {
    caller
        .ask(
            "port.lease",
            lease_request(Uuid::new_v4(), json!({"ttl": 600})),
        )
        .await
}

/// Fills it until so many hundredths of it are used.
async fn fill(context: &jetstream::Context, stream: &Stream, percent: u64) {
    let config = stream.get_info().await.unwrap().config;
    let limit = u64::try_from(config.max_bytes).unwrap() * percent / 100;
    while stream.get_info().await.unwrap().state.bytes < limit {
        let junk = vec![b'x'; 500_000];
        let published = context.publish(LOG, junk.into()).await.unwrap();
        published.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_nearly_full_renews_and_releases_and_grants_again_when_it_was_cut_short() {
    let size = ["--store-bytes-max", "8388608"];
    let args = [&ARGS[..], &size].concat();
    let nats = Nats::start();
    let mut first = Registry::on(&nats, &args);
    let caller = Caller::connect(&nats.url()).await;
    let context = jetstream::new(caller.client.clone());
    let stream = context.get_stream("KV_onex-registry").await.unwrap();
    assert_eq!(stream.get_info().await.unwrap().config.max_bytes, 8_388_608);
    let leases = [ask(&caller).await.unwrap(), ask(&caller).await.unwrap()];
    let second = Registry::on(&nats, &args);
    // For the next ten seconds nobody is named who could cut the log short.
    first.kill();
    fill(&context, &stream, 92).await;
    let refused = until("a refusal", async || ask(&caller).await.err()).await;
    assert!(refused.is(ErrorCode::StoreUnavailable), "{refused:?}");
    assert_eq!(refused.detail("outcome"), "none");
    let message = refused.error["message"].as_str().unwrap();
    assert!(
        message.contains("full") && message.contains("--store-bytes-max"),
        "{message}"
    );
    caller.get("port.heartbeat", mine(&leases[0])).await;
    caller.get("port.release", mine(&leases[1])).await;
    until("leases to be granted again", async || {
        ask(&caller).await.ok()
    })
    .await;
    let info = stream.get_info().await.unwrap();
    assert!(info.state.bytes < 8_388_608 / 2, "{}", info.state.bytes);
    drop(second);
    let size = ["--store-bytes-max", "16777216"];
    let _third = Registry::on(&nats, &[&ARGS[..], &size].concat());
    assert_eq!(
        stream.get_info().await.unwrap().config.max_bytes,
        16_777_216
    );
    caller.get("port.heartbeat", mine(&leases[0])).await;
}
