//! The schemas of events.

use onex_types::kinds::EventKind as Kind;
use serde_json::{Value, json};

use crate::{
    event::{
        BusEvent, CE_SPECVERSION, CONTENT_TYPE, EventBody, ExecutionEvent, GapEvent, HostEvent,
        NodeEvent, PoolEvent, PortEvent, ToolEvent, TrustEvent,
    },
    examples,
    message_schema::{Message, remark},
    names::{
        HEADER_CE_ID, HEADER_CE_SOURCE, HEADER_CE_SPECVERSION, HEADER_CE_SUBJECT, HEADER_CE_TIME,
        HEADER_CE_TYPE, HEADER_CONTENT_TYPE, Namespace,
    },
    schema,
};

/// What a family of kinds is about.
enum Family {
    Port,
    Node,
    Tool,
    Host,
    Pool,
    Bus,
    Trust,
    Execution,
    Gap,
}

/// The schema of each kind.
pub(super) fn messages() -> impl Iterator<Item = Message> {
    Kind::PUBLISHED.iter().map(|kind| message(*kind))
}

fn message(of: Kind) -> Message {
    let kind = of.as_str();
    let mut schema = match family(of) {
        Family::Port => schema::of::<EventBody<PortEvent>>(),
        Family::Node => schema::of::<EventBody<NodeEvent>>(),
        Family::Tool => schema::of::<EventBody<ToolEvent>>(),
        Family::Host => schema::of::<EventBody<HostEvent>>(),
        Family::Pool => schema::of::<EventBody<PoolEvent>>(),
        Family::Bus => schema::of::<EventBody<BusEvent>>(),
        Family::Trust => schema::of::<EventBody<TrustEvent>>(),
        Family::Execution => schema::of::<EventBody<ExecutionEvent>>(),
        Family::Gap => schema::of::<EventBody<GapEvent>>(),
    };
    if let Some(event) = schema.pointer_mut("/properties/event") {
        *event = json!({"const": kind, "description": "Its kind."});
    }
    if let Some(schema) = schema.as_object_mut() {
        let subject = format!("{}.event.{kind}.<key>", Namespace::default().prefix());
        schema.insert("x-nats-subject".to_owned(), json!(subject));
        schema.insert("x-nats-headers".to_owned(), headers_schema(kind));
    }
    remark(&mut schema, description(of));
    let title = format!("Event {kind}");
    Message::new(&format!("event.{kind}"), &title, schema, vec![example(of)])
}

fn family(kind: Kind) -> Family {
    match kind {
        Kind::PortLeased
        | Kind::PortReleased
        | Kind::PortExpired
        | Kind::PortRebound
        | Kind::PortQuarantined
        | Kind::PortRevoked
        | Kind::PortUnquarantined => Family::Port,
        Kind::NodeRegistered
        | Kind::NodeRejoined
        | Kind::NodeExpired
        | Kind::NodeDeregistered
        | Kind::NodeEvicted => Family::Node,
        Kind::ToolsChanged | Kind::ToolRegistered | Kind::ToolRemoved | Kind::ToolCollision => {
            Family::Tool
        }
        Kind::HostForgotten => Family::Host,
        Kind::PoolChanged | Kind::PoolDeleted => Family::Pool,
        Kind::BusRegistered | Kind::BusRemoved => Family::Bus,
        Kind::TrustChanged => Family::Trust,
        Kind::ToolInvoked | Kind::ToolCompleted | Kind::ToolFailed => Family::Execution,
        Kind::Gap => Family::Gap,
    }
}

fn description(kind: Kind) -> &'static str {
    match kind {
        Kind::PortLeased => "A port was granted.",
        Kind::PortReleased => {
            "A holder released its lease; with outcome `in_use`: the grant of a set was taken back, because another program \
            had one of its other ports."
        }
        Kind::PortExpired => "A lease's time was up, or its node's.",
        Kind::PortRebound => {
            "A lease got another port for one that it gave up because another program was using it; the old one is quarantined."
        }
        Kind::PortQuarantined => {
            "Another program had the port, and the grant was taken back; with outcome `rebound`: a lease got another port for \
            it. Nobody gets it for a while."
        }
        Kind::PortRevoked => {
            "A lease was ended that its holder still counts on; with outcome `superseded`: its node was announced \
            in a later epoch; with outcome `revoked`: an administrator took it away, or evicted its node. The port rests."
        }
        Kind::PortUnquarantined => {
            "A port that another program was found to use can be granted again at once: an administrator said so."
        }
        Kind::NodeRegistered => "A node was announced.",
        Kind::NodeRejoined => "A node was announced again after its time had been up.",
        Kind::NodeExpired => {
            "A node's time was up; its leases, tools and buses have ended with it."
        }
        Kind::NodeDeregistered => {
            "A node took its leave; its leases, tools and buses have ended with it."
        }
        Kind::NodeEvicted => {
            "An administrator ended a node; its leases, tools and buses have ended with it, and its ports rest."
        }
        Kind::HostForgotten => {
            "An administrator had a host forgotten: its pool, its names, and the last leases of its ports."
        }
        Kind::PoolChanged => {
            "A host grants these ports from now on. Leases outside of them stay until they end."
        }
        Kind::PoolDeleted => {
            "A host has no pool of its own any more and grants the default ranges. Leases outside of them stay until they end."
        }
        Kind::ToolsChanged => "It is never published: its tools have events.",
        Kind::ToolRegistered => "A node offers a tool, or offers it under another contract.",
        Kind::ToolRemoved => "A node offers a tool no longer.",
        Kind::ToolCollision => {
            "A node offers a tool under a name and version that another node offers under another contract."
        }
        Kind::BusRegistered => "A bus was announced.",
        Kind::BusRemoved => "A bus is no more: it was taken back, or what it hung on has ended.",
        Kind::TrustChanged => "A validator judged a node, and that changed how far it is trusted.",
        Kind::ToolInvoked => "A tool is about to be run for a caller.",
        Kind::ToolCompleted => "A tool that was run for a caller has answered.",
        Kind::ToolFailed => {
            "A tool that was to be run for a caller has not answered, or not well: `executed` says whether it was run."
        }
        Kind::Gap => {
            "Events of these revisions were removed before they were published, because the store was nearly full: take a \
            new list of everything that you follow."
        }
    }
}

fn headers_schema(kind: &str) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let one = |value: &str| json!({"const": value});
    let properties = json!({
        HEADER_CE_SPECVERSION: one(CE_SPECVERSION),
        HEADER_CE_ID: text(
            "<revision>.<index>: the revision of what happened, and which of its events this is.",
        ),
        HEADER_CE_SOURCE: text("What the registry's subjects begin with."),
        HEADER_CE_TYPE: one(kind),
        HEADER_CE_SUBJECT: text("What it is about: the <key> of its subject."),
        HEADER_CE_TIME: {"type": "string", "format": "date-time", "description": "When it happened."},
        HEADER_CONTENT_TYPE: one(CONTENT_TYPE),
    });
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flat_map(|all| all.keys())
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn example(kind: Kind) -> Value {
    let requester = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
    let node = json!({"node_id": "text.summariser", "requester_id": requester, "epoch": 3});
    let about = match family(kind) {
        Family::Port => json!({
            "host": "build-7",
            "transport": "tcp",
            "port": 20_017,
            "lease_id": "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f",
            "requester_id": requester,
            "name": "api",
            "outcome": outcome(kind),
        }),
        Family::Node => node,
        Family::Tool => {
            let mut tool = node;
            if let Some(members) = tool.as_object_mut() {
                members.insert("tool_name".to_owned(), json!("summarise"));
                members.insert("tool_version".to_owned(), json!("1.2.0"));
                if kind == Kind::ToolCollision {
                    members.insert("other_node_id".to_owned(), json!("text.other"));
                }
            }
            tool
        }
        Family::Host => json!({"host": "build-8", "reason": "its machine is gone"}),
        Family::Pool => {
            let range = |first, last| json!([{"first": first, "last": last}]);
            let of = |transport: &str| json!({"transport": transport, "ranges": range(20_000, 29_999), "reserved": range(22_000, 22_000)});
            let pools = (kind == Kind::PoolChanged).then(|| json!([of("tcp"), of("udp")]));
            let description = pools.as_ref().map(|_| "for builds");
            json!({"host": "build-7", "pools": pools, "description": description})
        }
        Family::Bus => json!({
            "bus_id": "metrics", "requester_id": requester, "outcome": outcome(kind),
        }),
        Family::Trust => json!({
            "node_id": "text.summariser", "validator_id": "contract-checker", "requester_id": requester,
            "outcome": "pass", "failure_mode": null, "trust_state": "trusted", "trust_score": 1.0,
            "contract_hash": "c2:a63cd4d5d24f75a2d637afe8a85987002016d4be1325fc15b761d5cdae066303",
            "registry_lifecycle": "canary",
        }),
        Family::Execution => execution(kind),
        Family::Gap => json!({"from_revision": 4_001, "to_revision": 4_710}),
    };
    let by_itself = matches!(kind, Kind::PortExpired | Kind::NodeExpired | Kind::Gap);
    let mut example = json!({
        "event": kind.as_str(),
        "revision": 4_711,
        "at": "2026-11-22T10:04:07.600Z",
        "correlation_id": if by_itself { Value::Null } else { json!("deploy-81") },
        "registry_id": "0198f39f-0a4d-7b5e-8f60-718293a4b5c6",
        "record": record(kind),
        "n": 3,
    });
    if let (Some(example), Value::Object(about)) = (example.as_object_mut(), about) {
        example.extend(about);
        if kind == Kind::PortRebound {
            example.insert("old_port".to_owned(), json!(20_016));
        }
        let by_administrator = [
            Kind::PortRevoked,
            Kind::PortUnquarantined,
            Kind::NodeEvicted,
        ];
        if by_administrator.contains(&kind) {
            example.insert("reason".to_owned(), json!(examples::REASON));
        }
    }
    example
}

fn execution(kind: Kind) -> Value {
    let ended = kind != Kind::ToolInvoked;
    let failed = kind == Kind::ToolFailed;
    json!({
        "execution_id": "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f",
        "request_id": "0198f3a0-6c21-7a44-9b10-1f2e3d4c5b6a",
        "requester_id": "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21",
        "tool_name": "summarise", "tool_version": "1.2.0", "provider_node_id": "text.summariser",
        "contract_hash": "c2:a63cd4d5d24f75a2d637afe8a85987002016d4be1325fc15b761d5cdae066303",
        "timeout_ms": 4_000,
        "outcome": ended.then_some(if failed { "failed" } else { "completed" }),
        "code": failed.then_some("TOOL_ERROR"),
        "executed": ended.then_some("yes"),
        "duration_ms": ended.then_some(38),
        "attempts": ended.then_some(1),
        "trace_log_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    })
}

fn record(kind: Kind) -> &'static str {
    match family(kind) {
        Family::Port => "port.build-7.tcp.20017",
        Family::Node | Family::Tool => "live.text=2Esummariser",
        Family::Host => "host.build-8",
        Family::Pool => "pool.build-7",
        Family::Bus => "bus.metrics",
        Family::Execution => "call.0198f3a0-6c21-7a44-9b10-1f2e3d4c5b6a",
        Family::Gap => "sys.named",
        Family::Trust => "trust.text=2Esummariser",
    }
}

fn outcome(kind: Kind) -> Value {
    match kind {
        Kind::PortReleased | Kind::BusRemoved => json!("released"),
        Kind::PortExpired => json!("expired"),
        Kind::PortQuarantined | Kind::PortUnquarantined => json!("in_use"),
        Kind::PortRevoked => json!("revoked"),
        _ => Value::Null,
    }
}
