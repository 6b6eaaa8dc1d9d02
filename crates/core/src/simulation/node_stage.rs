//! What schedules ask for about nodes, tools, buses and trust.

use onex_types::{
    ids::{LeaseId, NodeId, Ttl},
    key::PortKey,
};
use semver::Version;

use crate::{
    command::{Action, Answer, GrantRequest, Outcome, Probed, Refusal},
    engine::JobId,
    node::{Inbound, NodeType, Registration, Tool},
    node_command::{
        DeregisterBus, DeregisterTool, Heartbeat, NodeClaim, OwnerRequest, Register, RegisterBus,
        RegisterTool, TrustReport,
    },
    record_parts::Unknown,
    trust::{Lifecycle, Verdict},
};

use super::{
    instance::host,
    stage::{Stage, named, requester, wants},
};

pub(super) fn node_id(text: &str) -> NodeId {
    text.parse().unwrap()
}

pub(super) fn claim(node: &str, n: u128, epoch: u64) -> NodeClaim {
    NodeClaim {
        node_id: node_id(node),
        requester_id: requester(n),
        epoch,
    }
}

/// A tool under that contract.
pub(super) fn tool(name: &str, contract: &str) -> Tool {
    Tool {
        name: name.parse().unwrap(),
        version: Version::new(1, 0, 0),
        contract_hash: contract.to_owned(),
        bytes: 100,
        patterns: 1,
        subject: format!("tool.{name}"),
        tags: vec!["math".parse().unwrap()],
        more: Unknown::new(),
    }
}

pub(super) fn registration(node_type: NodeType, tools: Vec<Tool>) -> Registration {
    let registration = Registration {
        version: Version::new(1, 0, 0),
        node_type,
        tags: vec!["blue".parse().unwrap()],
        host: Some(host()),
        contract_hash: String::new(),
        base_hash: "base".to_owned(),
        bytes: 200,
        inbound_ports: Vec::new(),
        tools,
        more: Unknown::new(),
    };
    registration.seal()
}

/// A registration by requester `n`, for eight seconds.
pub(super) fn registers(
    node: &str,
    n: u128,
    epoch: Option<u64>,
    tools: Vec<Tool>,
    request: Option<u128>,
) -> Register {
    Register {
        node_id: node_id(node),
        requester_id: requester(n),
        epoch,
        ttl: Ttl::try_from(8).unwrap(),
        registration: registration(NodeType::Tool, tools),
        request: request.map(named),
    }
}

pub(super) fn register(node: &str, n: u128, epoch: Option<u64>) -> Action {
    Action::Register(Box::new(registers(node, n, epoch, Vec::new(), None)))
}

pub(super) fn register_again(
    node: &str,
    n: u128,
    epoch: Option<u64>,
    tools: Vec<Tool>,
    request: Option<u128>,
) -> Action {
    Action::Register(Box::new(registers(node, n, epoch, tools, request)))
}

pub(super) fn register_validator(node: &str, n: u128) -> Action {
    Action::Register(Box::new(Register {
        registration: registration(NodeType::Validator, Vec::new()),
        ..registers(node, n, None, Vec::new(), None)
    }))
}

pub(super) fn listens_on(mut request: Register, lease_id: LeaseId, port: u16) -> Action {
    request.registration.inbound_ports.push(Inbound {
        lease_id: Some(lease_id),
        port,
        more: Unknown::new(),
    });
    Action::Register(Box::new(request))
}

pub(super) fn heartbeat(node: &str, n: u128, epoch: u64, ttl: Option<u32>) -> Action {
    Action::Heartbeat(Box::new(Heartbeat {
        of: claim(node, n, epoch),
        ttl: ttl.map(|ttl| Ttl::try_from(ttl).unwrap()),
        health: None,
    }))
}

pub(super) fn deregister(node: &str, n: u128, epoch: u64) -> Action {
    Action::Deregister(claim(node, n, epoch))
}

pub(super) fn add_tool(of: NodeClaim, tool: Tool, request: Option<u128>) -> Action {
    Action::RegisterTool(Box::new(RegisterTool {
        of,
        tool,
        request: request.map(named),
    }))
}

pub(super) fn remove_tool(of: NodeClaim, name: &str, request: Option<u128>) -> Action {
    Action::DeregisterTool(Box::new(DeregisterTool {
        of,
        name: name.parse().unwrap(),
        version: None,
        request: request.map(named),
    }))
}

pub(super) fn bus(
    id: &str,
    n: u128,
    node: Option<&str>,
    lease_id: Option<LeaseId>,
    request: Option<u128>,
) -> Action {
    Action::RegisterBus(Box::new(RegisterBus {
        bus_id: id.parse().unwrap(),
        requester_id: requester(n),
        protocol: "redis".parse().unwrap(),
        node_id: node.map(node_id),
        lease_id,
        more: Unknown::new(),
        request: request.map(named),
    }))
}

pub(super) fn remove_bus(id: &str, n: u128, request: Option<u128>) -> Action {
    Action::DeregisterBus(DeregisterBus {
        bus_id: id.parse().unwrap(),
        requester_id: requester(n),
        request: request.map(named),
    })
}

pub(super) fn reports(
    node: &str,
    validator: &str,
    n: u128,
    outcome: Verdict,
    lifecycle: Option<Lifecycle>,
) -> TrustReport {
    TrustReport {
        node_id: node_id(node),
        validator_id: node_id(validator),
        requester_id: requester(n),
        outcome,
        failure_mode: None,
        lifecycle,
        contract_hash: None,
        request: None,
    }
}

pub(super) fn freeze(node: &str, validator: &str, n: u128) -> Action {
    let lifecycle = Some(Lifecycle::Frozen);
    Action::Report(Box::new(reports(
        node,
        validator,
        n,
        Verdict::Pass,
        lifecycle,
    )))
}

/// Asks for a port that ends with a node.
pub(super) fn wants_for(node: &str, n: u128, request: Option<u128>, port: Option<u16>) -> Action {
    let Action::Lease(grant) = wants(n, 1, request, port) else {
        unreachable!()
    };
    Action::Lease(Box::new(GrantRequest {
        owner: Some(OwnerRequest {
            node_id: node_id(node),
            epoch: None,
            on_its_host: true,
        }),
        ..*grant
    }))
}

impl Stage {
    /// Asks an instance, and lets everything arrive.
    pub(super) fn done(&mut self, index: usize, action: Action) -> Outcome {
        let job = self.ask(index, action);
        self.settled(job)
    }

    pub(super) fn settled(&mut self, job: JobId) -> Outcome {
        self.settle();
        while !self.probes.is_empty() {
            self.probed(Probed::Bindable);
            self.settle();
        }
        self.reply(job).unwrap().clone()
    }

    /// The epoch that a registration was answered with.
    #[track_caller]
    pub(super) fn epoch(&mut self, index: usize, action: Action) -> u64 {
        match self.done(index, action).result {
            Ok(Answer::Node(node)) => node.live.epoch,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn refused(&mut self, index: usize, action: Action) -> Refusal {
        self.done(index, action).result.unwrap_err()
    }

    /// The lease that was granted.
    #[track_caller]
    pub(super) fn granted(&mut self, index: usize, action: Action) -> (LeaseId, PortKey) {
        match self.done(index, action).result {
            Ok(Answer::Lease(held)) => (held.lease.lease_id, held.key),
            other => panic!("{other:?}"),
        }
    }

    /// The lease that a job was answered with.
    #[track_caller]
    pub(super) fn lease_of(&mut self, job: JobId) -> LeaseId {
        match self.settled(job).result {
            Ok(Answer::Lease(held)) => held.lease.lease_id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn is_live(&self, index: usize, node: &str) -> bool {
        let state = self.engine(index).state();
        state.live_node(&node_id(node)).is_some()
    }

    /// Whether that node is live and offers that tool.
    pub(super) fn offers(&self, index: usize, node: &str, name: &str) -> bool {
        let nodes = &self.engine(index).state().indexes.nodes;
        let offer = nodes.offer(&name.parse().unwrap());
        offer.is_some_and(|offer| offer.providers(None).any(|id| *id == node_id(node)))
    }
}
