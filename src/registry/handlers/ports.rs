//! `port.lease`, `port.heartbeat`, `port.release`.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use onex_core::{
    command::{Action, Answer, GrantRequest, Outcome},
    node_command::OwnerRequest,
    record::{LeaseEnd, Request},
};
use onex_types::{
    ids::{LeaseId, Transport, Ttl},
    key::PortKey,
    time::Now,
};

use crate::{
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode},
        frame::{Parsed, digest},
        port::{
            EndStatus, HEARTBEAT_LEASES_MAX, HeartbeatReply, HeartbeatRequest, LEASE_LABELS_MAX,
            LEASE_PORTS_MAX, LeaseReply, LeaseRequest, Lost, ReleaseReply, ReleaseRequest, Renewed,
            RequestedTransport,
        },
    },
    registry::{
        hosts::unknown_host,
        intake::Intake,
        message::to_bytes,
        queries::{granted, lease_reply},
        refusal::decided,
        request::{InFlight, Plan},
    },
};

use super::pages::{catch_up, read_index};

/// Leases of one heartbeat that are decided at the same time.
const HEARTBEAT_CONCURRENCY: usize = 256;

/// `port.lease`; none where no other port will do.
pub(super) fn lease(intake: &Intake, parsed: Parsed<LeaseRequest>) -> Result<Option<Plan>, Error> {
    if parsed.request.exact == Some(true) {
        return Ok(None);
    }
    lease_plan(intake, parsed).map(Some)
}

/// What decides it, and what answers it.
pub(super) fn lease_plan(intake: &Intake, parsed: Parsed<LeaseRequest>) -> Result<Plan, Error> {
    let Parsed { request, ignored } = parsed;
    let request_id = request.request_id.map(|id| Request {
        id,
        digest: digest(Endpoint::PortLease, &request),
    });
    let min_revision = request.min_revision;
    let grant = grant_request(intake, request, request_id)?;
    let own = intake.own_host.name().clone();
    if let Some(refusal) = intake.peers.refusal(&grant.host) {
        return Err(refusal);
    }
    let is_new = grant.host != own && !intake.knows_host(&grant.host);
    Ok(Plan {
        action: Action::Lease(Box::new(grant)),
        min_revision,
        reply: Box::new(move |outcome, now| match decided(outcome)? {
            (Answer::Lease(held), revision) => {
                let warns = is_new && held.is_first_on_host;
                let warning = warns.then(|| unknown_host(&held.key.host, &own));
                to_bytes(&LeaseReply {
                    warnings: warning.into_iter().collect(),
                    ignored,
                    ..granted(&held, revision, now)
                })
            }
            _ => Err(Error::new(ErrorCode::Internal, "a grant granted nothing")),
        }),
    })
}

/// `port.heartbeat` of one lease; none where it is of several.
pub(super) fn heartbeat(parsed: Parsed<HeartbeatRequest>) -> Result<Option<Plan>, Error> {
    let Parsed { request, ignored } = parsed;
    match (request.lease_id, &request.lease_ids) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "/lease_ids",
            "only one of lease_id and lease_ids may be given",
        )),
        (None, Some(lease_ids)) if lease_ids.len() > HEARTBEAT_LEASES_MAX => {
            let message = format!("must be at most {HEARTBEAT_LEASES_MAX} leases");
            Err(Error::invalid("/lease_ids", message).with("limit", HEARTBEAT_LEASES_MAX))
        }
        (None, _) => Ok(None),
        (Some(lease_id), None) => Ok(Some(Plan {
            action: renewal(&request, lease_id),
            min_revision: request.min_revision,
            reply: Box::new(move |outcome, now| {
                to_bytes(&LeaseReply {
                    ignored,
                    ..renewed(outcome, now)?
                })
            }),
        })),
    }
}

/// `port.heartbeat` of several leases, or of all that the requester holds.
pub(super) async fn heartbeat_several(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<HeartbeatRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    catch_up(intake, in_flight, request.min_revision).await?;
    let mut left_out = Vec::new();
    let lease_ids: Vec<LeaseId> = if let Some(lease_ids) = &request.lease_ids {
        let unique: BTreeSet<LeaseId> = lease_ids.iter().copied().collect();
        unique.into_iter().collect()
    } else {
        read_index(intake, in_flight).await?;
        let mut held = held_by(intake, &request)?;
        // More than one heartbeat renews: those that it leaves out are named, never forgotten.
        left_out = held.split_off(held.len().min(HEARTBEAT_LEASES_MAX));
        held
    };
    let mut reply = HeartbeatReply {
        unknown: left_out,
        ignored,
        ..HeartbeatReply::default()
    };
    let mut renewals = stream::iter(lease_ids)
        .map(|lease_id| {
            let action = renewal(&request, lease_id);
            async move {
                let outcome = intake.decide(in_flight, action).await;
                let now = intake.clock.now();
                (lease_id, outcome.and_then(|outcome| renewed(outcome, now)))
            }
        })
        .buffer_unordered(HEARTBEAT_CONCURRENCY);
    while let Some((lease_id, renewed)) = renewals.next().await {
        match renewed {
            Ok(lease) => {
                reply.revision = reply.revision.max(lease.revision);
                reply.renewed.push(Renewed {
                    lease_id,
                    fencing_token: lease.fencing_token,
                    expires_in_ms: lease.expires_in_ms,
                    revision: lease.revision,
                });
            }
            Err(error) if says_stop(error.code) => reply.lost.push(Lost {
                lease_id,
                code: error.code.as_str().to_owned(),
                revision: error.revision.unwrap_or_default(),
            }),
            Err(error) if error.retryable || error.code == ErrorCode::Internal => {
                reply.unknown.push(lease_id);
            }
            // What is wrong with the request is wrong with all of it.
            Err(error) => return Err(error),
        }
    }
    reply.revision = reply.revision.max(intake.driver.handle.reads.revision());
    to_bytes(&reply)
}

fn held_by(intake: &Intake, request: &HeartbeatRequest) -> Result<Vec<LeaseId>, Error> {
    let now = intake.clock.now().mono;
    let held = intake.driver.handle.reads.with(now, |state| {
        let keys = state
            .indexes
            .held_by(request.requester_id, &PortKey::first());
        let lease_id = |key: &PortKey| Some(state.lease(key)?.1.lease_id);
        keys.filter_map(lease_id).collect()
    });
    held.ok_or_else(|| Error::unavailable(crate::protocol::error::Outcome::None))
}

/// `port.release`.
pub(super) fn release(parsed: Parsed<ReleaseRequest>) -> Plan {
    let Parsed { request, ignored } = parsed;
    Plan {
        action: Action::Release {
            requester_id: request.requester_id,
            lease_id: request.lease_id,
            request: request.request_id.map(|id| Request {
                id,
                digest: digest(Endpoint::PortRelease, &request),
            }),
        },
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| match decided(outcome)? {
            (Answer::Ended { lease_id, how, at }, revision) => to_bytes(&ReleaseReply {
                lease_id,
                status: match how {
                    LeaseEnd::Released => EndStatus::Released,
                    LeaseEnd::Expired
                    | LeaseEnd::InUse
                    | LeaseEnd::Rebound
                    | LeaseEnd::Superseded
                    | LeaseEnd::Revoked => EndStatus::Expired,
                },
                released_at: at,
                revision,
                ignored,
            }),
            _ => Err(Error::new(ErrorCode::Internal, "a release ended nothing")),
        }),
    }
}

fn renewal(request: &HeartbeatRequest, lease_id: LeaseId) -> Action {
    Action::Renew {
        requester_id: request.requester_id,
        lease_id,
        ttl: request.ttl,
        request: request.request_id.map(|id| Request {
            id,
            digest: digest(Endpoint::PortHeartbeat, request),
        }),
    }
}

fn renewed(outcome: Outcome, now: Now) -> Result<LeaseReply, Error> {
    match decided(outcome)? {
        (Answer::Lease(held), revision) => Ok(lease_reply(&held, revision, now.mono)),
        _ => Err(Error::new(ErrorCode::Internal, "a renewal renewed nothing")),
    }
}

/// Whether the holder must stop using the port.
fn says_stop(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::LeaseExpired | ErrorCode::LeaseNotFound | ErrorCode::NotHolder
    )
}

/// What a lease request asks for, with its defaults; refuses what this version does not offer.
fn grant_request(
    intake: &Intake,
    request: LeaseRequest,
    request_id: Option<Request>,
) -> Result<GrantRequest, Error> {
    if request.node_id.is_some() && request.ttl.is_some() {
        return Err(Error::invalid(
            "/ttl",
            "a lease with a node_id ends with that node: it has no ttl of its own",
        ));
    }
    if request.node_id.is_none() && request.epoch.is_some() {
        return Err(Error::invalid(
            "/node_id",
            "node_id is required with epoch: it says which life of that node the lease ends with",
        ));
    }
    let count = request.count.unwrap_or(1);
    if !(1..=LEASE_PORTS_MAX).contains(&count) {
        let message = format!("must be 1 to {LEASE_PORTS_MAX}, not {count}");
        return Err(Error::invalid("/count", message).with("limit", LEASE_PORTS_MAX));
    }
    if request.labels.len() > LEASE_LABELS_MAX {
        let message = format!("must be at most {LEASE_LABELS_MAX}");
        return Err(Error::invalid("/labels", message).with("limit", LEASE_LABELS_MAX));
    }
    let exact = request.exact.unwrap_or(false);
    if exact && request.preferred_port.is_none() {
        return Err(Error::invalid(
            "/preferred_port",
            "preferred_port is required with exact",
        ));
    }
    let (transport, both) = match request.transport.unwrap_or_default() {
        RequestedTransport::Tcp => (Transport::Tcp, false),
        RequestedTransport::Udp => (Transport::Udp, false),
        RequestedTransport::Both => (Transport::Tcp, true),
    };
    let mut labels = request.labels;
    labels.sort();
    labels.dedup();
    let own = || intake.own_host.name().clone();
    let on_its_host = request.host.is_none();
    let owner = request.node_id.map(|node_id| OwnerRequest {
        node_id,
        epoch: request.epoch,
        on_its_host,
    });
    let host = request.host.map(|host| intake.meant(host)).transpose()?;
    Ok(GrantRequest {
        requester_id: request.requester_id,
        protocol: request.protocol,
        ttl: request.ttl.unwrap_or(Ttl::DEFAULT.min(intake.ttl_max)),
        owner,
        host: host.unwrap_or_else(own),
        transport,
        both,
        count,
        contiguous: request.contiguous.unwrap_or(false),
        preferred: request.preferred_port,
        exact,
        name: request.name,
        labels,
        holder: request
            .holder
            .filter(|holder| !holder.is_silent())
            .map(Arc::new),
        requested_at: request.requested_at,
        request: request_id,
    })
}
