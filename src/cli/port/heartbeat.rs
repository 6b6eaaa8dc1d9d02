//! `onex port heartbeat`

use clap::Args;
use onex_machine::new_id;
use onex_types::ids::{LeaseId, RequestId, Ttl};

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::Table,
        parse,
        requester::Who,
        session::Session,
    },
    protocol::port::{HeartbeatReply, LeaseReply},
};

use super::rows;

/// Renew leases for their TTL: those named, or all that you hold.
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
        let request_id = self.request_id.unwrap_or_else(|| RequestId(new_id()));
        let (client, named) = (&session.client, Some(request_id));
        let reply = match self.lease_ids.as_slice() {
            &[one] => {
                let lease = client.heartbeat(requester_id, one, self.ttl, named).await;
                return one_renewed(session, &session.settle(lease).await?);
            }
            [] => client.heartbeat_all(requester_id, self.ttl, named).await,
            _ => {
                client
                    .heartbeat_several(requester_id, self.lease_ids, self.ttl, named)
                    .await
            }
        };
        let reply = session.settle(reply).await?;
        session.output.show(
            &reply,
            |reply| {
                let renewed = reply.renewed.iter();
                renewed
                    .map(|renewed| renewed.lease_id.to_string())
                    .collect()
            },
            |reply, _| vec![table(reply).into()],
        )?;
        for note in notes(&reply) {
            session.output.note(note);
        }
        Ok(exit(&reply))
    }
}

fn one_renewed(session: &Session, lease: &LeaseReply) -> Result<Exit, Failure> {
    rows::show(session, lease)?;
    Ok(Exit::Done)
}

/// Says why, when not all is done.
fn notes(reply: &HeartbeatReply) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if reply.renewed.is_empty() && reply.lost.is_empty() && reply.unknown.is_empty() {
        notes.push("You hold no lease.");
    }
    if !reply.lost.is_empty() {
        notes.push("Whatever uses the port of a lost lease must stop.");
    }
    if !reply.unknown.is_empty() {
        notes.push("Some were not settled in time: ask again.");
    }
    notes
}

fn exit(reply: &HeartbeatReply) -> Exit {
    let none = (
        reply.renewed.is_empty(),
        reply.lost.is_empty(),
        reply.unknown.is_empty(),
    );
    match none {
        (_, true, true) => Exit::Done,
        (true, true, false) => Exit::Later,
        (true, false, true) => Exit::Failed,
        (false, _, _) | (true, false, false) => Exit::Partly,
    }
}

fn table(reply: &HeartbeatReply) -> Table {
    Table::new(&["LEASE ID", "STATE", "LEFT"])
        .rows(&reply.renewed, |renewed| {
            [
                renewed.lease_id.to_string(),
                "renewed".to_owned(),
                rows::left(renewed.expires_in_ms),
            ]
        })
        .rows(&reply.lost, |lost| {
            [
                lost.lease_id.to_string(),
                format!("lost: {}", lost.code),
                "-".to_owned(),
            ]
        })
        .rows(&reply.unknown, |lease_id| {
            [lease_id.to_string(), "unknown".to_owned(), "-".to_owned()]
        })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::protocol::port::{Lost, Renewed};

    #[test]
    fn the_exit_code_says_how_much_is_done() {
        let lease_id = LeaseId(Uuid::nil());
        let check = |renewed: usize, lost: usize, unknown: usize, expected| {
            let renewal = Renewed {
                lease_id,
                fencing_token: 1,
                expires_in_ms: 1,
                revision: 1,
            };
            let ended = Lost {
                lease_id,
                code: "LEASE_EXPIRED".to_owned(),
                revision: 1,
            };
            let reply = HeartbeatReply {
                renewed: vec![renewal; renewed],
                lost: vec![ended; lost],
                unknown: vec![lease_id; unknown],
                ..HeartbeatReply::default()
            };
            assert_eq!(exit(&reply), expected, "{reply:?}");
        };
        check(0, 0, 0, Exit::Done);
        check(2, 0, 0, Exit::Done);
        check(1, 1, 0, Exit::Partly);
        check(1, 0, 1, Exit::Partly);
        check(0, 1, 0, Exit::Failed);
        check(0, 0, 1, Exit::Later);
        check(0, 1, 1, Exit::Partly);
    }
}
