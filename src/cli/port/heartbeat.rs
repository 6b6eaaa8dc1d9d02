//! `onex port heartbeat`

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
    domain::ids::{LeaseId, RequestId, Ttl},
    protocol::port::{HeartbeatReply, LeaseReply},
};

/// Lets leases last their TTL again: those named, or all that you hold.
///
/// Exits with 3 when only some of them do, with 1 when none does. The port of one that is lost must not
/// be used any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  onex port heartbeat\n  \
    onex port heartbeat --lease-id 0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f --ttl 10m")]
pub(in crate::cli) struct Heartbeat {
    /// Which; may be given several times [default: all that you hold].
    #[arg(long = "lease-id", value_name = "UUID", value_parser = parse::lease_id)]
    lease_ids: Vec<LeaseId>,
    /// A longer TTL: seconds, or with a unit as 10m. A shorter one changes nothing.
    #[arg(long, value_name = "TIME", value_parser = parse::ttl)]
    ttl: Option<Ttl>,
    /// Your name for this request: the same again renews nothing twice [default: a new one].
    #[arg(long, value_name = "UUID", value_parser = parse::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    who: Who,
}

impl Heartbeat {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let requester_id = self.who.id()?;
        let request_id = self.request_id.unwrap_or_else(|| RequestId(Uuid::now_v7()));
        let (client, named) = (&session.client, Some(request_id));
        let reply = match self.lease_ids.as_slice() {
            &[one] => {
                let lease = client.heartbeat(requester_id, one, self.ttl, named).await;
                return one_renewed(session, &lease.map_err(|error| session.failure(error))?);
            }
            [] => client.heartbeat_all(requester_id, self.ttl, named).await,
            _ => {
                client
                    .heartbeat_several(requester_id, self.lease_ids, self.ttl, named)
                    .await
            }
        };
        let reply = reply.map_err(|error| session.failure(error))?;
        session.output.show(&reply, |reply| vec![table(reply)])?;
        Ok(settled(session, &reply))
    }
}

fn one_renewed(session: &Session, lease: &LeaseReply) -> Result<Exit, Failure> {
    session.output.show(lease, |lease| {
        vec![super::table(std::slice::from_ref(lease))]
    })?;
    Ok(Exit::Done)
}

/// How it ends, and why, when not all is done.
fn settled(session: &Session, reply: &HeartbeatReply) -> Exit {
    if reply.renewed.is_empty() && reply.lost.is_empty() && reply.unknown.is_empty() {
        session.output.note("You hold no lease.");
    }
    if !reply.lost.is_empty() {
        session
            .output
            .note("Whatever uses the port of a lost lease must stop.");
    }
    if !reply.unknown.is_empty() {
        session
            .output
            .note("Some were not settled in time: ask again.");
    }
    match (
        reply.renewed.is_empty(),
        reply.lost.is_empty(),
        reply.unknown.is_empty(),
    ) {
        (_, true, true) => Exit::Done,
        (true, true, false) => Exit::Later,
        (true, false, true) => Exit::Failed,
        (_, _, _) => Exit::Partly,
    }
}

fn table(reply: &HeartbeatReply) -> Table {
    Table::new(&["LEASE ID", "STATE", "LEFT"])
        .rows(&reply.renewed, |renewed| {
            [
                renewed.lease_id.to_string(),
                "renewed".to_owned(),
                super::left(renewed.expires_in_ms),
            ]
        })
        .rows(&reply.lost, |lost| {
            [
                lost.lease_id.to_string(),
                format!("lost: {}", lost.code.as_str()),
                "-".to_owned(),
            ]
        })
        .rows(&reply.unknown, |lease_id| {
            [lease_id.to_string(), "unknown".to_owned(), "-".to_owned()]
        })
        .whole(0)
}
