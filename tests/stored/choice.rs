//! Values of the core's types and of the view's, with any of their optional members. They are written out with all members,
//! so that a new one is noticed here.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;
use onex_core::call::{
    Attempt, CallEnded, CallOutcome, Completed, Execution, ExecutionEnd, Failure,
};
use onex_core::entry::{Change, Changes, Chunk, CommandRecord, Entry, EventRecord, Gap, Kept};
use onex_core::execution::{Call, Counts, Run};
use onex_core::host_names::HostRecord;
use onex_core::key::Key;
use onex_core::node::{Inbound, NodeType, Registration, Tool};
use onex_core::node_event::{NodeEvent, ToolRef, TrustEvent};
use onex_core::node_record::{Bus, BusEnded, Live, Node, NodeEnded, NodeLimits, PastIncarnation};
use onex_core::record::{
    Cooldown, Format, HostPool, InstanceId, Last, Lease, Member, Named, OwnerRef, PoolPorts,
    PortKeyText, Record, Remembered, Request, Restored, RevisionRange, Settings, Store,
};
use onex_core::trust::{LatestVerdict, OnContract, Verdicts};
use onex_registry::protocol::port::LeaseStatus;
use onex_registry::registry::stored::view::{
    EndedView, LeaseView, LiveStatus, LiveView, NodeView, PortView,
};
use onex_types::holder::Holder;
use onex_types::ids::{
    Digest, ExecutionId, Incarnation, LeaseId, Port, RequestId, RequesterId, Transport, Ttl,
};
use onex_types::key::PortKey;
use onex_types::ports::PortRange;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// What the registry keeps for itself of a registration and its tools.
pub(super) const INTERNAL: [&str; 3] = ["base_hash", "bytes", "patterns"];

/// Every value of an enumeration without members: serde's complaint names them.
pub(super) fn all_of<T: DeserializeOwned>() -> Vec<T> {
    let complaint = serde_json::from_value::<T>(json!("no-such")).err().unwrap();
    let complaint = complaint.to_string();
    let (_, listed) = complaint.split_once("expected ").unwrap();
    let names = listed.split('`').skip(1).step_by(2);
    names
        .map(|name| serde_json::from_value(json!(name)).unwrap())
        .collect()
}

fn time() -> Timestamp {
    "2026-11-22T10:04:07.123456789Z".parse().unwrap()
}

fn port_key() -> PortKey {
    "port.10=2E0=2E0=2E1.tcp.80".parse().unwrap()
}

/// Which optional members are there: of a few hundred of these every pair is.
pub(super) struct Choice(u64);

impl Choice {
    pub(super) fn of(n: u64) -> Self {
        Self(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n >> 7)
    }

    fn next(&mut self, below: usize) -> usize {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*state >> 33).unwrap() % below
    }

    fn yes(&mut self) -> bool {
        self.next(2) == 1
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        self.yes().then_some(value)
    }

    fn some<T>(&mut self, value: T) -> Vec<T> {
        self.maybe(value).into_iter().collect()
    }

    fn number(&mut self) -> u64 {
        [0, 7, 1 << 52][self.next(3)]
    }

    /// Any value of an enumeration.
    fn any<T: DeserializeOwned>(&mut self) -> T {
        let mut all = all_of::<T>();
        all.swap_remove(self.next(all.len()))
    }

    fn request() -> Request {
        Request {
            id: RequestId(Uuid::new_v4()),
            digest: Digest(Uuid::new_v4()),
        }
    }

    fn maybe_request(&mut self) -> Option<Request> {
        let request = Self::request();
        self.maybe(request)
    }

    fn requests(&mut self) -> Vec<Request> {
        self.maybe_request().into_iter().collect()
    }

    fn owner(&mut self) -> Option<OwnerRef> {
        self.maybe(OwnerRef {
            node_id: "text.summariser".parse().unwrap(),
            incarnation: Incarnation(Uuid::now_v7()),
        })
    }

    /// Those of `all` that are there, as members that the core carries along.
    fn some_of(&mut self, all: Value) -> BTreeMap<String, Value> {
        let Value::Object(all) = all else {
            panic!("no object: {all}")
        };
        all.into_iter().filter(|_| self.yes()).collect()
    }

    fn lease(&mut self) -> Lease {
        Lease {
            lease_id: LeaseId(Uuid::now_v7()),
            requester_id: RequesterId(Uuid::new_v4()),
            protocol: "http".parse().unwrap(),
            ttl: Ttl::MAX,
            owner: self.owner(),
            ports: vec![Port::LOWEST],
            transports: Transport::ALL.to_vec(),
            name: self.maybe("api.v1".parse().unwrap()),
            labels: self.some("team: blue".parse().unwrap()),
            holder: self.holder(),
            requested_at: self.maybe("1970-01-01T00:00:00Z".parse().unwrap()),
            granted_at: time(),
            fence: self.number(),
            request: self.maybe_request(),
            renewal: self.maybe_request(),
            rebind: self.maybe_request(),
            unknown: BTreeMap::new(),
        }
    }

    fn holder(&mut self) -> Option<Arc<Holder>> {
        let holder = Holder {
            user: self.maybe("ana".parse().unwrap()),
            host: self.maybe("build-7".parse().unwrap()),
            pid: self.maybe(NonZeroU32::MAX),
            command: self.maybe("pytest".parse().unwrap()),
        };
        self.maybe(Arc::new(holder))
    }

    fn cooldown(&mut self) -> Cooldown {
        let last = Last {
            lease_id: LeaseId(Uuid::now_v7()),
            requester_id: RequesterId(Uuid::new_v4()),
            name: self.maybe("api".parse().unwrap()),
            holder: self.holder(),
            fence: self.number(),
            request: self.maybe_request(),
            release: self.maybe_request(),
            part: self.yes(),
        };
        Cooldown {
            how: self.any(),
            ended_at: time(),
            cooldown_ms: self.number(),
            holder_ms: self.number(),
            reason: self.maybe("it hangs".parse().unwrap()),
            last,
        }
    }

    fn remembered(&mut self) -> Remembered {
        Remembered {
            n: self.number(),
            requester_id: RequesterId(Uuid::nil()),
            request: Self::request(),
            lease_id: LeaseId(Uuid::now_v7()),
            port: Port::LOWEST,
        }
    }

    fn settings(&mut self) -> Settings {
        let range = PortRange {
            first: Port::LOWEST,
            last: Port::new(u16::MAX).unwrap(),
        };
        Settings {
            ttl_max: Ttl::MAX,
            holder_leases_max: 1,
            hosts_max: 1,
            ports_default: self.some(range),
            reserved_default: self.some(range),
            known_hosts_only: self.yes(),
            retention_ms: self.number(),
            nodes: NodeLimits {
                nodes_max: 1,
                buses_max: 1,
                node_bytes_max: 1,
            },
            calls_max: 1,
            calls_kept_ms: self.number(),
            runs_max: 1,
            unknown: BTreeMap::new(),
        }
    }

    fn pool(&mut self) -> HostPool {
        let range = PortRange {
            first: Port::LOWEST,
            last: Port::LOWEST,
        };
        let ports = |choice: &mut Self| PoolPorts {
            ranges: vec![range],
            reserved: choice.some(range),
        };
        let udp = ports(self);
        HostPool {
            ports: ports(self),
            udp: self.maybe(udp),
            description: self.maybe("for builds".to_owned()),
            unknown: BTreeMap::new(),
        }
    }

    fn restored(&mut self) -> Restored {
        Restored {
            skipped: vec![RevisionRange { from: 1, to: 2 }],
            quiet_ms: self.number(),
        }
    }

    fn host(&mut self) -> HostRecord {
        HostRecord {
            said_by: Uuid::nil(),
            port_space: self.maybe("boot net:[1]".to_owned()),
            aliases: ["192.0.2.7", "vm"].map(|name| name.parse().unwrap()).into(),
            renamed_to: self.maybe("there".parse().unwrap()),
            unknown: BTreeMap::new(),
        }
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
            tags: self.some("math".parse().unwrap()),
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
        let modes = ["memory", "container", "external"];
        let more = json!({
            "version_hash": "x", "description": "y", "execution_mode": modes[self.next(3)],
            "schema": {
                "inputs": [field], "outputs": [field], "accepts_context": true, "modifies_state": false,
                "side_effects": ["z"],
            },
            "outbound_ports": [{"name": "out", "topic": "a.>", "protocol": "nats"}],
            "capabilities": [1, null], "graph_binding": "left", "owned_by_agent": "agent",
            "subscribed_by_agents": ["agent"], "upstream_nodes": ["a.b"], "downstream_nodes": ["c"],
        });
        let types = [
            NodeType::Tool,
            NodeType::Validator,
            NodeType::Test,
            NodeType::Adapter,
            NodeType::Agent,
        ];
        let (tool, inbound) = (self.tool(), self.inbound());
        Registration {
            version: "1.0.0".parse().unwrap(),
            node_type: types[self.next(types.len())],
            tags: self.some("text".parse().unwrap()),
            host: self.maybe("here".parse().unwrap()),
            contract_hash: "c2:0".to_owned(),
            base_hash: "c2:1".to_owned(),
            bytes: 17,
            inbound_ports: self.some(inbound),
            tools: self.some(tool),
            more: self.some_of(more),
        }
    }

    fn node(&mut self) -> Node {
        Node {
            incarnation: Incarnation(Uuid::now_v7()),
            registration: self.registration(),
            began: self.maybe_request(),
            requests: self.requests(),
            earlier: self.requests(),
            unknown: BTreeMap::new(),
        }
    }

    fn live(&mut self) -> Live {
        let ended = NodeEnded {
            how: self.any(),
            at: time(),
            kept_ms: self.number(),
            reason: self.maybe("it hangs".parse().unwrap()),
        };
        let past = PastIncarnation {
            incarnation: Incarnation(Uuid::now_v7()),
            how: self.any(),
            at: time(),
            ttl: Ttl::MAX,
        };
        Live {
            incarnation: Incarnation(Uuid::now_v7()),
            epoch: self.number(),
            requester_id: RequesterId(Uuid::new_v4()),
            ttl: Ttl::DEFAULT,
            registered_at: time(),
            ended: self.maybe(ended),
            past: self.some(past),
            health: self.maybe(json!(["good"])),
            unknown: BTreeMap::new(),
        }
    }

    fn bus(&mut self) -> Bus {
        let ended = BusEnded {
            how: self.any(),
            at: time(),
            kept_ms: self.number(),
        };
        let more = json!({"endpoint_uri": "redis://here", "inbound": true, "outbound": false});
        Bus {
            requester_id: RequesterId(Uuid::new_v4()),
            protocol: "redis".parse().unwrap(),
            owner: self.owner(),
            lease_id: self.maybe(LeaseId(Uuid::now_v7())),
            registered_at: time(),
            ended: self.maybe(ended),
            requests: self.requests(),
            more: serde_json::from_value(more).unwrap(),
        }
    }

    fn verdicts(&mut self) -> Verdicts {
        let verdict = LatestVerdict {
            validator_id: "checker".parse().unwrap(),
            outcome: self.any(),
            failure_mode: self.maybe("slow".parse().unwrap()),
            at: time(),
            requests: self.requests(),
        };
        let lifecycle = self.any();
        let on_contract = OnContract {
            contract_hash: "c2:0".to_owned(),
            lifecycle: self.maybe(lifecycle),
            latest: self.some(verdict),
        };
        Verdicts {
            contracts: self.some(on_contract),
            unknown: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> Run {
        let execution = Execution {
            execution_id: ExecutionId(Uuid::now_v7()),
            tool_name: "add".parse().unwrap(),
            tool_version: "1.0.0-rc.1".parse().unwrap(),
            contract_hash: "c2:0".to_owned(),
            node_id: "text.summariser".parse().unwrap(),
            trace_log_id: self.maybe("x/y".to_owned()),
        };
        Run {
            execution,
            timeout_ms: 4_000,
            requester_id: self.maybe(RequesterId(Uuid::nil())),
            correlation_id: self.maybe("x/y".to_owned()),
            began_at: time(),
            unknown: BTreeMap::new(),
        }
    }

    fn outcome(&mut self) -> CallOutcome {
        let failure = Failure {
            code: "ANY".to_owned(),
            message: "no".to_owned(),
            retryable: self.yes(),
            executed: self.any(),
            details: BTreeMap::from([("free".to_owned(), json!([null]))]),
        };
        let result = self.maybe("[1.50,\"three\"]".to_owned());
        match self.next(3) {
            0 => CallOutcome::Completed(Completed { result }),
            1 => CallOutcome::Failed(Box::new(failure)),
            _ => CallOutcome::Unknown,
        }
    }

    fn call(&mut self) -> Call {
        let ended = CallEnded {
            at: time(),
            outcome: self.outcome(),
        };
        Call {
            digest: Digest(Uuid::new_v4()),
            idempotent: self.yes(),
            run: self.run(),
            executed_before: self.yes(),
            ended: self.maybe(ended),
            kept_ms: self.number(),
            unknown: BTreeMap::new(),
        }
    }

    fn counts(&mut self) -> Counts {
        Counts {
            runs: self.number(),
            ok: self.number(),
            last_at: time(),
            unknown: BTreeMap::new(),
        }
    }

    /// One of each kind, under its key.
    fn records(&mut self) -> Vec<(Key, Record)> {
        let store = Store {
            store_id: Uuid::new_v4(),
            created_at: time(),
        };
        let named = Named {
            instance: InstanceId(1 << 52),
            published: self.number(),
            published_sequence: self.number(),
        };
        let member = Member {
            of: PortKeyText(port_key()),
        };
        let id = "00000000-0000-0000-0000-00000000000a";
        let records: [(String, Record); 18] = [
            ("sys.store".to_owned(), store.into()),
            ("sys.settings".to_owned(), self.settings().into()),
            ("pool.10=2E0=2E0=2E1".to_owned(), self.pool().into()),
            ("port.a.tcp.80".to_owned(), self.lease().into()),
            ("port.a.udp.80".to_owned(), member.into()),
            (
                "port.10=2E0=2E0=2E1.tcp.80".to_owned(),
                self.cooldown().into(),
            ),
            ("req.262143".to_owned(), self.remembered().into()),
            ("sys.named".to_owned(), named.into()),
            ("node.a=2Eb".to_owned(), self.node().into()),
            ("live.a=2Eb".to_owned(), self.live().into()),
            ("bus.main".to_owned(), self.bus().into()),
            ("trust.a".to_owned(), self.verdicts().into()),
            (format!("call.{id}"), self.call().into()),
            (format!("run.{id}"), self.run().into()),
            ("exec.a=2Eb".to_owned(), self.counts().into()),
            ("sys.restored".to_owned(), self.restored().into()),
            ("sys.format".to_owned(), Format { format: 2 }.into()),
            ("host.a".to_owned(), self.host().into()),
        ];
        records
            .into_iter()
            .map(|(key, record)| (key.parse().unwrap(), record))
            .collect()
    }

    fn tool_ref(&mut self) -> Vec<ToolRef> {
        let tool = ToolRef {
            name: "add".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            other: self.maybe("other".parse().unwrap()),
        };
        self.some(tool)
    }

    fn node_event(&mut self) -> NodeEvent {
        NodeEvent {
            requester_id: RequesterId(Uuid::new_v4()),
            epoch: self.number(),
            tools_removed: self.tool_ref(),
            tools_added: self.tool_ref(),
            collisions: self.tool_ref(),
        }
    }

    fn trust_event(&mut self) -> TrustEvent {
        let lifecycle = self.any();
        TrustEvent {
            validator_id: "checker".parse().unwrap(),
            requester_id: RequesterId(Uuid::new_v4()),
            outcome: self.any(),
            failure_mode: self.maybe("slow".parse().unwrap()),
            contract_hash: "c2:0".to_owned(),
            state: self.any(),
            passes: 1,
            fails: 0,
            lifecycle: self.maybe(lifecycle),
        }
    }

    fn execution_end(&mut self) -> Arc<ExecutionEnd> {
        let attempt = Attempt {
            node_id: "text.summariser".parse().unwrap(),
            said: self.any(),
            message: self.maybe("BUSY".to_owned()),
        };
        Arc::new(ExecutionEnd {
            how: self.any(),
            code: self.maybe("ANY".to_owned()),
            executed: self.any(),
            duration_ms: self.maybe(38),
            attempts: self.maybe(1),
            asked: self.some(attempt),
        })
    }

    fn event(&mut self) -> Option<EventRecord> {
        let (lease, node, trust) = (self.lease(), self.node_event(), self.trust_event());
        let (run, end) = (self.run(), self.execution_end());
        let event = EventRecord {
            kind: self.any(),
            n: self.number(),
            lease: self.maybe(Arc::new(lease)),
            old_port: self.maybe(Port::LOWEST),
            reason: self.maybe("it hangs".parse().unwrap()),
            gap: self.maybe(Gap { from: 1, to: 2 }),
            node: self.maybe(Box::new(node)),
            trust: self.maybe(Box::new(trust)),
            run: self.maybe(Arc::new(run)),
            end: self.maybe(end),
        };
        self.maybe(event)
    }

    /// One of each kind.
    fn changes(&mut self) -> Vec<Change> {
        let port = || Key::Port(port_key());
        let live: Key = "live.a=2Eb".parse().unwrap();
        let mut changes = vec![
            Change::Renew {
                key: live.clone(),
                ttl: self.maybe(Ttl::DEFAULT),
                request: self.maybe_request(),
                health: self.maybe(json!({"queue": 3})),
            },
            Change::Confirm { key: port() },
            Change::End {
                key: port(),
                how: self.any(),
                cooldown_ms: self.maybe(60_000),
                request: self.maybe_request(),
                event: self.event(),
            },
            Change::Add {
                key: "exec.a=2Eb".parse().unwrap(),
                runs: self.number(),
                ok: self.number(),
            },
            Change::Delete {
                key: live,
                event: self.event(),
            },
            Change::Skip { to: 1 << 43 },
            Change::Chunk {
                chunk: Box::new(self.chunk()),
            },
        ];
        for (key, record) in self.records() {
            changes.push(Change::Put {
                key,
                record,
                tentative: self.yes(),
                event: self.event(),
            });
        }
        changes
    }

    fn chunk(&mut self) -> Chunk {
        let mut records = self.records();
        records.sort_by(|(one, _), (other, _)| one.cmp(other));
        let kept = records.into_iter().map(|(key, record)| Kept {
            key,
            rev: self.number(),
            at: time(),
            tentative: self.yes(),
            event_count: self.number(),
            record,
        });
        Chunk {
            records: kept.collect(),
            snapshot: Uuid::new_v4(),
            n: 0,
            last: self.yes(),
            from: self.maybe(Key::Port(port_key())),
            to: self.maybe("trust.a".parse().unwrap()),
        }
    }

    /// With a command for each kind of change.
    pub(super) fn entry(&mut self) -> Entry {
        let others = self.changes().into_iter().map(|change| {
            CommandRecord::Other(Box::new(Changes {
                command: "port.lease".to_owned(),
                correlation_id: self.maybe("x/y".to_owned()),
                requester_id: self.maybe(RequesterId(Uuid::nil())),
                changes: vec![change],
            }))
        });
        let others: Vec<CommandRecord> = others.collect();
        let renewal = CommandRecord::Renewal(Key::Port(port_key()));
        Entry {
            rev: self.number(),
            at: time(),
            cmds: [renewal].into_iter().chain(others).collect(),
        }
    }

    pub(super) fn port_view(&mut self) -> Value {
        let (lease, ended) = (self.lease(), self.cooldown());
        let key = port_key();
        let view = if self.yes() {
            PortView::Lease(LeaseView {
                status: LeaseStatus::Active,
                requester_id: lease.requester_id,
                node_id: lease.owner.as_ref().map(|owner| &owner.node_id),
                name: lease.name.as_ref(),
                expires_at: self.maybe(time()),
                part_of: self.maybe(key.to_string()),
                lease_id: lease.lease_id,
                host: &key.host,
                transport: Transport::ALL[self.next(2)],
                transports: self.maybe(lease.transports.clone()).unwrap_or_default(),
                ports: &lease.ports,
                protocol: &lease.protocol,
                labels: &lease.labels,
                ttl: self.maybe(lease.ttl),
                holder: lease.holder.as_deref(),
                granted_at: time(),
                fencing_token: self.number(),
                revision: self.number(),
            })
        } else {
            PortView::Ended(EndedView {
                status: ended.how,
                reason: ended.reason.as_ref(),
                requester_id: ended.last.requester_id,
                name: ended.last.name.as_ref(),
                holder: ended.last.holder.as_deref(),
                ended_at: time(),
                free_at: self.maybe(time()),
                lease_id: ended.last.lease_id,
                host: &key.host,
                transport: Transport::ALL[self.next(2)],
                port: key.port,
                fencing_token: self.number(),
                revision: self.number(),
            })
        };
        super::to_json(&view)
    }

    pub(super) fn node_view(&mut self) -> Value {
        let mut registration = super::to_json(&self.registration());
        let hide = |of: &mut Value| {
            let members = of.as_object_mut().unwrap();
            members.retain(|name, _| !INTERNAL.contains(&name.as_str()));
        };
        hide(&mut registration);
        let tools = registration.get_mut("tools").and_then(Value::as_array_mut);
        tools.into_iter().flatten().for_each(hide);
        super::to_json(&NodeView {
            node_id: &"a.b".parse().unwrap(),
            registration,
            revision: self.number(),
        })
    }

    pub(super) fn live_view(&mut self) -> Value {
        let live = self.live();
        super::to_json(&LiveView {
            liveness: self.any::<LiveStatus>(),
            node_id: &"a.b".parse().unwrap(),
            requester_id: live.requester_id,
            expires_at: self.maybe(time()),
            ended: live.ended.as_ref().map(|ended| ended.how),
            reason: live.ended.as_ref().and_then(|ended| ended.reason.as_ref()),
            ended_at: self.maybe(time()),
            epoch: live.epoch,
            ttl: live.ttl,
            registered_at: time(),
            health: live.health.as_ref(),
            revision: self.number(),
        })
    }
}
