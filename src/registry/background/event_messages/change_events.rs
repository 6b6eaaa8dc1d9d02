//! What is published of one change.

use onex_core::{
    call::{ExecutionEnd, ExecutionStatus},
    entry::{Change, EventKind, EventRecord, Reported},
    key::Key,
    node_event::{NodeEvent as OfNode, ToolRef, TrustEvent as Report},
    node_record::Bus,
    record::{HostPool, Lease, Record},
    trust::score,
};
use onex_types::{
    ids::{BusId, Host, NodeId, Transport},
    key::PortKey,
    ports::PortRange,
};

use crate::protocol::{
    bounds::Open,
    error::ErrorCode,
    event::{
        About, BusEvent, ExecutionEvent, GapEvent, HostEvent, NodeEvent, PoolEvent, PoolPorts,
        PortEvent, ToolEvent, TrustEvent,
    },
    pool::Range,
};

use super::super::super::on_the_wire::{attempt, in_both};

/// An event before it is encoded.
pub(super) struct ChangeEvent {
    pub(super) kind: EventKind,
    pub(super) about: About,
    /// The key that it happened to.
    pub(super) key: Key,
    /// Counts what happened to that key.
    pub(super) n: u64,
    /// Of the request that caused it, where the command does not say it: time ends an execution for its caller.
    pub(super) correlation_id: Option<String>,
}

/// The events of a change, in order.
pub(super) fn change_events(change: &Change) -> Vec<ChangeEvent> {
    let (Change::Put { key, .. } | Change::End { key, .. } | Change::Delete { key, .. }) = change
    else {
        return Vec::new();
    };
    let Some(event) = change.event() else {
        return Vec::new();
    };
    let published = event
        .events()
        .filter(|(kind, _)| *kind != EventKind::ToolsChanged);
    let events = published.filter_map(|(kind, tool)| {
        Some(ChangeEvent {
            kind,
            about: about(change, key, event, tool)?,
            key: key.clone(),
            n: event.n,
            correlation_id: Reported::of(change)
                .and_then(|reported| reported.run.correlation_id.clone()),
        })
    });
    events.collect()
}

/// What an event is about; none where its record is of another kind than its key.
fn about(change: &Change, key: &Key, event: &EventRecord, tool: Option<&ToolRef>) -> Option<About> {
    let record = match change {
        Change::Put { record, .. } => Some(record),
        _ => None,
    };
    Some(match key {
        Key::Port(port) => About::Port(of_port(change, port, event)),
        Key::Node(id) | Key::Live(id) => of_node(id, event.node.as_deref()?, event, tool),
        Key::Host(host) => About::Host(HostEvent {
            host: host.clone(),
            reason: event.reason.clone(),
        }),
        Key::Pool(host) => About::Pool(of_pool(
            host,
            record.and_then(Record::pool).map(|pool| &**pool),
        )),
        Key::Bus(id) => About::Bus(of_bus(id, record?.bus()?)),
        Key::Trust(id) => About::Trust(of_trust(id, event.trust.as_deref()?)),
        Key::Call(_) | Key::Run(_) => {
            About::Execution(Box::new(execution_event(&Reported::of(change)?)))
        }
        Key::Named => {
            let gap = event.gap?;
            About::Gap(GapEvent {
                from_revision: gap.from,
                to_revision: gap.to,
            })
        }
        _ => return None,
    })
}

fn of_port(change: &Change, key: &PortKey, event: &EventRecord) -> PortEvent {
    let (lease, how) = match change {
        Change::Put {
            record: Record::Lease(lease),
            ..
        } => (Some(lease), None),
        Change::Put {
            record: Record::Cooldown(cooldown),
            ..
        } => (event.lease.as_ref(), Some(cooldown.how)),
        Change::End { how, .. } => (event.lease.as_ref(), Some(*how)),
        _ => (event.lease.as_ref(), None),
    };
    let lease: Option<&Lease> = lease.map(|lease| &**lease);
    let several = lease.filter(|lease| lease.ports.len() > 1);
    PortEvent {
        host: key.host.clone(),
        transport: key.transport,
        port: key.port,
        ports: several.map_or_else(Vec::new, |lease| lease.ports.clone()),
        transports: lease.map(in_both).unwrap_or_default(),
        old_port: event.old_port,
        lease_id: lease.map(|lease| lease.lease_id),
        requester_id: lease.map(|lease| lease.requester_id),
        name: lease.and_then(|lease| lease.name.clone()),
        holder: lease.and_then(|lease| lease.holder.clone()),
        outcome: how,
        reason: event.reason.clone(),
    }
}

/// What a host grants; none where it has no pool of its own.
fn of_pool(host: &Host, pool: Option<&HostPool>) -> PoolEvent {
    let on_the_wire = |ranges: &[PortRange]| ranges.iter().copied().map(Range::from).collect();
    let of = |pool: &HostPool, transport| {
        let ports = pool.ports(transport);
        PoolPorts {
            transport,
            ranges: on_the_wire(&ports.ranges),
            reserved: on_the_wire(&ports.reserved),
        }
    };
    PoolEvent {
        host: host.clone(),
        pools: pool.map(|pool| {
            [Transport::Tcp, Transport::Udp]
                .map(|it| of(pool, it))
                .to_vec()
        }),
        description: pool.and_then(|pool| pool.description.clone()),
    }
}

fn of_node(id: &NodeId, node: &OfNode, event: &EventRecord, tool: Option<&ToolRef>) -> About {
    let node = NodeEvent {
        node_id: id.clone(),
        requester_id: Some(node.requester_id),
        epoch: Some(node.epoch),
        reason: event.reason.clone(),
    };
    let Some(tool) = tool else {
        return About::Node(node);
    };
    About::Tool(ToolEvent {
        tool_name: tool.name.clone(),
        tool_version: tool.version.clone(),
        other_node_id: tool.other.clone(),
        node,
    })
}

fn of_bus(id: &BusId, bus: &Bus) -> BusEvent {
    BusEvent {
        bus_id: id.clone(),
        requester_id: Some(bus.requester_id),
        outcome: bus.ended.map(|end| end.how),
    }
}

fn of_trust(id: &NodeId, report: &Report) -> TrustEvent {
    TrustEvent {
        node_id: id.clone(),
        validator_id: report.validator_id.clone(),
        requester_id: Some(report.requester_id),
        outcome: Open::Known(report.outcome),
        failure_mode: report.failure_mode.clone(),
        contract_hash: report.contract_hash.clone(),
        trust_state: Open::Known(report.state),
        trust_score: score(report.passes, report.fails),
        registry_lifecycle: report.lifecycle.map(Open::Known),
    }
}

/// What an entry of the log says of an execution.
fn execution_event(reported: &Reported<'_>) -> ExecutionEvent {
    let Reported {
        request_id,
        run,
        end,
    } = reported;
    let execution = &run.execution;
    let unknown = |end: &&ExecutionEnd| end.how == ExecutionStatus::Unknown;
    let code = end.and_then(|end| end.code.clone());
    let timed_out = || ErrorCode::ToolTimeout.as_str().to_owned();
    ExecutionEvent {
        execution_id: execution.execution_id,
        request_id: *request_id,
        requester_id: run.requester_id,
        tool_name: execution.tool_name.clone(),
        tool_version: execution.tool_version.clone(),
        contract_hash: execution.contract_hash.clone(),
        provider_node_id: execution.node_id.clone(),
        timeout_ms: run.timeout_ms,
        outcome: end.map(|end| Open::Known(end.how)),
        code: code.or_else(|| end.filter(unknown).map(|_| timed_out())),
        executed: end.map(|end| Open::Known(end.executed)),
        duration_ms: end.and_then(|end| end.duration_ms),
        attempts: end.and_then(|end| end.attempts),
        asked: end
            .map(|end| end.asked.iter().map(attempt).collect())
            .unwrap_or_default(),
        trace_log_id: execution.trace_log_id.clone(),
    }
}
