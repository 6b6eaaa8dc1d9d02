//! Every field of every endpoint: taken with a right value, refused by name with a wrong one; and the errors that
//! several endpoints share, at each of them. `tests/project/traffic.rs` counts what is missing.
//!
//! A new endpoint: its requests in [`right`], which together have every field.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::harness::{Caller, Nats, Refused, Registry, UNTRIED, User, behind_wire, until, with};
use futures::future::join_all;
use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use onex_registry::protocol::json::JSON_LEVELS_MAX;
use onex_registry::protocol::names::PROTOCOL_MINOR;
use serde_json::{Value, json};
use uuid::Uuid;

/// A caller that waits this long is told that the store does not answer, and does not hold the test up.
const SHORT: [(&str, &str); 1] = [("Onex-Timeout-Ms", "2000")];

/// What requests can name: made anew for each endpoint, so that none is in another one's way.
struct World {
    requester: Uuid,
    /// Of the port `leased` on the host `here`.
    lease_id: Value,
    leased: Value,
    /// The port of another one.
    leased_too: Value,
    /// A port on the host `there` that nobody was given.
    port: u16,
    /// A node in its first epoch. It offers `add` 1.0.0.
    node: String,
    /// Of that node.
    contract_hash: Value,
    /// Of its tool.
    tool_hash: Value,
    /// Another one, of type validator.
    validator: String,
    /// A bus that ends with the node.
    bus: String,
    /// A host with a pool of its own.
    pooled: String,
    pool_revision: Value,
    revision: u64,
}

impl World {
    async fn of(caller: &Caller) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        let requester = Uuid::new_v4();
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let named = |what: &str| format!("{what}-{port}");
        let (node, validator, bus) = (named("node"), named("validator"), named("bus"));
        let lease = caller.lease(requester, json!({"name": "api"})).await;
        let leased_too = caller.lease(requester, json!({})).await["port"].clone();
        let announced = |node_id: &str, node_type: &str, tools: Value| {
            json!({
                "node_id": node_id, "requester_id": requester, "version": "1.0.0", "node_type": node_type,
                "tools": tools,
            })
        };
        let tools = json!([{"name": "add", "version": "1.0.0"}]);
        let body = announced(&node, "tool", tools);
        caller.get("node.register", body).await;
        let body = announced(&validator, "validator", json!([]));
        caller.get("node.register", body).await;
        let body = json!({
            "bus_id": bus, "protocol": "redis", "endpoint_uri": "redis://here", "requester_id": requester,
            "node_id": node,
        });
        caller.get("bus.register", body).await;
        let pooled = named("pooled");
        let body = json!({"host": pooled, "ranges": [{"first": 1, "last": 9}]});
        let announced = caller.get("pool.set", body).await;
        let trust = caller.see("trust.get", json!({"node_id": node})).await;
        let tool = json!({"tool_name": "add", "provider_node_id": node});
        let tool = caller.see("tool.resolve", tool).await;
        Self {
            requester,
            lease_id: lease["lease_id"].clone(),
            leased: lease["port"].clone(),
            leased_too,
            port,
            node,
            contract_hash: trust["contract_hash"].clone(),
            tool_hash: tool["contract_hash"].clone(),
            validator,
            bus,
            pooled,
            pool_revision: announced["revision"].clone(),
            revision: announced["revision"].as_u64().unwrap(),
        }
    }

    /// The body with what names the node, its requester and its epoch.
    fn of_node(&self, more: Value) -> Value {
        with(
            json!({"node_id": self.node, "requester_id": self.requester, "epoch": 1}),
            more,
        )
    }
}

/// Requests that are taken; together they have every field that may be there.
#[allow(clippy::too_many_lines, reason = "one table")]
fn right(endpoint: Endpoint, world: &World) -> Vec<Value> {
    let World {
        requester,
        lease_id,
        port,
        node,
        validator,
        bus,
        revision,
        ..
    } = world;
    let (request, port_cursor, pool_cursor) = (Uuid::new_v4(), "port.here.tcp.1", "h.tcp");
    match endpoint {
        Endpoint::PortLease => vec![
            json!({
                "requester_id": requester, "protocol": "http", "ttl": 30, "host": "there", "transport": "tcp",
                "preferred_port": port, "exact": true, "count": 1, "contiguous": false, "name": "api.v1",
                "labels": ["team: blue"], "request_id": request, "requested_at": "2026-11-22T10:04:07Z",
                "holder": {"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"},
                "min_revision": revision,
            }),
            json!({"requester_id": requester, "protocol": "http", "node_id": node, "epoch": 1}),
        ],
        Endpoint::PortHeartbeat => vec![
            json!({
                "requester_id": requester, "lease_id": lease_id, "ttl": 90, "request_id": request,
                "min_revision": revision,
            }),
            json!({"requester_id": requester, "lease_ids": [lease_id]}),
        ],
        Endpoint::PortRelease => vec![json!({
            "requester_id": requester, "lease_id": lease_id, "request_id": request, "min_revision": revision,
        })],
        Endpoint::PortRebind => vec![json!({
            "requester_id": requester, "lease_id": lease_id, "port": world.leased, "reason": "in use", "request_id": request,
            "min_revision": revision,
        })],
        Endpoint::PortList => vec![json!({
            "host": "here", "requester_id": requester, "node_id": node, "name": "api", "label": "team: blue",
            "port": 20000, "limit": 1, "cursor": port_cursor, "min_revision": revision,
        })],
        Endpoint::PortResolve => vec![
            json!({
                "name": "api", "host": "here", "limit": 1, "cursor": port_cursor, "min_revision": revision,
            }),
            json!({"label": "team: blue"}),
        ],
        Endpoint::PortExplain => vec![json!({
            "port": world.leased, "host": "here", "transport": "tcp", "min_revision": revision,
        })],
        Endpoint::PoolList => vec![json!({
            "host": "here", "limit": 1, "cursor": pool_cursor, "min_revision": revision,
        })],
        Endpoint::PoolSet => vec![
            json!({
                "host": "there", "transport": "udp", "ranges": [{"first": 20_000, "last": 29_999}],
                "reserved": [{"first": 29_999, "last": 29_999}], "description": "for tests", "request_id": request,
                "min_revision": revision,
            }),
            json!({"host": format!("set-{port}"), "ranges": [{"first": 1, "last": 9}], "expected_revision": 0}),
        ],
        Endpoint::PoolDelete => vec![json!({
            "host": world.pooled, "expected_revision": world.pool_revision, "request_id": request,
            "min_revision": revision,
        })],
        Endpoint::NodeRegister => vec![registration(world)],
        Endpoint::NodeHeartbeat => vec![world.of_node(json!({
            "ttl": 90, "health": {"queue": 3}, "request_id": request, "min_revision": revision,
        }))],
        Endpoint::NodeDeregister => {
            vec![world.of_node(json!({"request_id": request, "min_revision": revision}))]
        }
        Endpoint::NodeList => vec![json!({
            "node_type": "tool", "tag": "text", "liveness": "online", "host": "here", "trusted_only": true, "limit": 1,
            "cursor": "a.b", "min_revision": revision,
        })],
        Endpoint::ToolRegister => vec![world.of_node(json!({
            "tool": tool("subtract"), "request_id": request, "min_revision": revision,
        }))],
        Endpoint::ToolDeregister => vec![world.of_node(json!({
            "name": "add", "version": "1.0.0", "request_id": request, "min_revision": revision,
        }))],
        Endpoint::ToolList => vec![json!({
            "name": "add", "tag": "math", "node_id": node, "version": ">=1, <3", "limit": 1, "cursor": "a",
            "min_revision": revision,
        })],
        Endpoint::ToolDescribe => {
            vec![json!({
                "name": "add", "version": "1.0.0", "limit": 1, "cursor": "1.0.0:a", "min_revision": revision,
            })]
        }
        // A dry run: nobody is there to answer.
        Endpoint::ToolInvoke => vec![json!({
            "tool_name": "add", "arguments": {"a": 1}, "tool_version": ">=1, <3", "node_selection_policy": "first",
            "provider_node_id": node, "trusted_only": false, "contract_hash": world.tool_hash, "timeout_ms": 4_000,
            "attempt_timeout_ms": 500, "correlation_id": "order-17", "requester_id": requester, "dry_run": true, "request_id": request,
            "min_revision": revision,
        })],
        Endpoint::ToolResolve => vec![json!({
            "tool_name": "add", "tool_version": ">=1, <3", "node_selection_policy": "first",
            "provider_node_id": node, "trusted_only": false, "contract_hash": world.tool_hash,
            "min_revision": revision,
        })],
        Endpoint::BusRegister => vec![json!({
            "bus_id": bus, "protocol": "redis", "endpoint_uri": "redis://here:20000/0", "inbound": true,
            "outbound": false, "requester_id": requester, "node_id": node, "lease_id": lease_id,
            "request_id": request, "min_revision": revision,
        })],
        Endpoint::BusDeregister => vec![json!({
            "bus_id": bus, "requester_id": requester, "request_id": request, "min_revision": revision,
        })],
        Endpoint::BusList => vec![json!({
            "node_id": node, "protocol": "redis", "limit": 1, "cursor": "a", "min_revision": revision,
        })],
        Endpoint::SchemaList => vec![json!({
            "kind": "message", "limit": 1, "cursor": "message:port.lease.reply", "min_revision": revision,
        })],
        Endpoint::SchemaGet => {
            vec![json!({"name": "error", "kind": "message", "min_revision": revision})]
        }
        Endpoint::TrustReport => vec![json!({
            "node_id": node, "validator_id": validator, "requester_id": requester, "outcome": "fail",
            "failure_mode": "slow", "lifecycle": "canary", "contract_hash": world.contract_hash,
            "request_id": request, "min_revision": revision,
        })],
        Endpoint::TrustGet => vec![json!({"node_id": node, "min_revision": revision})],
        Endpoint::AdminPortRevoke => vec![
            json!({
                "lease_id": lease_id, "reason": "it hangs", "request_id": request, "min_revision": revision,
            }),
            json!({
                "port": world.leased_too, "host": "here", "transport": "tcp", "reason": "it hangs",
            }),
        ],
        Endpoint::AdminPortUnquarantine => vec![json!({
            "port": port, "host": "there", "transport": "udp", "reason": "it hangs", "request_id": request,
            "min_revision": revision,
        })],
        Endpoint::AdminNodeEvict => vec![json!({
            "node_id": node, "epoch": 1, "reason": "it hangs", "request_id": request, "min_revision": revision,
        })],
        Endpoint::AdminHostForget => vec![json!({
            "host": world.pooled, "reason": "it is gone", "request_id": request, "min_revision": revision,
        })],
        Endpoint::Describe => vec![
            json!({
                "sections": ["ports", "node"], "limit": 1, "cursor": "ports:h.tcp", "min_revision": revision,
            }),
            json!({"node_id": node}),
        ],
        Endpoint::Help => vec![json!({})],
    }
}

/// A tool with all that one can have.
fn tool(name: &str) -> Value {
    json!({
        "name": name, "version": "1.0.0", "description": "Works on numbers.", "input_schema": {"type": "object"},
        "output_schema": true, "error_codes": ["OVERFLOW"], "side_effects": ["none"], "idempotent": true,
        "attempt_timeout_ms": 500,
        "tags": ["math"], "subject": format!("calc.{name}"),
    })
}

/// A later life of the node, with all that one can say.
fn registration(world: &World) -> Value {
    let field = json!({
        "name": "a", "type": "number", "required": true, "description": "One.", "schema": {"type": "number"},
    });
    let mut body = world.of_node(json!({
        "epoch": 2, "version": "1.0.0", "version_hash": "4f2a", "node_type": "tool", "description": "Calculates.",
        "tags": ["text"], "execution_mode": "memory", "host": "here", "ttl": 30,
        "schema": {
            "inputs": [field], "outputs": [field], "accepts_context": true, "modifies_state": true,
            "side_effects": ["writes a log"],
        },
        "inbound_ports": [{
            "name": "api", "port": world.leased, "protocol": "http", "lease_id": world.lease_id,
            "endpoint_uri": "http://here", "dynamic": true,
        }],
        "outbound_ports": [{"name": "sums", "topic": "calc.sums", "protocol": "nats"}],
        "tools": [tool("add")],
    }));
    let more = json!({
        "capabilities": {"numbers": ["natural"]}, "graph_binding": {"step": 1}, "owned_by_agent": "clerk",
        "subscribed_by_agents": ["auditor"], "upstream_nodes": ["reader"], "downstream_nodes": ["writer"],
        "request_id": Uuid::new_v4(), "requested_at": "2026-11-22T10:04:07Z", "min_revision": world.revision,
    });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// The first of them.
fn first(endpoint: Endpoint, world: &World) -> Value {
    right(endpoint, world).swap_remove(0)
}

/// The endpoints that can answer with that code.
fn that_say(code: ErrorCode) -> impl Iterator<Item = Endpoint> {
    let says = move |endpoint: &Endpoint| endpoint.errors().contains(&code);
    Endpoint::ALL.into_iter().filter(says)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_taken() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    for endpoint in Endpoint::ALL {
        let world = World::of(&caller).await;
        for body in right(endpoint, &world) {
            caller.get(endpoint.name(), body).await;
        }
        // And what it teaches is a request, though of things that there may not be.
        if let Err(refused) = caller.ask(endpoint.name(), endpoint.example()).await {
            let known = [
                ErrorCode::LeaseNotFound,
                ErrorCode::NodeNotFound,
                ErrorCode::ToolNotFound,
                ErrorCode::BusNotFound,
                ErrorCode::PoolNotFound,
                ErrorCode::Forbidden,
            ];
            assert!(
                known.iter().any(|code| refused.is(*code)),
                "{endpoint:?} {refused:?}"
            );
        }
    }
}

/// What is said with every field is shown with every member.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_said_is_shown() {
    let registry = Registry::start(&[&UNTRIED[..], &["--reserved", "20007"]].concat());
    let caller = Caller::of(&registry).await;
    let world = World::of(&caller).await;
    let (node, requester) = (&world.node, world.requester);
    let announced = registration(&world);
    caller.get("node.register", announced.clone()).await;
    let lease = json!({
        "name": "shown", "labels": ["team: red"], "requested_at": "2026-11-22T10:04:07.000Z", "node_id": node,
        "holder": {"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"},
    });
    let lease = caller.lease(requester, lease).await;
    let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    let same = |other: &Value| {
        for member in [
            "lease_id",
            "node_id",
            "labels",
            "requested_at",
            "holder",
            "port",
        ] {
            assert!(!lease[member].is_null(), "{member}: {lease:#}");
            assert_eq!(other[member], lease[member], "{member}");
        }
    };
    same(&caller.get("port.heartbeat", mine).await);
    let shown = async |endpoint: &str, body: Value| {
        let page = caller.see(endpoint, body).await;
        page["items"][0].clone()
    };
    same(&shown("port.list", json!({"node_id": node})).await);
    same(&shown("port.resolve", json!({"name": "shown"})).await);
    let port = json!({"port": lease["port"]});
    same(&caller.see("port.explain", port).await["lease"]);

    let described = caller.see("describe", json!({"node_id": node})).await;
    let ports = &described["ports"];
    let mut inbound = ports["inbound"].clone();
    // What is known of the lease stands beside what was said.
    let members = inbound[0].as_object_mut().unwrap();
    assert_eq!(members.remove("lease_status"), Some(json!("active")));
    same(&ports["leases"][0]);
    for (section, said) in [
        (&inbound, &announced["inbound_ports"]),
        (&ports["outbound"], &announced["outbound_ports"]),
        (&described["schema"], &announced["schema"]),
    ] {
        assert_eq!(section, said);
    }
    for said in [
        "capabilities",
        "graph_binding",
        "owned_by_agent",
        "description",
        "upstream_nodes",
    ] {
        assert_eq!(described["node"][said], announced[said], "{said}");
    }
    let contract = caller.see("tool.describe", json!({"name": "add"})).await;
    let resolved = caller
        .see("tool.resolve", json!({"tool_name": "add"}))
        .await;
    for (name, value) in announced["tools"][0].as_object().unwrap() {
        assert_eq!(described["tools"][0][name], *value, "{name}");
        assert_eq!(contract["contract"][name], *value, "{name}");
        assert_eq!(resolved["contract"][name], *value, "{name}");
    }
    for name in ["b1", "b2"] {
        let bus = json!({
            "bus_id": name, "protocol": "redis", "endpoint_uri": "redis://here", "requester_id": requester,
        });
        caller.get("bus.register", bus).await;
    }
    let other = world.of_node(json!({"epoch": 2, "tool": tool("subtract")}));
    caller.get("tool.register", other).await;
    for list in ["node.list", "tool.list", "bus.list"] {
        let first = caller.see(list, json!({"limit": 1})).await;
        let next = json!({"limit": 1, "cursor": first["next_cursor"]});
        let next = caller.see(list, next).await;
        assert_ne!(first["items"], next["items"], "{list}");
    }
    let page = caller.see("describe", json!({})).await;
    assert_eq!(
        page["pools"][0]["reserved"],
        json!([{"first": 20_007, "last": 20_007}])
    );
    let over = world.of_node(json!({"epoch": 2}));
    caller.get("node.deregister", over).await;
    let ended = caller.see("describe", json!({"node_id": node})).await;
    assert_eq!(ended["node"]["ended"], "deregistered");
}

/// Values that the schema of a field does not allow.
fn wrong(field: &str, schema: &Value) -> Vec<Value> {
    let mut values = vec![
        json!(true),
        json!(1),
        json!(1.5),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!("x"),
        json!(""),
        json!("1"),
        json!("no-such"),
        json!("a b"),
        json!("a*"),
        json!("a>"),
        json!("é"),
        json!("a\u{0}"),
        json!([]),
        json!([null]),
        json!([{}]),
        json!([1]),
        json!(["a\u{0}"]),
        json!([[]]),
        json!({}),
        Value::Null,
    ];
    let number = |keyword: &str| schema[keyword].as_u64();
    values.extend(number("maximum").map(|most| json!(most + 1)));
    values.extend(number("minimum").map(|least| json!(i128::from(least) - 1)));
    let more = |most: u64| usize::try_from(most).unwrap() + 1;
    values.extend(number("maxLength").map(|most| json!("x".repeat(more(most)))));
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|error| panic!("{field}: {error}"));
    values.retain(|value| !validator.is_valid(value));
    values
}

/// The same, and what a schema cannot say: too many items like that one, too much free JSON.
fn all_wrong(field: &str, schema: &Value, right: &Value, free_bytes: usize) -> Vec<Value> {
    let mut values = wrong(field, schema);
    if let Some(most) = schema["maxItems"].as_u64() {
        let items = vec![right[0].clone(); usize::try_from(most).unwrap() + 1];
        values.push(json!(items));
    }
    // The members of an object without their names.
    let members = |of: &Value| {
        let members = of.as_object()?.values().cloned();
        Some(json!(members.collect::<Vec<_>>()))
    };
    if schema.get("properties").is_some() {
        values.extend(members(right));
    }
    // No keyword that says what it is: any JSON. And documents that are schemas.
    let says = |keyword| schema.get(keyword).is_some();
    let free = !["type", "anyOf", "oneOf"].into_iter().any(says);
    let is_schema = schema["type"] == json!(["object", "boolean", "null"]);
    if free || is_schema {
        values.push(json!({"x": "x".repeat(free_bytes)}));
    }
    let takes_any_member = schema["type"] == json!(["object", "null"]) && !says("properties");
    if free || is_schema || takes_any_member {
        let said = schema["description"].as_str().unwrap();
        let rule = format!("{JSON_LEVELS_MAX} levels");
        assert!(said.contains(&rule), "{field}: {said}");
        // Less than that many below its first member.
        values
            .extend([JSON_LEVELS_MAX, 125].map(
                |levels| json!({"x": (1..levels).fold(json!([]), |inner, _| json!([inner]))}),
            ));
    }
    values
}

/// Refused for that place in the body or for something in it.
async fn is_named(caller: &Caller, endpoint: Endpoint, body: Value, place: &str) -> Refused {
    let mut shown = format!("{endpoint:?} {body}");
    shown.truncate(2_000);
    let refused = caller
        .refused(endpoint.name(), body, ErrorCode::InvalidRequest)
        .await;
    let pointer = refused.detail("pointer").as_str().unwrap();
    let within = pointer.strip_prefix(place);
    let named = within.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    assert!(named, "{place}: {pointer}: {:#}\n{shown}", refused.error);
    refused
}

/// The first place of that field in a body.
fn place(field: &str) -> String {
    format!("/{}", field.replace('*', "0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_of_any_field_is_named() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let mut tried = 0;
    for endpoint in Endpoint::ALL {
        let world = World::of(&caller).await;
        let right = right(endpoint, &world);
        let schema = endpoint.request_schema();
        // More than any field of it may have.
        let free_bytes = endpoint.request_bytes_max() / 2;
        for (field, schema) in crate::strict::fields(&schema) {
            let place = place(&field);
            let has_it = right.iter().find(|body| body.pointer(&place).is_some());
            let has_it = has_it.unwrap_or_else(|| panic!("{endpoint:?}: no request has {field}"));
            let value = has_it.pointer(&place).unwrap();
            for value in all_wrong(&field, schema, value, free_bytes) {
                let mut body = has_it.clone();
                *body.pointer_mut(&place).unwrap() = value;
                is_named(&caller, endpoint, body, &place).await;
                tried += 1;
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}

/// The objects of a request whose members have names, the request itself first: the place of each, and its schema.
fn objects<'a>(schema: &'a Value, body: &Value) -> Vec<(String, &'a Value)> {
    let below = crate::strict::fields(schema)
        .into_iter()
        .flat_map(|(field, schema)| {
            let items = (format!("{field}/*"), &schema["items"]);
            [(field, schema), items]
        });
    let named = below
        .filter(|(_, schema)| schema.get("properties").is_some())
        .map(|(field, schema)| (place(&field), schema))
        .filter(|(place, _)| body.pointer(place).is_some());
    [(String::new(), schema)].into_iter().chain(named).collect()
}

/// Each body with the schema of its endpoint.
fn bodies(endpoint: Endpoint, world: &World) -> impl Iterator<Item = (Value, Value)> {
    let schema = endpoint.request_schema();
    let right = right(endpoint, world).into_iter();
    right.map(move |body| (body, schema.clone()))
}

/// JSON in which each integer has a fraction of zero, or an exponent.
fn with_fractions(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.to_string(),
        Value::Number(number) if number.as_u64() == Some(0) => "0e0".to_owned(),
        Value::Number(number) => format!("{number}.0"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(with_fractions).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let member = |(name, value)| format!("{}:{}", json!(name), with_fractions(value));
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_with_a_fraction_of_zero_is_an_integer_in_every_field() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let mut tried = 0;
    for endpoint in Endpoint::ALL {
        let world = World::of(&caller).await;
        for body in right(endpoint, &world) {
            let (plain, text) = (body.to_string(), with_fractions(&body));
            tried += usize::from(text != plain);
            if let Err(refused) = caller.raw(endpoint.name(), &[], text.clone()).await {
                panic!("{endpoint:?} {text}: {:#}", refused.error);
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

/// As a double each of them is 5, and by its digits none.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_nearly_an_integer_is_none_in_any_field() {
    const PLACE: &str = "here is a number";
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let mut tried = 0;
    for endpoint in Endpoint::ALL {
        let world = World::of(&caller).await;
        let right = right(endpoint, &world);
        let schema = endpoint.request_schema();
        for (field, schema) in crate::strict::fields(&schema) {
            let is = |of: &Value| of == "integer";
            let of = &schema["type"];
            if !is(of) && !of.as_array().is_some_and(|types| types.iter().any(is)) {
                continue;
            }
            let place = place(&field);
            let has_it = right.iter().find(|body| body.pointer(&place).is_some());
            let mut body = has_it.unwrap().clone();
            *body.pointer_mut(&place).unwrap() = PLACE.into();
            for number in [
                "5.00000000000000000000000001",
                "4.99999999999999999999999999",
            ] {
                let text = body.to_string().replace(&json!(PLACE).to_string(), number);
                let refused = caller.raw(endpoint.name(), &[], text.clone()).await;
                let refused = refused
                    .err()
                    .unwrap_or_else(|| panic!("{endpoint:?} takes {text}"));
                assert_eq!(refused.error["code"], "INVALID_REQUEST", "{text}");
                assert_eq!(refused.detail("pointer"), &place, "{text}");
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_misspelt_is_named_wherever_it_stands() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let mut misspelt = 0;
    for endpoint in Endpoint::ALL {
        let world = World::of(&caller).await;
        for (right, schema) in bodies(endpoint, &world) {
            for (object, schema) in objects(&schema, &right) {
                let with = |name: &str| {
                    let mut body = right.clone();
                    body.pointer_mut(&object).unwrap()[name] = json!(1);
                    (body, format!("{object}/{name}"))
                };
                let (body, place) = with("qqqqqqqq");
                let refused = is_named(&caller, endpoint, body, &place).await;
                assert!(refused.detail("nearest").is_null(), "{refused:?}");
                for name in schema["properties"]
                    .as_object()
                    .into_iter()
                    .flat_map(|all| all.keys())
                {
                    // As it is spelt in other languages.
                    let other = if name.contains('_') {
                        name.replace('_', "")
                    } else {
                        format!("{name}s")
                    };
                    let (mut body, place) = with(&other);
                    let members = body.pointer_mut(&object).unwrap().as_object_mut();
                    members.unwrap().remove(name);
                    let refused = is_named(&caller, endpoint, body, &place).await;
                    assert_eq!(refused.detail("nearest"), name, "{place}");
                    misspelt += 1;
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    let name = name.as_str().unwrap();
                    let (mut body, place) = with(name);
                    let members = body.pointer_mut(&object).unwrap().as_object_mut();
                    members.unwrap().remove(name);
                    is_named(&caller, endpoint, body, &place).await;
                }
            }
        }
    }
    assert!(misspelt > 200, "{misspelt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_minor_says_is_ignored_and_named_wherever_it_stands() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let minor = format!("1.{}", PROTOCOL_MINOR + 1);
    for endpoint in Endpoint::ALL {
        let world = World::of(&caller).await;
        for (mut body, schema) in bodies(endpoint, &world) {
            let mut added = BTreeSet::new();
            for (object, _) in objects(&schema, &body) {
                body.pointer_mut(&object).unwrap()["colour"] = json!({"of": ["red"]});
                added.insert(format!("{object}/colour"));
            }
            let headers = [("Onex-Protocol", minor.as_str())];
            let reply = caller
                .raw(endpoint.name(), &headers, body.to_string())
                .await;
            let reply = reply.unwrap_or_else(|refused| panic!("{endpoint:?} {refused:?}"));
            let ignored = reply["ignored"].as_array().unwrap();
            let ignored = ignored.iter().map(|one| one.as_str().unwrap().to_owned());
            assert_eq!(ignored.collect::<BTreeSet<_>>(), added, "{endpoint:?}");
        }
    }
}

/// Answered where every field has a default; taught where not.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_answered_or_taught() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    World::of(&caller).await;
    for endpoint in Endpoint::ALL {
        let name = endpoint.name();
        let lists = name.split('.').next_back() == Some("list");
        let answered = lists || matches!(endpoint, Endpoint::Describe | Endpoint::Help);
        for body in ["", " \n"] {
            let answer = caller.raw(name, &[], body).await;
            match answer {
                Ok(reply) => {
                    assert!(answered, "{name}: {reply:#}");
                    assert_eq!(reply["items"].is_array(), lists, "{name}: {reply:#}");
                }
                Err(refused) => {
                    assert!(
                        !answered && refused.is(ErrorCode::InvalidRequest),
                        "{refused:?}"
                    );
                    let help = refused.detail("help");
                    assert_eq!(help["endpoint"], name);
                    assert_eq!(help["request_schema"], endpoint.request_schema());
                    assert_eq!(help["response_schema"], endpoint.response_schema());
                    assert_eq!(help["example"], endpoint.example());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refuses_what_is_too_large() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    for endpoint in that_say(ErrorCode::TooLarge) {
        let world = World::of(&caller).await;
        let mut body = first(endpoint, &world).to_string();
        body.push_str(&" ".repeat(endpoint.request_bytes_max() + 1 - body.len()));
        let refused = caller.raw(endpoint.name(), &[], body).await.unwrap_err();
        assert!(refused.is(ErrorCode::TooLarge), "{endpoint:?} {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_knows_at_least_what_its_caller_has_seen() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let stale = that_say(ErrorCode::Stale).map(async |endpoint| {
        let world = World::of(&caller).await;
        let mut body = first(endpoint, &world);
        body["min_revision"] = json!(world.revision + 1_000_000);
        let answer = caller.raw(endpoint.name(), &SHORT, body.to_string()).await;
        let refused = answer.unwrap_err();
        assert!(refused.is(ErrorCode::Stale), "{endpoint:?} {refused:?}");
    });
    join_all(stale).await;
}

/// What the store had is gone, and an operator has accepted that.
#[tokio::test(flavor = "multi_thread")]
async fn each_notices_that_the_store_is_another_one() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &UNTRIED);
    let caller = Caller::connect(&nats.url()).await;
    let lost = caller.lease(Uuid::new_v4(), json!({})).await;
    registry.terminate();
    assert!(registry.ended().0.success());
    User::lose_log(&nats).await;
    let _registry = Registry::on(&nats, &UNTRIED);
    for endpoint in that_say(ErrorCode::StoreChanged) {
        let world = World::of(&caller).await;
        let mut body = first(endpoint, &world);
        body["min_revision"] = lost["revision"].clone();
        caller
            .refused(endpoint.name(), body, ErrorCode::StoreChanged)
            .await;
    }
}

/// A request that is not waited for long, and has to be refused.
async fn refused_soon(
    caller: &Caller,
    endpoint: Endpoint,
    body: &Value,
    code: ErrorCode,
) -> Refused {
    let answer = caller.raw(endpoint.name(), &SHORT, body.to_string()).await;
    let refused = answer.expect_err(endpoint.name());
    assert!(refused.is(code), "{endpoint:?} {refused:?}");
    refused
}

/// A request that writes.
fn write(endpoint: Endpoint, world: &World) -> Value {
    match endpoint {
        // A call is written down before anything is sent, where it has a request id and is no dry run.
        Endpoint::ToolInvoke => json!({
            "tool_name": "add", "provider_node_id": world.node, "request_id": Uuid::new_v4(),
        }),
        endpoint => first(endpoint, world),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_says_when_it_is_not_known_what_came_of_it() {
    let (_nats, wire, _registry, caller) = behind_wire(&[]).await;
    for endpoint in that_say(ErrorCode::StoreUnavailable).filter(|endpoint| endpoint.writes()) {
        let world = World::of(&caller).await;
        let body = write(endpoint, &world);
        let code = ErrorCode::StoreUnavailable;
        // Where something of the registry's own is under way, nothing was done of what came behind it.
        until("the write to be under way", async || {
            wire.silence_store();
            let refused = refused_soon(&caller, endpoint, &body, code).await;
            wire.mend();
            until("the store to answer", async || {
                let known = json!({"node_id": "nobody"});
                let refused = caller.ask("describe", known).await.unwrap_err();
                refused.is(ErrorCode::NodeNotFound).then_some(())
            })
            .await;
            (refused.detail("outcome") == "unknown").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_read_says_when_it_cannot_make_sure_that_nothing_is_there() {
    let (_nats, wire, _registry, caller) = behind_wire(&[]).await;
    wire.silence_store();
    let reads = that_say(ErrorCode::StoreUnavailable).filter(|endpoint| !endpoint.writes());
    let each = reads.map(async |endpoint| {
        let body = match endpoint {
            Endpoint::PortExplain => json!({"port": 20_000}),
            Endpoint::TrustGet | Endpoint::Describe => json!({"node_id": "nobody"}),
            Endpoint::ToolDescribe | Endpoint::SchemaGet => json!({"name": "nothing"}),
            Endpoint::ToolResolve => json!({"tool_name": "nothing"}),
            // Lists are read from what the instance has, until that may be out of date.
            Endpoint::PortResolve => {
                return until_refused(&caller, endpoint, json!({"name": "api"})).await;
            }
            list => return until_refused(&caller, list, json!({})).await,
        };
        let refused = refused_soon(&caller, endpoint, &body, ErrorCode::StoreUnavailable).await;
        assert_eq!(refused.detail("outcome"), "none", "{endpoint:?}");
    });
    join_all(each).await;
    wire.mend();
}

async fn until_refused(caller: &Caller, endpoint: Endpoint, body: Value) {
    let refused = until("what is read to be out of date", async || {
        caller.ask(endpoint.name(), body.clone()).await.err()
    })
    .await;
    assert!(
        refused.is(ErrorCode::StoreUnavailable),
        "{endpoint:?} {refused:?}"
    );
    assert_eq!(refused.detail("outcome"), "none", "{endpoint:?}");
}

/// A request that hangs, once there is room for it.
fn hang(
    caller: &Caller,
    endpoint: Endpoint,
    body: &Value,
) -> tokio::task::JoinHandle<Result<Value, Refused>> {
    let (caller, body) = (caller.clone(), body.to_string());
    tokio::spawn(async move {
        // It may come while one is under way that asks whether there is room.
        loop {
            let patient = [("Onex-Timeout-Ms", "60000")];
            match caller.raw(endpoint.name(), &patient, body.clone()).await {
                Err(refused) if refused.is(ErrorCode::Busy) => {}
                answer => return answer,
            }
        }
    })
}

/// One request of each kind is under way and hangs, one that keeps something and another one; there is room for no other.
#[tokio::test(flavor = "multi_thread")]
async fn each_says_that_it_is_busy() {
    let (_nats, wire, _registry, caller) = behind_wire(&["--in-flight-max", "1"]).await;
    let world = World::of(&caller).await;
    wire.silence_store();
    let hanging = [Endpoint::PortLease, Endpoint::NodeHeartbeat];
    let hanging = hanging.map(|endpoint| hang(&caller, endpoint, &first(endpoint, &world)));
    until("no room", async || {
        // Not only because another one of these was not quite answered.
        for endpoint in ["help", "port.heartbeat"].repeat(3) {
            let refused = caller.ask(endpoint, json!({})).await.err()?;
            refused.is(ErrorCode::Busy).then_some(())?;
        }
        Some(())
    })
    .await;
    for endpoint in that_say(ErrorCode::Busy) {
        let body = first(endpoint, &world);
        caller.refused(endpoint.name(), body, ErrorCode::Busy).await;
    }
    wire.mend();
    for hanging in hanging {
        hanging.await.unwrap().unwrap();
    }
}
