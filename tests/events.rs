//! Who publishes events when the one that did is gone, and what happens without a stream to publish to.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use async_nats::jetstream;
use harness::{Caller, Events, Nats, Registry, until};
use onex_registry::domain::outbox::TAKEOVER_MILLIS;
use serde_json::json;
use uuid::Uuid;

mod harness;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

/// Waits until the events of one lease are there.
async fn told(caller: &Caller, lease_id: &str) {
    until("the lease to be told of", async || {
        let context = jetstream::new(caller.client.clone());
        context.get_stream("ONEX_REGISTRY_EVENTS").await.ok()?;
        let events = Events::read(caller).await;
        (events.of_lease(lease_id) == ["port.leased"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_is_not_waited_for() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let mut first = Registry::on(&nats, &ARGS);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    first.kill();

    let _second = Registry::on(&nats, &ARGS);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    let since = Instant::now();
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    // The first one can be asked for and does not answer; without that, it is waited for this long.
    assert!(since.elapsed() < Duration::from_millis(TAKEOVER_MILLIS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_stops_in_order_leaves_nothing_behind() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let mut first = Registry::on(&nats, &ARGS);
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    first.terminate();
    assert!(first.ended().0.success());
    let events = Events::read(&caller).await;
    assert_eq!(
        events.of_lease(lease["lease_id"].as_str().unwrap()),
        ["port.leased"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_that_is_removed_is_made_again() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    let context = jetstream::new(caller.client.clone());
    context.delete_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
    let lease = caller.lease(Uuid::new_v4(), json!({})).await;
    told(&caller, lease["lease_id"].as_str().unwrap()).await;
    assert!(
        registry
            .said()
            .contains("events cannot be published; trying again")
    );
}
