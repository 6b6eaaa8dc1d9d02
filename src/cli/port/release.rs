//! `onex port release`

use clap::Args;
use uuid::Uuid;

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::Table,
        parse,
        requester::Who,
        session::Session,
    },
    domain::ids::{Host, LeaseId, Name, Port, RequestId, RequesterId, Transport},
    protocol::port::{EndStatus, LeaseReply, ListRequest, ReleaseReply, ReleaseRequest},
};

/// Gives a lease back. Stop using the port before.
///
/// Which one is said by its id, or by port or name among those that you hold.
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
        let request = ReleaseRequest {
            requester_id,
            lease_id,
            request_id: Some(self.request_id.unwrap_or_else(|| RequestId(Uuid::now_v7()))),
            min_revision: None,
        };
        let released = session.client.release(&request).await;
        let released = session.settle(released).await?;
        session
            .output
            .show(&released, |released| vec![table(released)])?;
        Ok(Exit::Done)
    }

    /// The one lease of the requester that is meant.
    async fn look_up(
        &self,
        session: &Session,
        requester_id: RequesterId,
    ) -> Result<LeaseId, Failure> {
        let request = ListRequest {
            host: self.host.clone(),
            requester_id: Some(requester_id),
            name: self.name.clone(),
            ..ListRequest::default()
        };
        let held = session.client.all(&request).await;
        let held = session.settle(held).await?.items;
        let meant = |lease: &&LeaseReply| {
            self.port.is_none_or(|port| lease.ports.contains(&port))
                && self
                    .transport
                    .is_none_or(|transport| lease.transport == transport)
        };
        let found: Vec<_> = held.iter().filter(meant).collect();
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

fn table(released: &ReleaseReply) -> Table {
    let status = match released.status {
        EndStatus::Released => "released",
        EndStatus::Expired => "expired before",
        EndStatus::Other => "ended",
    };
    Table::new(&["LEASE ID", "STATUS", "ENDED"]).row([
        released.lease_id.to_string(),
        status.to_owned(),
        released
            .released_at
            .strftime("%Y-%m-%d %H:%M:%S UTC")
            .to_string(),
    ])
}
