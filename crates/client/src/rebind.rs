//! Another port for one of a lease: one request until it is known what came of it.

use onex_protocol::{
    endpoint::Endpoint,
    error::ErrorCode,
    port::{HeartbeatRequest, LeaseReply, RebindRequest},
};
use onex_types::ids::{Port, RequestId};
use serde::de::Error as _;

use super::{Client, clock::BootTime, error::Error, keep::fresh, ports::heartbeat};

/// A rebind that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rebinding {
    /// The port that is given up.
    pub(super) port: Port,
    /// Its place among the lease's ports, which the new one takes.
    place: usize,
    id: RequestId,
}

impl Rebinding {
    /// One of that port, which has to be the lease's.
    pub(super) fn of(lease: &LeaseReply, port: Port) -> Result<Self, Error> {
        let place = lease.ports.iter().position(|its| *its == port);
        let place = place.ok_or_else(|| {
            let its: Vec<_> = lease.ports.iter().map(Port::to_string).collect();
            let message = format!(
                "{port} is not a port of the lease: it has {}",
                its.join(", ")
            );
            Error::unfit("/port", message)
        })?;
        let id = fresh();
        Ok(Self { port, place, id })
    }
}

/// Whether it is known what came of a rebind: asking again as the same would bring nothing else.
pub(super) fn is_settled<T>(rebound: &Result<T, Error>) -> bool {
    rebound
        .as_ref()
        .map_or_else(|error| !error.retryable(), |_| true)
}

impl Client {
    /// The lease with another port in the place of that one, and which; asked for again where no answer comes, not after
    /// `until`.
    pub(super) async fn rebound(
        &self,
        lease: &LeaseReply,
        rebinding: Rebinding,
        until: BootTime,
    ) -> Result<(LeaseReply, Port), Error> {
        let request = RebindRequest {
            requester_id: lease.requester_id,
            lease_id: lease.lease_id,
            port: rebinding.port,
            reason: None,
            request_id: Some(rebinding.id),
            min_revision: None,
        };
        let endpoint = Endpoint::PortRebind;
        let asked = self.insist(endpoint, &request, until, Error::may_be_done);
        let after: LeaseReply = match asked.await {
            // A registry remembers the last rebind of a lease only: that of another port may have taken the place of this one.
            Err(Error::Refused(refusal))
                if refusal.code == ErrorCode::InvalidRequest
                    && refusal
                        .details
                        .get("pointer")
                        .is_some_and(|at| at == "/port") =>
            {
                let now = self.as_it_is(lease, until).await?;
                if now.ports.get(rebinding.place) == Some(&rebinding.port) {
                    return Err(Error::Refused(refusal));
                }
                now
            }
            after => after?,
        };
        let new = after.ports.get(rebinding.place);
        match new.filter(|new| **new != rebinding.port).copied() {
            Some(new) => Ok((after, new)),
            None => Err(Error::Malformed {
                endpoint,
                source: serde_json::Error::custom(
                    "it has no port in the place of the one given up",
                ),
            }),
        }
    }

    /// The lease as the registry has it, renewed.
    async fn as_it_is(&self, lease: &LeaseReply, until: BootTime) -> Result<LeaseReply, Error> {
        let renewal = HeartbeatRequest {
            lease_id: Some(lease.lease_id),
            ..heartbeat(lease.requester_id, None, Some(fresh()))
        };
        self.insist(Endpoint::PortHeartbeat, &renewal, until, Error::may_be_done)
            .await
    }
}
