//! What of a bucket becomes which record.

use serde_json::{Value as Json, json};

use crate::{key::Key, lease::LeaseEnd};

use super::{Converted, Message, Value, convert};

const THEN: &str = "2026-11-30T18:00:00Z";
const NODE: &str = "01a22dc7-5350-75d9-8aae-4774256ceeb0";
const EARLIER: &str = "01a22dc7-5350-75d9-8aae-000000000000";

fn message(key: &str, sequence: u64, body: &Json) -> Message {
    Message {
        key: key.to_owned(),
        sequence,
        value: Value::Body(body.to_string().into_bytes()),
    }
}

fn record(body: &Json) -> Json {
    let mut record = json!({"format": 1, "write": NODE, "transitions": 1, "outbox": []});
    let members = body.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(members);
    record
}

fn lease(port: u16, node: Option<&str>) -> Json {
    let mut lease = json!({
        "lease_id": NODE, "requester_id": NODE, "protocol": "http", "ttl": 60, "ports": [port],
        "granted_at": THEN, "renewed_at": THEN, "granted": 3, "unanswered": true,
    });
    if let Some(incarnation) = node {
        lease["node"] = json!({"node_id": "a", "incarnation": incarnation});
    }
    record(&json!({ "lease": lease }))
}

fn node() -> [Message; 2] {
    let node = json!({"incarnation": NODE, "registration": {
        "version": "1.0.0", "node_type": "tool", "contract_hash": "c2:x", "base_hash": "c2:y", "bytes": 9,
    }});
    let live = json!({
        "incarnation": NODE, "epoch": 2, "requester_id": NODE, "ttl": 60, "registered_at": THEN,
        "renewed_at": THEN, "superseded_ttl": 90,
    });
    [
        message("node.a", 10, &record(&json!({ "node": node }))),
        message("live.a", 11, &record(&json!({ "live": live }))),
    ]
}

fn converted(messages: &[Message]) -> Converted {
    convert(messages, 40, THEN.parse().unwrap())
}

fn cooldown_of(converted: &Converted, key: &str) -> u64 {
    let key: Key = key.parse().unwrap();
    let found = converted.records.iter().find(|(other, _)| *other == key);
    found.unwrap().1.cooldown().unwrap().cooldown_ms
}

#[test]
fn a_lease_keeps_the_highest_token_that_its_holder_was_told() {
    let sys = json!({"format": 1, "lineage": 2, "ttl_max": 100});
    let messages = [
        message("sys", 1, &sys),
        message("port.h.tcp.80", 7, &lease(80, None)),
    ];
    let converted = converted(&messages);
    let [(_, record)] = &*converted.records else {
        panic!("{converted:?}")
    };
    assert_eq!(record.lease().unwrap().fence, (2 << 44) + 7);
    assert_eq!(converted.revision, (2 << 44) + 40);
    assert_eq!(converted.left, []);
}

#[test]
fn what_belongs_to_an_earlier_life_cools_down_for_as_long_as_its_holder_counts_on_it() {
    let [node, live] = node();
    let messages = [
        message("port.h.tcp.80", 7, &lease(80, Some(EARLIER))),
        message("port.h.tcp.81", 8, &lease(81, Some(NODE))),
        node,
        live,
    ];
    let converted = converted(&messages);
    assert_eq!(converted.left, []);
    let keys: Vec<String> = converted
        .records
        .iter()
        .map(|it| it.0.to_string())
        .collect();
    // A lease is ended as soon as its node is found not to be there.
    assert_eq!(keys, ["node.a", "live.a", "port.h.tcp.80", "port.h.tcp.81"]);
    let live = converted.records[1].1.live().unwrap();
    let [past] = &*live.past else {
        panic!("{live:?}")
    };
    assert_eq!(past.incarnation.to_string(), EARLIER);
    assert_eq!((past.how, past.ttl.seconds()), (LeaseEnd::Superseded, 90));
}

#[test]
fn a_port_of_which_nothing_can_be_read_is_reserved_for_the_longest_ttl() {
    let sys = json!({"format": 1, "lineage": 0, "ttl_max": 100});
    let messages = [
        message("sys", 1, &sys),
        message("port.h.tcp.80", 7, &json!({"format": 2})),
        message("port.h.tcp.81", 8, &lease(82, None)),
        message("port.h.tcp.83", 9, &lease(83, Some(EARLIER))),
        Message {
            value: Value::Removed,
            ..message("port.h.tcp.84", 10, &json!({}))
        },
    ];
    let converted = converted(&messages);
    let left: Vec<&str> = converted.left.iter().map(|left| &*left.key).collect();
    assert_eq!(left.len(), 4, "{left:?}");
    for key in left {
        assert_eq!(cooldown_of(&converted, key), 100_000 + 100 + 500, "{key}");
    }
    assert_eq!(converted.counts.leases, 0);
}

#[test]
fn changes_that_were_not_published_are_counted() {
    let mut one = lease(80, None);
    one["outbox"] = json!([{"n": 1, "revision": 5}, {"n": 2}]);
    let checkpoint = json!({"format": 1, "owner": NODE, "out_to": 6});
    let messages = [
        message("port.h.tcp.80", 7, &one),
        message("sys.checkpoint", 9, &checkpoint),
    ];
    assert_eq!(converted(&messages).counts.unpublished, 1);
}
