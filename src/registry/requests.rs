//! From a parsed request to commands, and from their outcomes to a reply: leases, heartbeats, releases.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, stream};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::{
        command::{Action, Answer, Command, Wish},
        ids::{CommandId, Host, LeaseId, RequestId, Transport, Ttl},
        record::Request,
        time::Moment,
    },
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode, Outcome},
        frame::digest,
        port::{
            HEARTBEAT_LEASES_MAX, HeartbeatReply, HeartbeatRequest, LEASE_LABELS_MAX, LeaseReply,
            LeaseRequest, Lost, ReleaseReply, ReleaseRequest, Renewed, TransportWish,
        },
    },
};

use super::{
    commit::{Commit, Known},
    contracts::Asking,
    serve::Place,
    view,
};

/// Leases of one heartbeat that are renewed at the same time.
const HEARTBEAT_CONCURRENCY: usize = 64;

/// What every command of one request has in common.
#[derive(Clone)]
pub(super) struct Caller {
    /// Who asks: see [`Callers::number`](super::callers::Callers::number).
    pub(super) number: u64,
    pub(super) correlation_id: String,
    /// No write is begun at or after this.
    pub(super) deadline: Moment,
    /// The same for the runtime's clock: then there is an answer, whatever it is.
    pub(super) until: tokio::time::Instant,
    /// Given back when all that the request began is settled.
    pub(super) place: Arc<Place>,
}

impl Caller {
    /// For work that waits for its turn.
    pub(super) fn asking(&self) -> Asking {
        Asking {
            caller: self.number,
            until: self.until,
        }
    }
}

/// The reply to a heartbeat: of one lease, or of several.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Heartbeat {
    One(Box<LeaseReply>),
    Several(HeartbeatReply),
}

impl Commit {
    /// Grants a port of `host`, which is what the request's host means.
    pub(super) async fn lease(
        self: &Arc<Self>,
        caller: &Caller,
        request: LeaseRequest,
        host: Option<Host>,
    ) -> Result<LeaseReply, Error> {
        let named = request.request_id.map(|id| Request {
            id,
            digest: digest(Endpoint::PortLease, &request),
        });
        let ttl_max = self.mirror.with(|core| core.index.policy.ttl_max);
        let mut wish = wish(request, ttl_max, named)?;
        wish.host = host;
        match self.run(caller, Action::Lease(wish)).await? {
            Answer::Lease(held) => Ok(self.mirror.with(|core| {
                let index = &core.index;
                view::granted(
                    held,
                    index.applied(),
                    index.lineage(),
                    self.clock.now().mono,
                )
            })),
            Answer::Ended { .. }
            | Answer::Node(_)
            | Answer::Execution { .. }
            | Answer::Done(_)
            | Answer::Nothing => Err(Error::new(ErrorCode::Internal, "a grant granted nothing")),
        }
    }

    pub(super) async fn heartbeat(
        self: &Arc<Self>,
        caller: &Caller,
        request: HeartbeatRequest,
    ) -> Result<Heartbeat, Error> {
        let named = named(Endpoint::PortHeartbeat, request.request_id, &request);
        match (request.lease_id, &request.lease_ids) {
            (Some(_), Some(_)) => Err(Error::invalid(
                "/lease_ids",
                "only one of lease_id and lease_ids may be given",
            )),
            (Some(lease_id), None) => {
                let lease = self.renew(caller, &request, lease_id, named).await?;
                Ok(Heartbeat::One(Box::new(lease)))
            }
            (None, Some(lease_ids)) if lease_ids.len() > HEARTBEAT_LEASES_MAX => {
                let message = format!("must be at most {HEARTBEAT_LEASES_MAX} leases");
                Err(Error::invalid("/lease_ids", message).with("limit", HEARTBEAT_LEASES_MAX))
            }
            (None, Some(lease_ids)) => {
                let unique: BTreeSet<LeaseId> = lease_ids.iter().copied().collect();
                let lease_ids = unique.into_iter().collect();
                let reply = self.renew_several(caller, &request, lease_ids, named);
                Ok(Heartbeat::Several(reply.await?))
            }
            (None, None) => {
                if !matches!(
                    tokio::time::timeout_at(caller.until, self.barrier.pass()).await,
                    Ok(true)
                ) {
                    return Err(Error::unavailable(Outcome::None));
                }
                let mut mine: Vec<LeaseId> = self.mirror.with(|core| {
                    let index = &core.index;
                    let lease_id = |key| index.entry(key)?.lease().map(|lease| lease.lease_id);
                    let held = index.lookup.held_by(request.requester_id, None);
                    held.filter_map(lease_id).collect()
                });
                // More than one heartbeat renews: those that it leaves out are named, never forgotten.
                let rest = mine.split_off(mine.len().min(HEARTBEAT_LEASES_MAX));
                let mut reply = self.renew_several(caller, &request, mine, named).await?;
                reply.unknown.extend(rest);
                Ok(Heartbeat::Several(reply))
            }
        }
    }

    async fn renew(
        self: &Arc<Self>,
        caller: &Caller,
        request: &HeartbeatRequest,
        lease_id: LeaseId,
        named: Option<Request>,
    ) -> Result<LeaseReply, Error> {
        let action = Action::Renew {
            requester_id: request.requester_id,
            lease_id,
            ttl: request.ttl,
            request: named,
        };
        match self.run(caller, action).await? {
            Answer::Lease(held) => Ok(self.mirror.with(|core| {
                let index = &core.index;
                view::lease(
                    held,
                    index.applied(),
                    index.lineage(),
                    self.clock.now().mono,
                )
            })),
            Answer::Ended { .. }
            | Answer::Node(_)
            | Answer::Execution { .. }
            | Answer::Done(_)
            | Answer::Nothing => Err(Error::new(ErrorCode::Internal, "a renewal renewed nothing")),
        }
    }

    async fn renew_several(
        self: &Arc<Self>,
        caller: &Caller,
        request: &HeartbeatRequest,
        lease_ids: Vec<LeaseId>,
        named: Option<Request>,
    ) -> Result<HeartbeatReply, Error> {
        let mut reply = HeartbeatReply::default();
        let mut renewals = stream::iter(lease_ids)
            .map(|lease_id| async move {
                (lease_id, self.renew(caller, request, lease_id, named).await)
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
                    });
                }
                Err(error) if says_stop(error.code) => reply.lost.push(Lost {
                    lease_id,
                    code: error.code.as_str().to_owned(),
                }),
                Err(error) if error.retryable || error.code == ErrorCode::Internal => {
                    reply.unknown.push(lease_id);
                }
                // What is wrong with the request is wrong with all of it.
                Err(error) => return Err(error),
            }
        }
        let applied = self
            .mirror
            .with(|core| core.index.applied().wire(core.index.lineage()));
        reply.revision = reply.revision.max(applied);
        Ok(reply)
    }

    pub(super) async fn release(
        self: &Arc<Self>,
        caller: &Caller,
        request: ReleaseRequest,
    ) -> Result<ReleaseReply, Error> {
        let named = named(Endpoint::PortRelease, request.request_id, &request);
        let ReleaseRequest {
            requester_id,
            lease_id,
            ..
        } = request;
        let answer = self
            .run(
                caller,
                Action::Release {
                    requester_id,
                    lease_id,
                    request: named,
                },
            )
            .await?;
        self.mirror
            .with(|core| view::released(&answer, core.index.applied(), core.index.lineage()))
    }

    /// Runs one command of a request to its outcome or to the caller's deadline.
    pub(super) async fn run(
        self: &Arc<Self>,
        caller: &Caller,
        action: Action,
    ) -> Result<Answer, Error> {
        let command = Command {
            id: CommandId(Uuid::now_v7()),
            correlation_id: Some(caller.correlation_id.clone()),
            confirmed: false,
            action,
        };
        let ticket = self.begin(command, caller.deadline, Some(Arc::clone(&caller.place)));
        told(ticket.outcome(caller.until).await)
    }
}

/// What is said of a command at its caller's deadline, or before.
pub(super) fn told(known: Known) -> Result<Answer, Error> {
    match known {
        Known::Done(outcome) => outcome.map_err(Error::from),
        Known::Nothing => Err(Error::unavailable(Outcome::None)),
        Known::Unsettled => Err(Error::unavailable(Outcome::Unknown)),
        Known::Broken => Err(Error::new(ErrorCode::Internal, "the request's task died")),
    }
}

/// Whether the holder must stop using the port.
fn says_stop(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::LeaseExpired | ErrorCode::LeaseNotFound | ErrorCode::NotHolder
    )
}

pub(super) fn named<T: serde::Serialize>(
    endpoint: Endpoint,
    id: Option<RequestId>,
    request: &T,
) -> Option<Request> {
    id.map(|id| Request {
        id,
        digest: digest(endpoint, request),
    })
}

/// What a lease request asks for, with its defaults; refuses what this version does not offer.
fn wish(request: LeaseRequest, ttl_max: Ttl, named: Option<Request>) -> Result<Wish, Error> {
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
    if request.count.is_some_and(|count| count != 1) {
        return Err(Error::invalid(
            "/count",
            "must be 1: sets of ports are not offered by this version",
        ));
    }
    if request.labels.len() > LEASE_LABELS_MAX {
        return Err(
            Error::invalid("/labels", format!("must be at most {LEASE_LABELS_MAX}"))
                .with("limit", LEASE_LABELS_MAX),
        );
    }
    let exact = request.exact.unwrap_or(false);
    if exact && request.preferred_port.is_none() {
        return Err(Error::invalid(
            "/preferred_port",
            "preferred_port is required with exact",
        ));
    }
    let transport = match request.transport.unwrap_or_default() {
        TransportWish::Tcp => Transport::Tcp,
        TransportWish::Udp => Transport::Udp,
        TransportWish::Both => {
            return Err(Error::invalid(
                "/transport",
                "must be \"tcp\" or \"udp\": both is not offered by this version",
            ));
        }
    };
    let mut labels = request.labels;
    labels.sort();
    labels.dedup();
    Ok(Wish {
        requester_id: request.requester_id,
        protocol: request.protocol,
        ttl: request.ttl.unwrap_or(Ttl::DEFAULT.min(ttl_max)),
        node_id: request.node_id,
        epoch: request.epoch,
        host: request.host,
        transport,
        preferred: request.preferred_port,
        exact,
        name: request.name,
        labels,
        requested_at: request.requested_at,
        request: named,
    })
}
