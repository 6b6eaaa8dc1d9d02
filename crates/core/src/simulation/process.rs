//! Processes that are nodes: they register, send heartbeats, hold ports, offer tools, announce buses, end, die, and are
//! superseded while they still run. Each reckons for itself how long it is live.
//!
//! A place runs one process after another. Several places may be of one node: then a process that begins at one of them
//! supersedes another that knows nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use onex_types::{
    ids::{
        CommandId, Digest, Incarnation, LeaseId, NodeId, RequestId, RequesterId, Transport, Ttl,
    },
    key::PortKey,
    time::MonoMillis,
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Command, GrantRequest, Outcome, Refusal},
    node::{NodeType, Tool},
    node_command::{
        DeregisterBus, DeregisterTool, Heartbeat, NodeClaim, OwnerRequest, Register, RegisterBus,
        RegisterTool, TrustReport,
    },
    record_parts::{Request, Unknown},
    trust::{Lifecycle, Verdict},
};

use super::{
    chance::Chance,
    holder::Ask,
    instance::{TTL_MAX, clock, host},
    node_stage::{registration, tool},
};

pub(super) const NODES: [&str; 3] = ["a", "a.b", "v"];
const TOOLS: [&str; 3] = ["add", "sub", "mul"];
const BUSES: [&str; 2] = ["x", "y"];
/// The node that reports on the others.
const VALIDATOR: &str = "v";
/// For how long it asks again, in milliseconds: less than a node is remembered, because with that its requests are.
const PATIENCE_MILLIS_MAX: u64 = 5_000;
/// Epochs that places name are so far apart: two processes that name one epoch would be one.
const EPOCHS_APART: u64 = 100_000;

/// What a process is and has, by its own reckoning.
#[derive(Debug, Clone)]
pub(super) struct Alive {
    pub(super) epoch: u64,
    pub(super) incarnation: Incarnation,
    /// By its own clock.
    until: MonoMillis,
    pub(super) ports: BTreeMap<LeaseId, Vec<PortKey>>,
    /// The tools that it offers, where it knows that.
    pub(super) tools: Option<BTreeSet<String>>,
}

/// A place at which processes of a node run.
pub(super) struct Process {
    pub(super) node_id: NodeId,
    pub(super) requester_id: RequesterId,
    place: u64,
    drift: i64,
    pub(super) ask: Option<Ask>,
    pub(super) alive: Option<Alive>,
    pub(super) asleep_until: u64,
    last_epoch: u64,
    /// The epoch that it named in a registration on which it gave up: a copy of that may still come.
    given_up: Option<u64>,
    asked: u64,
}

impl Process {
    pub(super) fn new(place: usize, drift: i64, chance: &mut Chance) -> Self {
        let node = chance.index(NODES.len());
        // The places of a node mostly belong to one requester.
        let other = if chance.hit(200) { place + 1 } else { 0 };
        Self {
            node_id: NODES[node].parse().unwrap(),
            requester_id: RequesterId(Uuid::from_u128((2_000 + node * 100 + other) as u128)),
            place: place as u64,
            drift,
            ask: None,
            alive: None,
            asleep_until: 0,
            last_epoch: 0,
            given_up: None,
            asked: 0,
        }
    }

    fn clock(&self, t: u64) -> MonoMillis {
        clock(t, self.drift)
    }

    /// What it is and has now, by its own reckoning.
    pub(super) fn lives(&self, t: u64) -> Option<&Alive> {
        self.alive
            .as_ref()
            .filter(|alive| self.clock(t) < alive.until)
    }

    /// What it does now. Returns what it sends.
    pub(super) fn wake(&mut self, t: u64, chance: &mut Chance, id: CommandId) -> Option<Command> {
        let now = self.clock(t);
        if self.alive.as_ref().is_some_and(|alive| now >= alive.until) {
            self.alive = None;
            self.give_up();
        }
        if let Some(ask) = &mut self.ask {
            ask.tries += 1;
            if ask.tries > 4 || now.since(ask.first_sent) > PATIENCE_MILLIS_MAX {
                self.give_up();
                return None;
            }
            return Some(Command {
                id,
                ..ask.command.clone()
            });
        }
        let action = match self.alive.clone() {
            None => self.register(chance, id, None),
            Some(alive) => self.act(&alive, chance, id)?,
        };
        self.asked += 1;
        let command = Command {
            id,
            correlation_id: None,
            action,
        };
        self.ask = Some(Ask {
            n: self.asked,
            command: command.clone(),
            first_sent: now,
            tries: 0,
        });
        Some(command)
    }

    /// It does not wait any longer: whether it was done is not known, and a copy may still come.
    fn give_up(&mut self) {
        if let Some(ask) = self.ask.take() {
            if let Action::Register(register) = &ask.command.action {
                self.given_up = register.epoch.or(self.given_up);
            }
            self.forget_tools(&ask.command.action);
        }
    }

    /// A copy of that may still come, and be done.
    fn forget_tools(&mut self, action: &Action) {
        let changes_tools = matches!(
            action,
            Action::Register(_) | Action::RegisterTool(_) | Action::DeregisterTool(_)
        );
        if let Some(alive) = self.alive.as_mut().filter(|_| changes_tools) {
            alive.tools = None;
        }
    }

    fn register(&self, chance: &mut Chance, id: CommandId, epoch: Option<u64>) -> Action {
        let named = (self.last_epoch / EPOCHS_APART + 1) * EPOCHS_APART + self.place * 1_000;
        let mut tools = Vec::new();
        for name in TOOLS {
            if chance.hit(400) {
                tools.push(some_tool(name, chance));
            }
        }
        let node_type = if self.node_id.as_str() == VALIDATOR {
            NodeType::Validator
        } else {
            NodeType::Tool
        };
        Action::Register(Box::new(Register {
            node_id: self.node_id.clone(),
            requester_id: self.requester_id,
            epoch: epoch.or_else(|| chance.hit(200).then_some(named)),
            ttl: ttl(chance),
            registration: registration(node_type, tools),
            request: Some(request(id)),
        }))
    }

    fn act(&mut self, alive: &Alive, chance: &mut Chance, id: CommandId) -> Option<Action> {
        let of = NodeClaim {
            node_id: self.node_id.clone(),
            requester_id: self.requester_id,
            epoch: alive.epoch,
        };
        let name = TOOLS[chance.index(TOOLS.len())];
        Some(match chance.below(20) {
            0 => {
                // It stops using what it has before it says so.
                self.alive = None;
                Action::Deregister(of)
            }
            1 => {
                self.alive = None;
                return None;
            }
            2 => self.register(chance, id, Some(alive.epoch)),
            3 | 4 => Action::RegisterTool(Box::new(RegisterTool {
                of,
                tool: some_tool(name, chance),
                request: Some(request(id)),
            })),
            5 | 6 => Action::DeregisterTool(Box::new(DeregisterTool {
                of,
                name: name.parse().unwrap(),
                version: None,
                request: Some(request(id)),
            })),
            7 | 8 => self.port(chance, id),
            9 | 10 => self.bus(alive, chance, id),
            11 => self.report(chance, id),
            12 => {
                let lease_id = *alive.ports.keys().next()?;
                self.alive.as_mut()?.ports.remove(&lease_id);
                Action::Release {
                    requester_id: self.requester_id,
                    lease_id,
                    request: None,
                }
            }
            _ => Action::Heartbeat(Box::new(Heartbeat {
                of,
                ttl: chance.hit(200).then(|| ttl(chance)),
                health: chance.hit(200).then(|| chance.below(2).into()),
            })),
        })
    }

    fn port(&self, chance: &mut Chance, id: CommandId) -> Action {
        Action::Lease(Box::new(GrantRequest {
            requester_id: self.requester_id,
            protocol: "p".parse().unwrap(),
            ttl: ttl(chance),
            owner: Some(OwnerRequest {
                node_id: self.node_id.clone(),
                epoch: self.alive.as_ref().map(|alive| alive.epoch),
                on_its_host: true,
            }),
            host: host(),
            transport: Transport::Tcp,
            both: chance.hit(150),
            count: if chance.hit(150) { 2 } else { 1 },
            contiguous: false,
            preferred: None,
            exact: false,
            name: None,
            labels: Vec::new(),
            holder: None,
            requested_at: None,
            request: Some(request(id)),
        }))
    }

    fn bus(&self, alive: &Alive, chance: &mut Chance, id: CommandId) -> Action {
        let bus_id = BUSES[chance.index(BUSES.len())].parse().unwrap();
        if chance.hit(300) {
            return Action::DeregisterBus(DeregisterBus {
                bus_id,
                requester_id: self.requester_id,
                request: Some(request(id)),
            });
        }
        let lease_id = alive.ports.keys().next().copied();
        Action::RegisterBus(Box::new(RegisterBus {
            bus_id,
            requester_id: self.requester_id,
            protocol: "p".parse().unwrap(),
            node_id: chance.hit(500).then(|| self.node_id.clone()),
            lease_id: lease_id.filter(|_| chance.hit(500)),
            more: Unknown::new(),
            request: Some(request(id)),
        }))
    }

    /// Only a validator's report is taken; what others say is refused.
    fn report(&self, chance: &mut Chance, id: CommandId) -> Action {
        let stages = [Lifecycle::Canary, Lifecycle::Validated, Lifecycle::Frozen];
        let failed = chance.hit(300);
        let stage = chance.index(stages.len());
        Action::Report(Box::new(TrustReport {
            node_id: NODES[chance.index(2)].parse().unwrap(),
            validator_id: self.node_id.clone(),
            requester_id: self.requester_id,
            outcome: if failed { Verdict::Fail } else { Verdict::Pass },
            failure_mode: None,
            lifecycle: Some(stages[stage]).filter(|_| !failed),
            contract_hash: None,
            request: Some(request(id)),
        }))
    }

    /// An answer to its `n`th question.
    pub(super) fn replied(&mut self, n: u64, outcome: &Outcome, t: u64) {
        let Some(ask) = self.ask.as_ref().filter(|ask| ask.n == n) else {
            return;
        };
        let retry = matches!(
            outcome.result,
            Err(Refusal::Unknown | Refusal::Unavailable | Refusal::Busy)
        );
        if retry {
            return;
        }
        let ask = ask.clone();
        self.ask = None;
        match (&ask.command.action, &outcome.result) {
            (Action::Register(register), Ok(Answer::Node(node))) => {
                let until = ask.first_sent.plus(node.live.ttl.millis());
                self.registered(register, node.live.incarnation, node.live.epoch, until);
            }
            (Action::Heartbeat(_), Ok(Answer::Node(node))) => {
                let until = ask.first_sent.plus(node.live.ttl.millis());
                if let Some(alive) = &mut self.alive {
                    alive.until = alive.until.max(until);
                }
            }
            (Action::Heartbeat(_), Err(_)) => self.alive = None,
            // What was refused is not remembered.
            (action, Err(_)) => self.forget_tools(action),
            (Action::Lease(_), Ok(Answer::Lease(held))) => {
                let owner = held.lease.owner.as_ref().unwrap().incarnation;
                let alive = self.alive.as_mut();
                if let Some(alive) = alive.filter(|alive| alive.incarnation == owner) {
                    let keys = held.lease.port_keys(&held.key.host).collect();
                    alive.ports.insert(held.lease.lease_id, keys);
                }
            }
            (Action::RegisterTool(request), Ok(_)) => {
                let name = request.tool.name.to_string();
                self.tools(|tools| tools.insert(name));
            }
            (Action::DeregisterTool(request), Ok(_)) => {
                let name = request.name.as_str();
                self.tools(|tools| tools.remove(name));
            }
            _ => {}
        }
        if self.lives(t).is_none() {
            self.alive = None;
        }
    }

    fn tools(&mut self, change: impl FnOnce(&mut BTreeSet<String>) -> bool) {
        if let Some(tools) = self.alive.as_mut().and_then(|alive| alive.tools.as_mut()) {
            change(tools);
        }
    }

    fn registered(
        &mut self,
        register: &Register,
        incarnation: Incarnation,
        epoch: u64,
        until: MonoMillis,
    ) {
        let tools = &register.registration.tools;
        let tools = tools.iter().map(|tool| tool.name.to_string()).collect();
        self.last_epoch = self.last_epoch.max(epoch);
        let same = self.alive.as_mut();
        if let Some(alive) = same.filter(|alive| alive.incarnation == incarnation) {
            alive.until = alive.until.max(until);
            // Once it did not know it does not know any more: a copy may still come.
            alive.tools = alive.tools.take().map(|_| tools);
            return;
        }
        self.alive = Some(Alive {
            epoch,
            incarnation,
            until,
            ports: BTreeMap::new(),
            tools: Some(tools).filter(|_| self.given_up != Some(epoch)),
        });
    }
}

fn some_tool(name: &str, chance: &mut Chance) -> Tool {
    tool(name, if chance.hit(800) { "c" } else { "d" })
}

fn ttl(chance: &mut Chance) -> Ttl {
    let seconds = chance.between(2, u64::from(TTL_MAX));
    Ttl::try_from(u32::try_from(seconds).unwrap()).unwrap()
}

fn request(id: CommandId) -> Request {
    Request {
        id: RequestId(id.0),
        digest: Digest(id.0),
    }
}
