//! How a node stays and goes: `node.heartbeat` and `node.deregister`.

use onex_core::{
    command::{Action, Answer, Outcome},
    node_command::{Heartbeat, NodeAnswer, NodeClaim},
};

use crate::{
    protocol::{
        error::{Error, ErrorCode},
        frame::Parsed,
        node_life::{
            DeregisterReply, DeregisterRequest, HEARTBEAT_AFTER_PART, HeartbeatReply,
            HeartbeatRequest, NodeEnd,
        },
    },
    registry::{message::to_bytes, refusal::decided, request::Plan},
};

use super::nodes::left;

/// `node.heartbeat`.
pub(super) fn heartbeat(parsed: Parsed<HeartbeatRequest>) -> Plan {
    let Parsed { request, ignored } = parsed;
    let action = Action::Heartbeat(Box::new(Heartbeat {
        of: NodeClaim {
            node_id: request.node_id,
            requester_id: request.requester_id,
            epoch: request.epoch,
        },
        ttl: request.ttl,
        health: request.health,
    }));
    Plan {
        action,
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, now| {
            let (known, revision) = node(outcome)?;
            let left = left(&known, now.mono);
            to_bytes(&HeartbeatReply {
                expires_in_ms: left,
                heartbeat_after_ms: left / HEARTBEAT_AFTER_PART,
                revision,
                ignored,
                node_id: known.node_id,
            })
        }),
    }
}

/// `node.deregister`.
pub(super) fn deregister(parsed: Parsed<DeregisterRequest>) -> Plan {
    let Parsed { request, ignored } = parsed;
    let claim = NodeClaim {
        node_id: request.node_id,
        requester_id: request.requester_id,
        epoch: request.epoch,
    };
    Plan {
        action: Action::Deregister(claim),
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| {
            let (known, revision) = node(outcome)?;
            let ended = known
                .live
                .ended
                .as_ref()
                .ok_or_else(|| Error::new(ErrorCode::Internal, "the node goes on"))?;
            to_bytes(&DeregisterReply {
                epoch: known.live.epoch,
                status: NodeEnd::Deregistered,
                ended_at: ended.at,
                revision,
                ignored,
                node_id: known.node_id,
            })
        }),
    }
}

/// The node that a command was about, and the revision of what is said of it.
pub(super) fn node(outcome: Outcome) -> Result<(NodeAnswer, u64), Error> {
    match decided(outcome)? {
        (Answer::Node(known), revision) => Ok((*known, revision)),
        _ => Err(Error::new(
            ErrorCode::Internal,
            "a command about a node was answered with something else",
        )),
    }
}
