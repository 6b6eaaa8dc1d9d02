//! The `admin.*` endpoints: each with why, which is logged.

use bytes::Bytes;
use onex_core::{
    command::{Action, Answer, Evict, RemoveHost, Revoke, RevokedLease, Unquarantine},
    state::State,
};
use onex_types::{
    ids::{Host, Port, Reason, Transport},
    key::PortKey,
};

use crate::{
    protocol::{
        admin::{
            EvictRequest, ForgetHostReply, ForgetHostRequest, RevokeReply, RevokeRequest,
            UnquarantineReply, UnquarantineRequest,
        },
        bounds::Open,
        error::{Error, ErrorCode, Outcome},
        frame::Parsed,
        node_life::{DeregisterReply, NodeEnd},
    },
    registry::{intake::Intake, message::to_bytes, refusal::decided, request::InFlight},
};

use super::{node_life::node, pages::catch_up};

/// `admin.port.revoke`.
pub(super) async fn revoke(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<RevokeRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    let only_with_port = |pointer: &str| {
        let message = "is for a port only: a lease_id says where it is";
        Err(Error::invalid(pointer, message))
    };
    let lease = match (request.lease_id, request.port) {
        (None, None) => return Err(Error::invalid("/port", "port or lease_id is required")),
        (Some(_), Some(_)) => {
            let message = "only one of port and lease_id may be given";
            return Err(Error::invalid("/port", message));
        }
        (Some(_), None) if request.host.is_some() => return only_with_port("/host"),
        (Some(_), None) if request.transport.is_some() => return only_with_port("/transport"),
        (Some(lease_id), None) => RevokedLease::Id(lease_id),
        (None, Some(port)) => RevokedLease::Of(key(intake, port, request.host, request.transport)?),
    };
    catch_up(intake, in_flight, request.min_revision).await?;
    let revoke = Revoke {
        lease,
        reason: request.reason.clone(),
    };
    let outcome = intake
        .decide(in_flight, Action::Revoke(Box::new(revoke)))
        .await?;
    let (Answer::Ended { lease_id, how, at }, revision) = decided(outcome)? else {
        return Err(Error::new(
            ErrorCode::Internal,
            "a lease goes on that was revoked",
        ));
    };
    log(in_flight, &format!("lease {lease_id}"), &request.reason);
    to_bytes(&RevokeReply {
        lease_id,
        outcome: Open::Known(how),
        ended_at: at,
        revision,
        ignored,
    })
}

/// `admin.port.unquarantine`.
pub(super) async fn unquarantine(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<UnquarantineRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    catch_up(intake, in_flight, request.min_revision).await?;
    let port = key(intake, request.port, request.host, request.transport)?;
    let unquarantine = Unquarantine {
        port: port.clone(),
        reason: request.reason.clone(),
    };
    let action = Action::Unquarantine(Box::new(unquarantine));
    let (_, revision) = decided(intake.decide(in_flight, action).await?)?;
    log(in_flight, &port.to_string(), &request.reason);
    to_bytes(&UnquarantineReply {
        host: port.host,
        transport: port.transport,
        port: port.port,
        revision,
        ignored,
    })
}

/// `admin.node.evict`.
pub(super) async fn evict(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<EvictRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    catch_up(intake, in_flight, request.min_revision).await?;
    let evict = Evict {
        node_id: request.node_id,
        epoch: request.epoch,
        reason: request.reason.clone(),
    };
    let outcome = intake
        .decide(in_flight, Action::Evict(Box::new(evict)))
        .await?;
    let (known, revision) = node(outcome)?;
    let ended = known.live.ended.as_ref();
    let ended = ended.ok_or_else(|| Error::new(ErrorCode::Internal, "the node goes on"))?;
    log(
        in_flight,
        &format!("node {}", known.node_id),
        &request.reason,
    );
    to_bytes(&DeregisterReply {
        epoch: known.live.epoch,
        status: NodeEnd::Evicted,
        ended_at: ended.at,
        revision,
        ignored,
        node_id: known.node_id,
    })
}

/// `admin.host.forget`.
pub(super) async fn forget_host(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<ForgetHostRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    catch_up(intake, in_flight, request.min_revision).await?;
    let ForgetHostRequest { host, reason, .. } = request;
    let read = |read: &dyn Fn(&State) -> bool| {
        let now = intake.clock.now().mono;
        let read = intake.driver.handle.reads.with(now, read);
        read.ok_or_else(|| Error::unavailable(Outcome::None))
    };
    let now = intake.clock.now().mono;
    if read(&|state| intake.own_host.running(state, now).contains(&host))? {
        let message = format!("host {host} is in use: an instance of the registry runs there");
        return Err(Error::new(ErrorCode::Conflict, message).with("host", host.as_str()));
    }
    let remove = RemoveHost {
        host: host.clone(),
        reason: reason.clone(),
    };
    let revision = loop {
        // A part of its ports at a time: readers see what was decided.
        let action = Action::RemoveHost(Box::new(remove.clone()));
        let (_, revision) = decided(intake.decide(in_flight, action).await?)?;
        if !read(&|state| state.knows_host(&host))? {
            break revision;
        }
    };
    log(in_flight, &format!("host {host}"), &reason);
    to_bytes(&ForgetHostReply {
        host,
        revision,
        ignored,
    })
}

/// The port that is meant.
fn key(
    intake: &Intake,
    port: Port,
    host: Option<Host>,
    transport: Option<Transport>,
) -> Result<PortKey, Error> {
    let host = host.map(|host| intake.meant(host)).transpose()?;
    Ok(PortKey {
        host: host.unwrap_or_else(|| intake.own_host.name().clone()),
        transport: transport.unwrap_or(Transport::Tcp),
        port,
    })
}

/// Says what was done to what, and why.
fn log(in_flight: &InFlight, what: &str, reason: &Reason) {
    tracing::warn!(
        endpoint = in_flight.endpoint.name(),
        correlation_id = in_flight.correlation_id,
        what,
        reason = reason.as_str(),
        "done by an administrator"
    );
}
