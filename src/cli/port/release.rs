//! `onex port release`

use clap::Args;
use futures::{StreamExt as _, stream};
use onex_machine::new_id;
use onex_types::ids::{Host, LeaseId, Name, Port, RequestId, RequesterId, Transport};
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{
        failure::{Exit, Failure},
        host,
        output::{Table, at},
        parse,
        requester::Who,
        session::Session,
    },
    protocol::port::{EndStatus, ReleaseReply, ReleaseRequest},
};

use super::{
    own::{OwnLease, up_to_date},
    rows,
};

/// Leases that are given back at the same time.
const RELEASES_AT_ONCE: usize = 16;

/// Release leases. Stop using their ports before.
///
/// Which one is said by its id, or by port or name among those that you hold; or all of them with --all. That you hold
/// no such lease is said only when the registry has checked it (exit code 1, with --all 0); when it could not in time, the
/// exit code is 75. With --all it is 3 when only some could be given back.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex port release --name api\n  onex port release --port 20080\n  \
        onex port release --all --host build-7"
)]
#[group(id = "which", required = true, args = ["lease_id", "port", "name", "all"])]
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
    /// All that you hold, those of nodes and of `onex run` commands under way included; with --host or --transport only
    /// those there.
    #[arg(long, conflicts_with_all = ["lease_id", "port", "name", "request_id"])]
    all: bool,
    /// The one on this host, where you hold it on several.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
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
        if self.all {
            return self.release_all(session, requester_id).await;
        }
        let lease_id = match self.lease_id {
            Some(lease_id) => lease_id,
            None => self.meant().look_up(session, requester_id).await?.lease_id,
        };
        let request_id = self.request_id.unwrap_or_else(|| RequestId(new_id()));
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
            |released, _| vec![table(std::slice::from_ref(released)).into()],
        )?;
        Ok(Exit::Done)
    }

    fn meant(&self) -> OwnLease<'_> {
        OwnLease {
            port: self.port,
            name: self.name.as_ref(),
            host: self.host.as_ref(),
            transport: self.transport,
        }
    }

    /// Gives back all that the requester holds. What cannot be given back is told, and hinders nothing else.
    async fn release_all(
        &self,
        session: &Session,
        requester_id: RequesterId,
    ) -> Result<Exit, Failure> {
        let revision = up_to_date(session, requester_id).await?;
        let held = self
            .meant()
            .found(session, requester_id, Some(revision))
            .await?;
        let each = stream::iter(held).map(|lease| async move {
            let request = ReleaseRequest {
                requester_id,
                lease_id: lease.lease_id,
                request_id: Some(RequestId(new_id())),
                min_revision: None,
            };
            let released = session.client.release(&request).await;
            let about = format!("{} on {}", rows::address(&lease), lease.host);
            (lease.lease_id, about, session.settle(released).await)
        });
        let mut reply = AllReleased::default();
        let mut outcomes = each.buffered(RELEASES_AT_ONCE);
        while let Some((lease_id, about, outcome)) = outcomes.next().await {
            match outcome {
                Ok(released) => reply.released.push(released),
                Err(failure) => {
                    let failure = failure.about(&about);
                    reply.exits.push(failure.exit);
                    let error = failure.error(session.output.flags());
                    reply.failed.push(NotReleased { lease_id, error });
                    if !session.output.format().is_json() {
                        session.output.failure(&failure);
                    }
                }
            }
        }
        session.output.show(
            &reply,
            |reply| {
                let released = reply.released.iter();
                released.map(|lease| lease.lease_id.to_string()).collect()
            },
            |reply, _| vec![table(&reply.released).into()],
        )?;
        if reply.released.is_empty() && reply.failed.is_empty() {
            session.output.note("You hold no lease.");
        }
        Ok(reply.exit())
    }
}

/// What came of giving back all.
#[derive(Debug, Default, Serialize)]
struct AllReleased {
    released: Vec<ReleaseReply>,
    failed: Vec<NotReleased>,
    /// How each that failed would have ended the command alone.
    #[serde(skip)]
    exits: Vec<Exit>,
}

#[derive(Debug, Serialize)]
struct NotReleased {
    lease_id: LeaseId,
    error: Value,
}

impl AllReleased {
    fn exit(&self) -> Exit {
        match self.exits.as_slice() {
            [] => Exit::Done,
            [first, others @ ..]
                if self.released.is_empty() && others.iter().all(|exit| exit == first) =>
            {
                *first
            }
            _ if self.released.is_empty() => Exit::Failed,
            _ => Exit::Partly,
        }
    }
}

fn table(released: &[ReleaseReply]) -> Table {
    Table::new(&["LEASE ID", "STATUS", "ENDED"]).rows(released, |released| {
        let status = match released.status {
            EndStatus::Released => "released",
            EndStatus::Expired => "expired before",
            EndStatus::Other => "ended",
        };
        [
            released.lease_id.to_string(),
            status.to_owned(),
            at(released.released_at),
        ]
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_exit_code_says_how_much_is_released() {
        let lease_id = LeaseId(Uuid::nil());
        let released = ReleaseReply {
            lease_id,
            status: EndStatus::Released,
            released_at: jiff::Timestamp::UNIX_EPOCH,
            revision: 1,
            ignored: Vec::new(),
        };
        let check = |count: usize, exits: &[Exit], expected| {
            let reply = AllReleased {
                released: vec![released.clone(); count],
                failed: Vec::new(),
                exits: exits.to_vec(),
            };
            assert_eq!(reply.exit(), expected, "{reply:?}");
        };
        check(0, &[], Exit::Done);
        check(2, &[], Exit::Done);
        check(1, &[Exit::Later], Exit::Partly);
        check(0, &[Exit::Later, Exit::Later], Exit::Later);
        check(0, &[Exit::Later, Exit::Unreachable], Exit::Failed);
    }
}
