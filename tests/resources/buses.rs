//! Buses as `docs/protocol.md` describes them: announced, active as what they end with is, ended, and forgotten.

use crate::harness::{Caller, Events, Log, Nats, Registry, claim, node, until, with};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

async fn start(args: &[&str]) -> (Registry, Caller) {
    let registry = Registry::start(&[&ARGS, args].concat());
    let caller = Caller::of(&registry).await;
    (registry, caller)
}

fn bus(owner: Uuid, bus_id: &str, more: Value) -> Value {
    with(
        json!({
            "bus_id": bus_id, "protocol": "redis", "endpoint_uri": "redis://h:6379", "requester_id": owner,
        }),
        more,
    )
}

/// The buses of a list, each with whether it is active.
async fn listed(caller: &Caller, filter: Value) -> Vec<(String, bool)> {
    let page = caller.see("bus.list", filter).await;
    let items = page["items"].as_array().unwrap();
    let of = |item: &Value| {
        let id = item["bus_id"].as_str().unwrap().to_owned();
        (id, item["active"].as_bool().unwrap())
    };
    items.iter().map(of).collect()
}

async fn active(caller: &Caller, bus_id: &str) -> Option<bool> {
    let all = listed(caller, json!({})).await;
    all.into_iter()
        .find(|(id, _)| id == bus_id)
        .map(|(_, active)| active)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_hides_a_secret_is_refused() {
    let (_registry, caller) = start(&[]).await;
    for uri in [
        "redis://h:6379/?pass%2577ord=secret",
        "redis://u%3Asecret%40h:6379",
        "redis://u:secret＠h:6379",
        "redis://u:secret%EF%BC%A0h:6379",
        "redis://h:6379/%FF%2540secret",
        "{\"url\":\"nats://h:4222\",\"password\":\"secret\"}",
        "nats://h/%7B%22token%22%3A%22secret%22%7D",
        "nats://h,{\"pass\":\"secret\"}",
        "scott/secret@h:1521/orcl",
        "mongodb+srv://u/secret@h/db",
        "//u/secret@h",
        "nats://u:secret",
        "amqp://guest:secret:5672/",
        "http://u:secret\\u0040h/",
        "http://h/a=secret&b=c",
        "http://h/;v=secret@x/",
        "http://h/auth:secret/",
        "http://h/x@secret",
        "http://h/x/http://u:secret@o/",
        "http://h/user:secret@other/x",
        "http://h/a%23secret",
        "Password:secret;Server:h",
        "h:6379,ssl=True,secret",
        "${PASS:-secret}",
        "data:text/plain,secret",
        "http://::1]/",
        "http:///",
        "DataSource=",
    ] {
        let body = bus(Uuid::new_v4(), "queue", json!({"endpoint_uri": uri}));
        let refused = caller
            .refused("bus.register", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), "/endpoint_uri", "{uri}");
        let told = refused.error.to_string();
        assert!(!told.contains("secret"), "{uri}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_says_where_it_is_and_no_more() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let uri = "redis://user:secret@h:6379/0?password=x&db=1&sig=y&x-other=z#frag";
    let more = json!({"endpoint_uri": uri, "inbound": false});
    let reply = caller.get("bus.register", bus(owner, "queue", more)).await;
    let stripped = "redis://h:6379/0?db=1";
    assert_eq!(
        (&reply["bus_id"], &reply["status"]),
        (&json!("queue"), &json!("accepted"))
    );
    assert_eq!(reply["endpoint_uri"], stripped);
    // What was taken away is told, but not its value.
    let warnings = &reply["warnings"];
    assert_eq!(warnings[0]["code"], "URI_STRIPPED", "{warnings}");
    let message = warnings[0]["message"].as_str().unwrap();
    for part in [
        "/endpoint_uri: ",
        "user information",
        "settings",
        "a fragment",
    ] {
        assert!(message.contains(part), "{message}");
    }
    for value in ["secret", "user:", "x-other", "frag#"] {
        assert!(!message.contains(value), "{message}");
    }
    let page = caller.see("bus.list", json!({})).await;
    let item = &page["items"][0];
    assert_eq!(item["endpoint_uri"], stripped);
    for (name, value) in [
        ("bus_id", json!("queue")),
        ("protocol", json!("redis")),
        ("inbound", json!(false)),
        ("outbound", json!(true)),
        ("active", json!(true)),
        ("requester_id", json!(owner)),
    ] {
        assert_eq!(item[name], value, "{name}");
    }
    for unmeasured in [
        "subscriber_count",
        "messages_per_sec",
        "health_check_passed",
    ] {
        assert_eq!(item.get(unmeasured), Some(&Value::Null), "{unmeasured}");
    }
    assert!(item.get("node_id").is_none() && item.get("lease_id").is_none());
    // The secret is nowhere: not in the log, not in an event.
    let events = Events::published(&caller).await;
    for event in &events.0 {
        assert!(!event.body.to_string().contains("secret"));
    }
    let log = Log::of(&caller).await.text().await;
    assert!(log.contains(stripped));
    assert!(!log.contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_removed_wherever_an_address_has_them() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    for (uri, kept) in [
        ("http://me:secret@h/x", "http://h/x"),
        ("nats://secret@h:4222,secret@i:4222", "nats://h:4222,i:4222"),
        (
            "http://h/?url=http%3A%2F%2Fu:secret%40o&db=1",
            "http://h/?db=1",
        ),
        (
            "http://h/?schema={\"password\":\"secret\"}&db=1",
            "http://h/?db=1",
        ),
        ("http://h/a#secret", "http://h/a"),
        ("http://h/a?db=1", "http://h/a?db=1"),
        // A value that is none of that setting's.
        ("http://h/a?ssl=secret&db=1", "http://h/a?db=1"),
        (
            "http://h/a?timeout=secret&timeout=30s",
            "http://h/a?timeout=30s",
        ),
        (
            "http://h/a?version=secret1&version=1.2",
            "http://h/a?version=1.2",
        ),
        ("http://h/a?mode=secret;mode=rw", "http://h/a?mode=rw"),
        (
            "http://h/a?sslmode=secret&sslmode=verify-full",
            "http://h/a?sslmode=verify-full",
        ),
        (
            "http://h/a?encoding=secret&charset=utf8",
            "http://h/a?charset=utf8",
        ),
        ("http://h/a?protocol=my-secret&qos=1", "http://h/a?qos=1"),
        ("http://h/a?topic=secretAKIAIOSFODNN7EXAMPLE", "http://h/a"),
        (
            "http://h/a?host=secret550e8400e29b41d4a716446655440000",
            "http://h/a",
        ),
        (
            "http://h/a?topic=orders.eu.*",
            "http://h/a?topic=orders.eu.*",
        ),
    ] {
        let more = json!({"endpoint_uri": uri});
        let reply = caller.get("bus.register", bus(owner, "queue", more)).await;
        assert_eq!(reply["endpoint_uri"], kept, "{uri}");
        let warnings = reply["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), usize::from(uri != kept), "{uri}: {reply}");
        assert!(!reply.to_string().contains("secret"), "{reply}");
    }
    let log = Log::of(&caller).await.text().await;
    assert!(log.contains("http://h/a?topic=orders.eu.*"));
    assert!(!log.contains("secret"));
    // And of a node's ports, each with its place.
    let port = |name: &str, uri: &str| json!({"name": name, "port": 80, "protocol": "http", "endpoint_uri": uri});
    let ports = [port("a", "http://h/a"), port("b", "http://me:secret@h/b")];
    let node = node(owner, "n", json!({"inbound_ports": ports}));
    let reply = caller.get("node.register", node).await;
    let warnings = reply["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{reply}");
    assert_eq!(warnings[0]["code"], "URI_STRIPPED");
    let message = warnings[0]["message"].as_str().unwrap();
    let told = "/inbound_ports/1/endpoint_uri: user information removed";
    assert!(message.starts_with(told), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_is_active_as_its_node_is() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let of_node = || bus(owner, "queue", json!({"node_id": "calc"}));
    caller
        .refused("bus.register", of_node(), ErrorCode::NodeNotFound)
        .await;
    caller.register(owner, "calc", json!({})).await;
    caller.get("bus.register", of_node()).await;
    assert_eq!(
        listed(&caller, json!({"node_id": "calc"})).await,
        [("queue".to_owned(), true)]
    );
    caller.get("node.heartbeat", claim(owner, "calc", 1)).await;
    assert_eq!(active(&caller, "queue").await, Some(true));
    caller.get("node.deregister", claim(owner, "calc", 1)).await;
    // At once, not when somebody has written it down.
    assert_eq!(active(&caller, "queue").await, Some(false));
    caller
        .refused("bus.register", of_node(), ErrorCode::NodeNotFound)
        .await;
    // Another life of the node does not bring it back; announcing it again does.
    caller.register(owner, "calc", json!({})).await;
    assert_eq!(active(&caller, "queue").await, Some(false));
    caller.get("bus.register", of_node()).await;
    assert_eq!(active(&caller, "queue").await, Some(true));
    let events = Events::published(&caller).await;
    assert_eq!(
        events.about("bus_id", "queue"),
        ["bus.registered", "bus.removed", "bus.registered"]
    );
    let removed = events.of_kind("bus.removed");
    assert_eq!(removed[0].body["outcome"], "released");
    assert_eq!(removed[0].body["requester_id"], json!(owner));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_bus_is_told_before_it_begins_again() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    for _ in 0..20 {
        caller.register(owner, "calc", json!({})).await;
        // The next life has just ended the bus of the one before, and nobody may have written that down yet.
        caller
            .get(
                "bus.register",
                bus(owner, "queue", json!({"node_id": "calc"})),
            )
            .await;
    }
    let events = Events::published(&caller).await;
    let told = events.about("bus_id", "queue");
    let expected = ["bus.registered", "bus.removed"].into_iter().cycle();
    assert_eq!(told, expected.take(39).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_is_active_as_its_lease_is() {
    let (_registry, caller) = start(&[]).await;
    let (owner, other) = (Uuid::new_v4(), Uuid::new_v4());
    let unknown = bus(owner, "queue", json!({"lease_id": Uuid::now_v7()}));
    caller
        .refused("bus.register", unknown, ErrorCode::LeaseNotFound)
        .await;
    let foreign = caller.lease(other, json!({})).await;
    let foreign = bus(owner, "queue", json!({"lease_id": foreign["lease_id"]}));
    caller
        .refused("bus.register", foreign, ErrorCode::NotHolder)
        .await;
    // Released, and expired.
    for ttl in [60, 1] {
        let lease = caller.lease(owner, json!({"ttl": ttl})).await;
        let on = bus(owner, "queue", json!({"lease_id": lease["lease_id"]}));
        caller.get("bus.register", on.clone()).await;
        if ttl == 60 {
            assert_eq!(active(&caller, "queue").await, Some(true));
            let mine = json!({"requester_id": owner, "lease_id": lease["lease_id"]});
            caller.get("port.release", mine).await;
            assert_eq!(active(&caller, "queue").await, Some(false));
        }
        until("the bus to be inactive", async || {
            (active(&caller, "queue").await == Some(false)).then_some(())
        })
        .await;
        caller
            .refused("bus.register", on, ErrorCode::LeaseExpired)
            .await;
    }
    // Of a lease that ends with a node it ends with both.
    caller.register(owner, "calc", json!({})).await;
    let lease = caller.lease(owner, json!({"node_id": "calc"})).await;
    let on = bus(
        owner,
        "both",
        json!({"lease_id": lease["lease_id"], "node_id": "calc"}),
    );
    caller.get("bus.register", on).await;
    assert_eq!(active(&caller, "both").await, Some(true));
    caller.get("node.deregister", claim(owner, "calc", 1)).await;
    assert_eq!(active(&caller, "both").await, Some(false));
    until("the end to be told", async || {
        let events = Events::published(&caller).await;
        let told = events.about("bus_id", "both") == ["bus.registered", "bus.removed"];
        told.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_belongs_to_who_announced_it() {
    let (_registry, caller) = start(&[]).await;
    let (owner, other) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("bus.register", bus(owner, "queue", json!({})))
        .await;
    let remove = |who: Uuid| json!({"bus_id": "queue", "requester_id": who});
    for (endpoint, body) in [
        ("bus.register", bus(other, "queue", json!({}))),
        ("bus.deregister", remove(other)),
    ] {
        let refused = caller.refused(endpoint, body, ErrorCode::NotHolder).await;
        assert_eq!(
            refused.error["message"],
            "bus queue belongs to another requester"
        );
    }
    // Again, changed: a refresh, of which nothing is told.
    caller
        .get(
            "bus.register",
            bus(owner, "queue", json!({"endpoint_uri": "redis://other"})),
        )
        .await;
    let page = caller.see("bus.list", json!({})).await;
    assert_eq!(page["items"][0]["endpoint_uri"], "redis://other");
    let reply = caller.get("bus.deregister", remove(owner)).await;
    assert_eq!(reply["status"], "removed");
    assert!(reply.get("endpoint_uri").is_none());
    assert_eq!(active(&caller, "queue").await, Some(false));
    assert_eq!(
        caller.get("bus.deregister", remove(owner)).await["status"],
        "removed"
    );
    // One that has ended is nobody's, and anybody's.
    caller
        .refused("bus.deregister", remove(other), ErrorCode::BusNotFound)
        .await;
    caller
        .get("bus.register", bus(other, "queue", json!({})))
        .await;
    assert_eq!(active(&caller, "queue").await, Some(true));
    let unknown = json!({"bus_id": "nothing", "requester_id": owner});
    caller
        .refused("bus.deregister", unknown, ErrorCode::BusNotFound)
        .await;
    let events = Events::published(&caller).await;
    assert_eq!(
        events.about("bus_id", "queue"),
        ["bus.registered", "bus.removed", "bus.registered"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_idempotent() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let request = Uuid::new_v4();
    let first = bus(owner, "queue", json!({"request_id": request}));
    caller.get("bus.register", first.clone()).await;
    let log = Log::of(&caller).await;
    assert_eq!(
        caller.get("bus.register", first.clone()).await["status"],
        "accepted"
    );
    assert_eq!(log.about("bus.queue", 0).await.len(), 1);
    let other = bus(
        owner,
        "queue",
        json!({"request_id": request, "inbound": false}),
    );
    caller
        .refused("bus.register", other, ErrorCode::IdempotencyMismatch)
        .await;
    let remove = json!({"bus_id": "queue", "requester_id": owner});
    caller.get("bus.deregister", remove).await;
    // What comes late does not bring it back, and says how it is.
    let late = caller.get("bus.register", first).await;
    assert_eq!(late["status"], "removed");
    assert!(late.get("endpoint_uri").is_none());
    assert_eq!(active(&caller, "queue").await, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_has_ended_is_forgotten_in_time() {
    let nats = Nats::start();
    let args = [&ARGS[..], &["--retention", "2", "--buses-max", "1"]].concat();
    let mut registry = Registry::on(&nats, &args);
    let caller = Caller::connect(&nats.url()).await;
    let owner = Uuid::new_v4();
    caller
        .get("bus.register", bus(owner, "queue", json!({})))
        .await;
    let refused = caller
        .refused(
            "bus.register",
            bus(owner, "next", json!({})),
            ErrorCode::LimitExceeded,
        )
        .await;
    assert_eq!(
        (refused.detail("bound"), refused.detail("limit")),
        (&json!("buses"), &json!(1))
    );
    caller
        .get(
            "bus.deregister",
            json!({"bus_id": "queue", "requester_id": owner}),
        )
        .await;
    assert_eq!(active(&caller, "queue").await, Some(false));
    registry.kill();
    registry = Registry::on(&nats, &args);
    assert_eq!(active(&caller, "queue").await, Some(false));
    until("the bus to be forgotten", async || {
        active(&caller, "queue").await.is_none().then_some(())
    })
    .await;
    let commands = Log::of(&caller).await.about("bus.queue", 0).await;
    assert_eq!(commands.last().unwrap().changes(), [("del", "bus.queue")]);
    let gone = json!({"bus_id": "queue", "requester_id": owner});
    caller
        .refused("bus.deregister", gone, ErrorCode::BusNotFound)
        .await;
    // There is room again, for this one or another.
    caller
        .get("bus.register", bus(owner, "queue", json!({})))
        .await;
    assert_eq!(active(&caller, "queue").await, Some(true));
    registry.kill();
    registry = Registry::on(&nats, &args);
    assert_eq!(active(&caller, "queue").await, Some(true));
    let events = Events::published(&caller).await;
    assert_eq!(
        events.about("bus_id", "queue"),
        ["bus.registered", "bus.removed", "bus.registered"]
    );
    drop(registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn buses_are_listed_in_order_and_filtered() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "calc", json!({})).await;
    for (bus_id, more) in [
        ("c", json!({"protocol": "jetstream"})),
        ("a", json!({"node_id": "calc"})),
        ("b", json!({})),
    ] {
        caller.get("bus.register", bus(owner, bus_id, more)).await;
    }
    let ids = async |filter: Value| -> Vec<String> {
        let all = listed(&caller, filter).await;
        all.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids(json!({})).await, ["a", "b", "c"]);
    assert_eq!(ids(json!({"protocol": "redis"})).await, ["a", "b"]);
    assert_eq!(ids(json!({"node_id": "calc"})).await, ["a"]);
    assert_eq!(
        ids(json!({"node_id": "nobody"})).await,
        Vec::<String>::new()
    );
    let first = caller.see("bus.list", json!({"limit": 2})).await;
    assert_eq!(first["next_cursor"], "b");
    let second = caller
        .see("bus.list", json!({"limit": 2, "cursor": "b"}))
        .await;
    assert_eq!(second["items"][0]["bus_id"], "c");
    assert!(second.get("next_cursor").is_none());
    let bad = json!({"cursor": "a b"});
    caller
        .refused("bus.list", bad, ErrorCode::InvalidRequest)
        .await;
}
