//! `onex port release`

use clap::Args;
use uuid::Uuid;

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::{Table, at},
        parse,
        requester::Who,
        session::Session,
    },
    domain::ids::{Host, LeaseId, Name, Port, RequestId, RequesterId, Transport},
    protocol::port::{EndStatus, LeaseReply, ListRequest, ReleaseReply, ReleaseRequest},
};

/// Gives a lease back. Stop using the port before.
///
/// Which one is said by its id, or by port or name among those that you hold. That you hold none is said
/// only when the registry has checked it (exit code 1); when it could not in time, the exit code is 75.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex port release --name api\n  onex port release --port 20080"
)]
#[group(id = "which", required = true, args = ["lease_id", "port", "name"])]
pub(in crate::cli) struct Release {
    /// The lease.
    #[arg(long, value_name = "UUID", value_parser = parse::lease_id, conflicts_with_all = ["port", "name", "host", "transport"])]
    lease_id: Option<LeaseId>,
    /// The one that you hold on this port.
    #[arg(long, value_parser = parse::port)]
    port: Option<Port>,
    /// The one that you hold by this name.
    #[arg(long)]
    name: Option<Name>,
    /// The one on this host, where you hold it on several.
    #[arg(long, value_name = "NAME")]
    host: Option<Host>,
    /// The one in this port space, tcp or udp, where you hold it in both.
    #[arg(long)]
    transport: Option<Transport>,
    /// Your name for this request [default: a new one].
    #[arg(long, value_name = "UUID", value_parser = parse::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    who: Who,
}

impl Release {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let requester_id = self.who.id()?;
        let lease_id = match self.lease_id {
            Some(lease_id) => lease_id,
            None => self.look_up(session, requester_id).await?,
        };
        let request_id = self.request_id.unwrap_or_else(|| RequestId(Uuid::now_v7()));
        let request = ReleaseRequest {
            requester_id,
            lease_id,
            request_id: Some(request_id),
            min_revision: None,
        };
        let released = session.client.release(&request).await;
        let released = session.settle(released).await.map_err(|failure| {
            // By port or name it could not be found any more.
            let flags = format!("--lease-id {} --request-id {}", lease_id.0, request_id.0);
            failure.repeat_with(request_id, &flags)
        })?;
        session.output.show(
            &released,
            |released| vec![released.lease_id.to_string()],
            |released, _| vec![table(released).into()],
        )?;
        Ok(Exit::Done)
    }

    /// The requester's leases that may be meant, from an instance that knows `revision` at least.
    async fn found(
        &self,
        session: &Session,
        requester_id: RequesterId,
        revision: Option<u64>,
    ) -> Result<Vec<LeaseReply>, Failure> {
        let request = ListRequest {
            host: self.host.clone(),
            requester_id: Some(requester_id),
            name: self.name.clone(),
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

    /// The one lease of the requester that is meant.
    async fn look_up(
        &self,
        session: &Session,
        requester_id: RequesterId,
    ) -> Result<LeaseId, Failure> {
        let mut found = self.found(session, requester_id, None).await?;
        if found.is_empty() {
            // An instance that lags does not know a lease that was just granted.
            let revision = up_to_date(session, requester_id).await?;
            found = self.found(session, requester_id, Some(revision)).await?;
        }
        match found.as_slice() {
            [one] => Ok(one.lease_id),
            [] => Err(Failure::new(
                Exit::Failed,
                "LEASE_NOT_FOUND",
                format!("you hold no such lease; you are requester {requester_id}"),
            )
            .hint("`onex port list` shows all leases; say who asks with --requester")),
            several => {
                let shown = several
                    .iter()
                    .map(|lease| format!("{} on {}", super::address(lease), lease.host));
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
async fn up_to_date(session: &Session, requester_id: RequesterId) -> Result<u64, Failure> {
    let nobodys = vec![LeaseId(Uuid::now_v7())];
    let request_id = Some(RequestId(Uuid::now_v7()));
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

fn table(released: &ReleaseReply) -> Table {
    let status = match released.status {
        EndStatus::Released => "released",
        EndStatus::Expired => "expired before",
        EndStatus::Other => "ended",
    };
    Table::new(&["LEASE ID", "STATUS", "ENDED"]).row([
        released.lease_id.to_string(),
        status.to_owned(),
        at(released.released_at),
    ])
}
