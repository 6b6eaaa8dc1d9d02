//! What follows from the log and no other file shows: the order of events, settings that all instances share, what is never
//! refused.

use crate::harness::{Caller, Event, Events, Nats, Registry, User, node, until};
use onex_registry::protocol::error::ErrorCode;
use serde_json::json;
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20299"];

/// What became of one lease is told in order, once, and goes on where a killed instance stopped.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_once_and_in_order_whoever_publishes() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let mut expected = 0;
    for _ in 0..3 {
        let mut instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
        for n in 0..40 {
            let requester = Uuid::new_v4();
            let lease = caller.lease(requester, json!({"ttl": 600})).await;
            expected += 1;
            if n % 2 == 0 {
                let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
                caller.get("port.release", mine).await;
                expected += 1;
            }
            if n == 20 {
                instances[0].kill();
                // What the server passes on to it meanwhile is lost.
                until("the server to know that it is gone", async || {
                    (caller.micro("PING").await.len() == 1).then_some(())
                })
                .await;
            }
        }
        // The other one takes over, with what was not out yet.
        until("all events", async || {
            (Events::read(&caller).await.0.len() >= expected).then_some(())
        })
        .await;
        instances[1].kill();
    }
    let events = Events::read(&caller).await;
    assert_eq!(events.0.len(), expected);
    assert_eq!(events.check().len(), 60);
    let ids: Vec<(u64, u64)> = events.0.iter().map(event_id).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
}

/// The revision of an event's command, and its place among that command's events.
fn event_id(event: &Event) -> (u64, u64) {
    let id = event.headers.get("ce-id").unwrap().as_str();
    let (revision, index) = id.split_once('.').unwrap();
    assert_eq!(event.body["revision"], revision.parse::<u64>().unwrap());
    (revision.parse().unwrap(), index.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_started_with_other_settings_than_the_store_has_says_both_and_stops() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &ARGS);
    let args = ["--host", "there", "--no-probe", "--retention", "2h"];
    let refusal = Registry::spawn_on(&nats, &[&args[..], &["--ports", "30000-30009"]].concat());
    let refusal = refusal.refusal_with(2);
    for words in [
        "--ports says 30000-30009, and this registry has 20000-20299",
        "--retention says 2h, and this registry has 1h",
        "leave it out",
    ] {
        assert_eq!(refusal.matches(words).count(), 1, "{words}: {refusal}");
    }
    // A variable is named as one; and a second start differs in what it says, not in what it leaves out.
    let user = User::of_registries(&nats).with("ONEX_RESERVED", "20001");
    let told = user.run("serve --host there --no-probe").exits(2).stderr;
    assert!(
        told.contains("ONEX_RESERVED says 20001, and this registry has none"),
        "{told}"
    );
    // What is not said may differ: the store has it.
    let _third = Registry::on(&nats, &["--host", "there", "--no-probe"]);
}

/// A flood of anything else takes no place of what keeps a lease or a node.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_never_refused_because_others_ask_for_much() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--in-flight-max", "4"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({"ttl": 5})).await;
    let register = node(requester, "a", json!({"ttl": 5}));
    caller.get("node.register", register).await;
    let flood = (0..64).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let mut busy = 0;
            for _ in 0..200 {
                let lease_request =
                    json!({"requester_id": Uuid::new_v4(), "protocol": "tcp", "ttl": 5});
                let refused = caller.ask("port.lease", lease_request).await.err();
                busy += usize::from(refused.is_some_and(|refused| refused.is(ErrorCode::Busy)));
            }
            busy
        })
    });
    let flood: Vec<_> = flood.collect();
    let upkeep = async {
        let mut kept = 0;
        while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
            let body = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
            caller.get("port.heartbeat", body).await;
            let body = json!({"requester_id": requester, "node_id": "a", "epoch": 1});
            caller.get("node.heartbeat", body).await;
            kept += 1;
        }
        kept
    };
    let kept = upkeep.await;
    let mut refused = 0;
    for task in flood {
        refused += task.await.unwrap();
    }
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
}
