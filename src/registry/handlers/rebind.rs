//! `port.rebind`.

use bytes::Bytes;
use onex_core::{
    command::{Action, Answer, Held, Probed, Rebind},
    decide::PORTS_TRIED_MAX,
    record::Request,
};
use onex_types::ids::Port;

use crate::{
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode, Outcome},
        frame::{Parsed, digest},
        port::{LeaseReply, RebindRequest},
        warning::{Warning, WarningCode},
    },
    registry::{
        intake::Intake, message::to_bytes, queries::granted, refusal::decided, request::InFlight,
    },
};

use super::pages::catch_up;

/// How long trying a port may take, in milliseconds.
const TRY_MILLIS: u64 = 1_000;

/// Another port for one of a lease. The new one is tried; as long as another program uses it, the lease gets yet another one.
pub(super) async fn rebind(
    intake: &Intake,
    in_flight: &InFlight,
    Parsed { request, ignored }: Parsed<RebindRequest>,
) -> Result<Bytes, Error> {
    catch_up(intake, in_flight, request.min_revision).await?;
    let named = request.request_id.map(|id| Request {
        id,
        digest: digest(Endpoint::PortRebind, &request),
    });
    let (mut held, mut revision) =
        one(intake, in_flight, rebind_of(&request, request.port, named)).await?;
    let mut warnings = Vec::new();
    for tried in 1.. {
        // The same request again: whoever it was answered for may be using the port.
        let Some(port) = held.rebound else { break };
        match try_port(intake, &held, port).await {
            Probed::InUse => {}
            probed => {
                held.verified = probed == Probed::Bindable;
                break;
            }
        }
        let another = rebind_of(&request, port, None);
        let next = if tried < PORTS_TRIED_MAX {
            match one(intake, in_flight, another).await {
                Ok(next) => Some(next),
                Err(error) if error.code == ErrorCode::ResourceExhausted => None,
                // The port that it has got may be the next one by now.
                Err(error) if error.retryable => return Err(Error::unavailable(Outcome::Unknown)),
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        let Some(next) = next else {
            let message = format!(
                "another program uses port {port}, which this lease has got, and there is no other one: rebind that"
            );
            warnings.push(Warning::new(WarningCode::PortInUse, message));
            break;
        };
        (held, revision) = next;
    }
    to_bytes(&LeaseReply {
        warnings,
        ignored,
        ..granted(&held, revision, intake.clock.now())
    })
}

fn rebind_of(request: &RebindRequest, port: Port, named: Option<Request>) -> Action {
    Action::Rebind(Box::new(Rebind {
        requester_id: request.requester_id,
        lease_id: request.lease_id,
        port,
        reason: request.reason.clone(),
        request: named,
    }))
}

/// What one command came to.
async fn one(intake: &Intake, in_flight: &InFlight, action: Action) -> Result<(Held, u64), Error> {
    let outcome = intake.decide(in_flight, action).await?;
    match decided(outcome)? {
        (Answer::Lease(held), revision) => Ok((held, revision)),
        _ => Err(Error::new(ErrorCode::Internal, "a rebind found no lease")),
    }
}

/// Tries a port in all port spaces of its lease.
async fn try_port(intake: &Intake, held: &Held, port: Port) -> Probed {
    let keys = held.lease.port_keys(&held.key.host);
    let keys = keys.filter(|key| key.port == port).collect();
    let until = intake.clock.now().mono.plus(TRY_MILLIS);
    intake.probing.try_ports(keys, until).await.probed
}
