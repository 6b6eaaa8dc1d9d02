//! Finds a lease among those that the user holds.

use onex_machine::new_id;
use onex_types::ids::{Host, LeaseId, Name, Port, RequestId, RequesterId, Transport};

use crate::{
    cli::{
        failure::{Exit, Failure},
        host,
        session::Session,
    },
    protocol::port::{LeaseReply, ListRequest},
};

use super::rows;

/// What is said of it.
pub(super) struct OwnLease<'a> {
    pub(super) port: Option<Port>,
    pub(super) name: Option<&'a Name>,
    pub(super) host: Option<&'a Host>,
    pub(super) transport: Option<Transport>,
}

impl OwnLease<'_> {
    /// The requester's leases that may be meant, from an instance that knows `revision` at least.
    pub(super) async fn found(
        &self,
        session: &Session,
        requester_id: RequesterId,
        revision: Option<u64>,
    ) -> Result<Vec<LeaseReply>, Failure> {
        let request = ListRequest {
            host: self.host.cloned().map(host::named).transpose()?,
            requester_id: Some(requester_id),
            name: self.name.cloned(),
            min_revision: revision,
            ..ListRequest::default()
        };
        let mut held = session.all(&request).await?.items;
        held.retain(|lease| {
            self.port.is_none_or(|port| lease.ports.contains(&port))
                && self
                    .transport
                    .is_none_or(|transport| lease.transport == transport)
        });
        Ok(held)
    }

    /// Which one the flags mean.
    fn meant(&self) -> String {
        let port = self.port.map(|port| format!("of port {port}"));
        let name = self.name.map(|name| format!("named {name}"));
        let host = self.host.map(|host| format!("on {host}"));
        let transport = self.transport.map(|transport| format!("in {transport}"));
        let all = [port, name, host, transport];
        all.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The one lease of the requester that is meant.
    pub(super) async fn look_up(
        &self,
        session: &Session,
        requester_id: RequesterId,
    ) -> Result<LeaseReply, Failure> {
        let mut found = self.found(session, requester_id, None).await?;
        if found.is_empty() {
            // An instance that lags does not know a lease that was just granted.
            let revision = up_to_date(session, requester_id).await?;
            found = self.found(session, requester_id, Some(revision)).await?;
        }
        let one = (found.len() == 1).then(|| found.pop()).flatten();
        if let Some(one) = one {
            return Ok(one);
        }
        match found.as_slice() {
            [] => Err(Failure::new(
                Exit::Failed,
                "LEASE_NOT_FOUND",
                format!(
                    "you hold no lease {}; you are requester {requester_id}",
                    self.meant()
                ),
            )
            .hint("`onex port list` shows all leases; say who asks with --requester")),
            several => {
                let shown = several
                    .iter()
                    .map(|lease| format!("{} on {}", rows::address(lease), lease.host));
                let shown = shown.collect::<Vec<_>>().join(", ");
                Err(Failure::new(
                    Exit::Failed,
                    "AMBIGUOUS",
                    format!("you hold several such leases: {shown}"),
                )
                .hint("say which with --lease-id, --port, --host or --transport"))
            }
        }
    }
}

/// A revision behind everything that was acknowledged until now: where a registry says that a lease does
/// not exist it has checked that, and a lease id that was just made up is no lease.
pub(super) async fn up_to_date(
    session: &Session,
    requester_id: RequesterId,
) -> Result<u64, Failure> {
    let nobodys = vec![LeaseId(new_id())];
    let request_id = Some(RequestId(new_id()));
    let reply = session
        .client
        .heartbeat_several(requester_id, nobodys, None, request_id)
        .await;
    let reply = session.settle(reply).await?;
    if reply.lost.is_empty() {
        return Err(Failure::new(
            Exit::Later,
            "NOT_SEEN",
            "you hold no such lease as far as the registry knows, and it could not check that in time",
        )
        .hint("ask again, or wait longer with --timeout"));
    }
    Ok(reply.revision)
}
