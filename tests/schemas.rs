//! `schemas/` is what the code says, every message has its schema, and the schemas say the truth of the types.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use onex_registry::domain::bus::{Announcement, Bus, BusEnded};
use onex_registry::domain::call::{
    Asked, Call, CallEnded, Called, Completed, Executed, Execution, Failure,
    Outcome as CallOutcome, Said,
};
use onex_registry::domain::counts::{Counted, Counts, Folded};
use onex_registry::domain::hosts::HostRecord;
use onex_registry::domain::ids::{
    CommandId, Digest, ExecutionId, Incarnation, LeaseId, NodeId, Port, RequestId, RequesterId, Ttl,
};
use onex_registry::domain::key::Key;
use onex_registry::domain::node::{
    Announced, Inbound, Life, LifeEnd, LifeEnded, Live, Lived, Node, NodeType, Registration, Tool,
};
use onex_registry::domain::record::{
    Body, Checkpoint, Ended, FORMAT, Last, Lease, OUTBOX_TRANSITIONS_MAX, Record, Request, Rest,
    Stored, Sys,
};
use onex_registry::domain::transition::{
    EndTold, ExecutionTold, Happened, How, JudgedTold, Kind, ToolTold, Transition,
};
use onex_registry::domain::trust::{
    Judged, Lifecycle, OnContract, Outcome, TrustState, Verdict, Verdicts,
};
use onex_registry::protocol::endpoint::Endpoint;
use onex_registry::protocol::error::ErrorCode;
use onex_registry::protocol::names::{Namespace, event_kind};
use onex_registry::protocol::schemas;
use onex_registry::protocol::teach;
use onex_registry::store::codec;
use serde_json::{Value, json};
use strict::Schemas;
use uuid::Uuid;

mod strict;

const WRITE: &str = "ONEX_WRITE_SCHEMAS=1 cargo test --test schemas";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn found() -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder()).into_iter().flatten();
    let text = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    entries.map(text).collect()
}

#[test]
fn the_folder_is_what_the_code_says() {
    let text = |schema: &Value| format!("{schema:#}\n");
    let wanted: BTreeMap<String, String> = schemas::all()
        .iter()
        .map(|message| (format!("{}.json", message.name), text(&message.schema)))
        .collect();
    let found = found();
    if std::env::var_os("ONEX_WRITE_SCHEMAS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
            fs::remove_file(folder().join(name)).unwrap();
        }
        for (name, text) in &wanted {
            fs::write(folder().join(name), text).unwrap();
        }
        return;
    }
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let differ: Vec<&String> = names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name))
        .collect();
    assert!(
        differ.is_empty(),
        "schemas/ is not what the code says: {differ:?}; to write it anew: {WRITE}"
    );
}

/// Adding an endpoint, a kind of event or a code without its schema is noticed here.
#[test]
fn every_message_has_a_schema() {
    let schemas = Schemas::new();
    let mut wanted = BTreeSet::from(["error".to_owned()]);
    for endpoint in Endpoint::ALL {
        for of in ["request", "reply"] {
            wanted.insert(format!("{}.{of}", endpoint.name()));
        }
    }
    let events = Kind::ALL
        .iter()
        .map(|happened| format!("event.{}", event_kind(*happened)));
    wanted.extend(events);
    let named: BTreeSet<String> = schemas
        .names()
        .filter(|name| !name.starts_with("record."))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, wanted);
    let codes: Vec<&Value> = schemas.get("error").unwrap()["properties"]["error"]["allOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|by_code| &by_code["if"]["properties"]["code"]["const"])
        .collect();
    let all: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes, all);
}

/// What can happen is told by the kinds that `Kind::ALL` lists, and by no others: serde's complaint names all
/// that can happen.
#[test]
fn the_list_of_kinds_is_complete() {
    let complaint = serde_json::from_str::<Happened>("\"no-such\"").unwrap_err();
    let complaint = complaint.to_string();
    let (_, listed) = complaint.split_once("expected one of ").unwrap();
    let tool = ToolTold {
        name: "add".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        other: None,
    };
    let mut told = BTreeSet::new();
    for name in listed.split('`').skip(1).step_by(2) {
        let transition = Transition {
            tools_added: vec![tool.clone()],
            tools_removed: vec![tool.clone()],
            collisions: vec![tool.clone()],
            ..Transition::new(
                serde_json::from_value(json!(name)).unwrap(),
                "2026-11-22T10:04:07Z".parse().unwrap(),
                None,
            )
        };
        told.extend(transition.events().map(|(kind, _)| kind));
    }
    told.extend(Kind::ON_THE_LOG);
    assert_eq!(told, BTreeSet::from(Kind::ALL));
}

#[test]
fn every_schema_says_what_it_is_and_shows_it() {
    let schemas = Schemas::new();
    for name in schemas.names() {
        let schema = schemas.get(name).unwrap();
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["$id"], format!("urn:onex:registry:v1:{name}"));
        for member in ["title", "description"] {
            assert!(
                schema[member].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: {member}"
            );
        }
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            let errors = schemas.errors(name, example);
            assert!(errors.is_empty(), "{name}: {errors:#?}\n{example:#}");
        }
    }
}

#[test]
fn help_has_the_same_schemas() {
    let schemas = Schemas::new();
    let help = json!(teach::help(&Namespace::default()));
    for one in help["endpoints"].as_array().unwrap() {
        let name = one["endpoint"].as_str().unwrap();
        let request = schemas.get(&format!("{name}.request")).unwrap();
        let reply = schemas.get(&format!("{name}.reply")).unwrap();
        assert_eq!(
            (&one["request_schema"], &one["response_schema"]),
            (request, reply)
        );
    }
    assert_eq!(schemas.errors("help.reply", &help), [""; 0]);
}

/// Which optional members are there: of a few thousand of these every pair is.
struct Choice(u64);

impl Choice {
    fn of(n: u64) -> Self {
        Self(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n >> 7)
    }

    fn next(&mut self, below: usize) -> usize {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*state >> 33).unwrap() % below
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.next(2) == 1).then_some(value)
    }

    fn request(&mut self) -> Option<Request> {
        self.maybe(Request {
            id: RequestId(Uuid::new_v4()),
            digest: Digest(Uuid::new_v4()),
        })
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.next(all.len())]
    }

    fn ended(&mut self) -> Ended {
        self.one_of(&[
            Ended::Released,
            Ended::Expired,
            Ended::InUse,
            Ended::Duplicate,
            Ended::Overwritten,
            Ended::Superseded,
            Ended::NodeGone,
        ])
    }

    fn life(&mut self) -> Option<Life> {
        self.maybe(Life {
            node_id: "text.summariser".parse().unwrap(),
            incarnation: Incarnation(Uuid::now_v7()),
        })
    }

    /// What all transitions may have, and nothing else.
    fn transition(&mut self, all: &[Happened]) -> Transition {
        let event = self.one_of(all);
        let correlation_id = self.maybe("x/y".to_owned());
        Transition {
            n: 7,
            revision: self.maybe(1 << 43),
            requester_id: self.maybe(RequesterId(Uuid::nil())),
            ..Transition::new(event, time(), correlation_id)
        }
    }

    fn port_transition(&mut self) -> Transition {
        let all = [
            Happened::Leased,
            Happened::Released,
            Happened::Expired,
            Happened::Quarantined,
            Happened::Revoked,
        ];
        let ended = self.ended();
        Transition {
            lease_id: self.maybe(LeaseId(Uuid::new_v4())),
            name: self.maybe("api.v1".parse().unwrap()),
            outcome: self.maybe(ended),
            ..self.transition(&all)
        }
    }

    fn tools_changed(&mut self, all: &[Happened]) -> Transition {
        let tool = ToolTold {
            name: "add".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            other: self.maybe("other".parse().unwrap()),
        };
        Transition {
            epoch: self.maybe(1),
            tools_added: self.maybe(tool.clone()).into_iter().collect(),
            tools_removed: self.maybe(tool.clone()).into_iter().collect(),
            collisions: self.maybe(tool).into_iter().collect(),
            ..self.transition(all)
        }
    }

    fn lease(&mut self) -> Lease {
        Lease {
            lease_id: LeaseId(Uuid::now_v7()),
            requester_id: RequesterId(Uuid::new_v4()),
            protocol: "http".parse().unwrap(),
            ttl: Ttl::MAX,
            node: self.life(),
            ports: vec![Port::LOWEST],
            name: self.maybe("api".parse().unwrap()),
            labels: self
                .maybe("team: blue".parse().unwrap())
                .into_iter()
                .collect(),
            requested_at: self.maybe("1970-01-01T00:00:00Z".parse().unwrap()),
            granted_at: "2026-11-22T10:04:07.123456789Z".parse().unwrap(),
            renewed_at: time(),
            granted: self.maybe(3),
            request: self.request(),
            renewal: self.request(),
            unanswered: self.next(2) == 1,
            unknown: BTreeMap::new(),
        }
    }

    fn rest(&mut self) -> Rest {
        let last = Last {
            lease_id: LeaseId(Uuid::now_v7()),
            requester_id: RequesterId(Uuid::new_v4()),
            name: self.maybe("api".parse().unwrap()),
            granted: 3,
            request: self.request(),
            release: self.request(),
        };
        Rest {
            last: self.maybe(last),
            ended: self.ended(),
            ended_at: "2026-11-22T10:05:00Z".parse().unwrap(),
            rest_ms: 60_000,
        }
    }

    fn record<B>(&mut self, outbox: impl Fn(&mut Self) -> Transition, body: B) -> Record<B> {
        let waiting = self.next(OUTBOX_TRANSITIONS_MAX + 1);
        Record {
            format: FORMAT,
            write: CommandId(Uuid::new_v4()),
            transitions: 7,
            outbox: (0..waiting).map(|_| outbox(self)).collect(),
            body,
            unknown: BTreeMap::new(),
        }
    }

    fn port(&mut self) -> Stored {
        let body = match self.next(2) {
            0 => Body::Lease(self.lease()),
            _ => Body::Rest(self.rest()),
        };
        Stored::Port(Box::new(self.record(Self::port_transition, body)))
    }

    /// Those of `all` that are there, as members that the domain carries along.
    fn some_of(&mut self, all: Value) -> BTreeMap<String, Value> {
        let Value::Object(all) = all else {
            panic!("no object: {all}")
        };
        all.into_iter().filter(|_| self.next(2) == 1).collect()
    }

    fn tool(&mut self) -> Tool {
        let more = json!({
            "description": "Adds.", "input_schema": true, "output_schema": false, "error_codes": ["OVERFLOW"],
            "side_effects": ["none"], "idempotent": true, "attempt_timeout_ms": 500,
        });
        Tool {
            name: "add".parse().unwrap(),
            version: "1.0.0-rc.1+x".parse().unwrap(),
            contract_hash: "c2:0".to_owned(),
            bytes: 3,
            patterns: 1,
            subject: "calc.add".to_owned(),
            tags: self.maybe("math".parse().unwrap()).into_iter().collect(),
            more: self.some_of(more),
        }
    }

    fn inbound(&mut self) -> Inbound {
        let mut more = self.some_of(json!({"endpoint_uri": "http://here:80/", "dynamic": true}));
        more.extend([
            ("name".to_owned(), json!("api.v1")),
            ("protocol".to_owned(), json!("http")),
        ]);
        Inbound {
            lease_id: self.maybe(LeaseId(Uuid::now_v7())),
            port: 80,
            more,
        }
    }

    fn registration(&mut self) -> Registration {
        let field = json!({"name": "a", "type": "text", "required": true, "description": "b", "schema": true});
        let more = json!({
            "version_hash": "x", "description": "y", "execution_mode": "memory",
            "schema": {
                "inputs": [field], "outputs": [field], "accepts_context": true, "modifies_state": false,
                "side_effects": ["z"],
            },
            "outbound_ports": [{"name": "out", "topic": "a.>", "protocol": "nats"}],
            "capabilities": [1, null], "graph_binding": "left", "owned_by_agent": "agent",
            "subscribed_by_agents": ["agent"], "upstream_nodes": ["a.b"], "downstream_nodes": ["c"],
        });
        let (tool, inbound) = (self.tool(), self.inbound());
        let node_type = self.one_of(&[
            NodeType::Tool,
            NodeType::Validator,
            NodeType::Test,
            NodeType::Adapter,
            NodeType::Agent,
        ]);
        Registration {
            version: "1.0.0".parse().unwrap(),
            node_type,
            tags: self.maybe("text".parse().unwrap()).into_iter().collect(),
            host: self.maybe("here".parse().unwrap()),
            contract_hash: "c2:0".to_owned(),
            base_hash: "c2:1".to_owned(),
            bytes: 17,
            inbound_ports: self.maybe(inbound).into_iter().collect(),
            tools: self.maybe(tool).into_iter().collect(),
            more: self.some_of(more),
        }
    }

    fn node(&mut self) -> Stored {
        let outbox = |choice: &mut Self| choice.tools_changed(&[Happened::ToolsChanged]);
        let node = Node {
            incarnation: Incarnation(Uuid::now_v7()),
            registration: self.registration(),
            requests: self.request().into_iter().collect(),
            earlier: self.request().into_iter().collect(),
            unknown: BTreeMap::new(),
        };
        Stored::Node(Box::new(self.record(outbox, Announced { node })))
    }

    fn live(&mut self) -> Stored {
        let outbox = |choice: &mut Self| {
            choice.tools_changed(&[
                Happened::NodeRegistered,
                Happened::NodeRejoined,
                Happened::NodeExpired,
                Happened::NodeDeregistered,
                Happened::ToolsChanged,
            ])
        };
        let how = self.one_of(&[LifeEnd::Deregistered, LifeEnd::Expired]);
        let live = Live {
            incarnation: Incarnation(Uuid::now_v7()),
            epoch: 1,
            requester_id: RequesterId(Uuid::new_v4()),
            ttl: Ttl::DEFAULT,
            registered_at: time(),
            renewed_at: time(),
            ended: self.maybe(LifeEnded { how, at: time() }),
            superseded_ttl: self.maybe(Ttl::MAX),
            request: self.request(),
            health: self.maybe(json!(["good"])),
            unknown: BTreeMap::new(),
        };
        Stored::Live(Box::new(self.record(outbox, Lived { live })))
    }

    fn bus(&mut self) -> Stored {
        let outbox = |choice: &mut Self| {
            let ended = choice.ended();
            Transition {
                outcome: choice.maybe(ended),
                ..choice.transition(&[Happened::BusRegistered, Happened::BusRemoved])
            }
        };
        let how = self.ended();
        let more = json!({"endpoint_uri": "redis://here", "inbound": true, "outbound": false});
        let bus = Announcement {
            requester_id: RequesterId(Uuid::new_v4()),
            protocol: "redis".parse().unwrap(),
            node: self.life(),
            lease_id: self.maybe(LeaseId(Uuid::now_v7())),
            registered_at: time(),
            ended: self.maybe(BusEnded { how, at: time() }),
            request: self.request(),
            earlier: self.request().into_iter().collect(),
            more: serde_json::from_value(more).unwrap(),
        };
        Stored::Bus(Box::new(self.record(outbox, Bus { bus })))
    }

    fn lifecycle(&mut self) -> Option<Lifecycle> {
        let all = [Lifecycle::Canary, Lifecycle::Validated, Lifecycle::Frozen];
        let one = self.one_of(&all);
        self.maybe(one)
    }

    fn judged(&mut self) -> JudgedTold {
        JudgedTold {
            validator_id: "checker".parse().unwrap(),
            outcome: self.one_of(&[Outcome::Pass, Outcome::Fail]),
            failure_mode: self.maybe("slow".parse().unwrap()),
            contract_hash: "c2:0".to_owned(),
            state: self.one_of(&[
                TrustState::Untrusted,
                TrustState::Trusted,
                TrustState::Verified,
            ]),
            passes: 1,
            fails: 0,
            lifecycle: self.lifecycle(),
        }
    }

    fn verdict(&mut self) -> Stored {
        let outbox = |choice: &mut Self| {
            let judged = Box::new(choice.judged());
            Transition {
                judged: choice.maybe(judged),
                ..choice.transition(&[Happened::TrustChanged])
            }
        };
        let verdict = Verdict {
            validator_id: "checker".parse().unwrap(),
            outcome: self.one_of(&[Outcome::Pass, Outcome::Fail]),
            failure_mode: self.maybe("slow".parse().unwrap()),
            at: time(),
            requests: self.request().into_iter().collect(),
        };
        let on_contract = OnContract {
            contract_hash: "c2:0".to_owned(),
            lifecycle: self.lifecycle(),
            latest: self.maybe(verdict).into_iter().collect(),
        };
        let verdicts = Verdicts {
            contracts: self.maybe(on_contract).into_iter().collect(),
            unknown: BTreeMap::new(),
        };
        Stored::Verdict(Box::new(self.record(outbox, Judged { verdicts })))
    }
}

impl Choice {
    fn executed(&mut self) -> Executed {
        self.one_of(&[Executed::No, Executed::Yes, Executed::Unknown])
    }

    fn execution(&mut self) -> Execution {
        Execution {
            execution_id: ExecutionId(Uuid::now_v7()),
            tool_name: "add".parse().unwrap(),
            tool_version: "1.0.0-rc.1".parse().unwrap(),
            contract_hash: "c2:0".to_owned(),
            node_id: "text.summariser".parse().unwrap(),
            trace_log_id: self.maybe("x/y".to_owned()),
        }
    }

    fn asked(&mut self) -> Vec<Asked> {
        let all = [
            Said::Answered,
            Said::Failed,
            Said::InvalidResult,
            Said::Declined,
            Said::NoResponders,
            Said::Gone,
            Said::Silent,
            Said::NotSent,
        ];
        let asked = Asked {
            node_id: "text.summariser".parse().unwrap(),
            said: self.one_of(&all),
            message: self.maybe("BUSY".to_owned()),
        };
        self.maybe(asked).into_iter().collect()
    }

    fn call_transition(&mut self) -> Transition {
        let ended = EndTold {
            how: self.one_of(&[How::Completed, How::Failed, How::Unknown]),
            code: self.maybe("ANY".to_owned()),
            executed: self.executed(),
            duration_ms: self.maybe(38),
            attempts: self.maybe(1),
            asked: self.asked(),
        };
        let told = ExecutionTold {
            execution: self.execution(),
            timeout_ms: 4_000,
            ended: self.maybe(ended),
        };
        let all = [
            Happened::CallBegan,
            Happened::CallCompleted,
            Happened::CallFailed,
        ];
        Transition {
            execution: Some(Box::new(told)),
            ..self.transition(&all)
        }
    }

    fn call(&mut self) -> Stored {
        let failure = Failure {
            code: "ANY".to_owned(),
            message: "no".to_owned(),
            retryable: self.next(2) == 1,
            executed: self.executed(),
            details: BTreeMap::new(),
        };
        let result = self.one_of(&[0, 1, 2]);
        let result = [None, Some("null"), Some("[1.50,\"three\"]")][result].map(str::to_owned);
        let outcome = match self.next(3) {
            0 => CallOutcome::Completed(Completed { result }),
            1 => CallOutcome::Failed(Box::new(failure)),
            _ => CallOutcome::Unknown,
        };
        let ended = CallEnded {
            at: time(),
            outcome,
        };
        let call = Call {
            digest: Digest(Uuid::new_v4()),
            execution: self.execution(),
            timeout_ms: 4_000,
            idempotent: self.next(2) == 1,
            requester_id: self.maybe(RequesterId(Uuid::nil())),
            correlation_id: self.maybe("x/y".to_owned()),
            began_at: time(),
            ended: self.maybe(ended),
            unknown: BTreeMap::new(),
        };
        Stored::Call(Box::new(
            self.record(Self::call_transition, Called { call }),
        ))
    }
}

fn exec() -> Stored {
    let counts = Counts {
        execution_count: 3,
        success_count: 2,
        last_execution: time(),
        stream: 1,
        through: 7,
        unknown: BTreeMap::new(),
    };
    Stored::Exec(Box::new(Record {
        format: FORMAT,
        write: CommandId(Uuid::new_v4()),
        transitions: 0,
        outbox: Vec::new(),
        body: Counted { counts },
        unknown: BTreeMap::new(),
    }))
}

fn time() -> Timestamp {
    "2026-11-22T10:04:07.6Z".parse().unwrap()
}

/// The members that a schema names, each by its path.
fn named(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        named(schema, &path, into);
        named(&schema["items"], &path, into);
        for one in schema["anyOf"].as_array().into_iter().flatten() {
            named(one, &path, into);
        }
        into.insert(path);
    }
}

/// The members that a record has, by the same paths.
fn present(record: &Value, path: &str, into: &mut BTreeSet<String>) {
    for item in record.as_array().into_iter().flatten() {
        present(item, path, into);
    }
    for (name, value) in record.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        present(value, &path, into);
        into.insert(path);
    }
}

/// The schemas of records are written by hand: every record that the types can make is well by them, and they name no
/// member that no record has.
#[test]
fn the_schemas_of_records_are_true_of_the_types() {
    let schemas = Schemas::new();
    let node: NodeId = "a.b".parse().unwrap();
    let port = Key::Port("port.here.tcp.1".parse().unwrap());
    let mut records: Vec<(Key, Stored)> = Vec::new();
    for n in 0..2_000 {
        let mut choice = Choice::of(n);
        records.extend([
            (port.clone(), choice.port()),
            (Key::Node(node.clone()), choice.node()),
            (Key::Live(node.clone()), choice.live()),
            (Key::Bus("a".parse().unwrap()), choice.bus()),
            (Key::Verdict(node.clone()), choice.verdict()),
            (Key::Call(RequestId(Uuid::nil())), choice.call()),
            (Key::Exec(node.clone()), exec()),
        ]);
    }
    let sys = Sys {
        format: FORMAT,
        lineage: 1,
        ttl_max: Ttl::DEFAULT,
        unknown: BTreeMap::new(),
    };
    let folded = Folded {
        format: FORMAT,
        stream: 1,
        through: 7,
        unknown: BTreeMap::new(),
    };
    let checkpoint = Checkpoint {
        format: FORMAT,
        owner: Uuid::nil(),
        out_to: 0,
        unknown: BTreeMap::new(),
    };
    let host = HostRecord {
        port_space: Some("boot net:[1]".to_owned()),
        aliases: ["192.0.2.7", "vm"].map(|name| name.parse().unwrap()).into(),
        renamed_to: Some("there".parse().unwrap()),
        ..HostRecord::new(Uuid::nil())
    };
    records.extend([
        (Key::Host("here".parse().unwrap()), Stored::Host(host)),
        (Key::Sys, Stored::Sys(sys)),
        (Key::Checkpoint, Stored::Checkpoint(checkpoint)),
        (Key::Folded, Stored::Folded(folded)),
        (Key::Barrier, Stored::Barrier),
    ]);
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, stored) in &records {
        let bytes = codec::encode(stored).unwrap();
        let found = codec::decode(key, None, &bytes);
        assert_eq!(found, codec::Found::Stored(stored.clone()));
        let record: Value = serde_json::from_slice(&bytes).unwrap();
        let name = schemas.of_record(&key.to_string(), &record).unwrap();
        let errors = schemas.errors(&name, &record);
        assert!(errors.is_empty(), "{name}: {errors:#?}\n{record:#}");
        present(&record, "", seen.entry(name).or_default());
    }
    let names: Vec<&str> = schemas.names().collect();
    for name in names.iter().filter(|name| name.starts_with("record.")) {
        let mut wanted = BTreeSet::new();
        named(schemas.get(name).unwrap(), "", &mut wanted);
        assert_eq!(seen.get(*name), Some(&wanted), "{name}");
    }
}
