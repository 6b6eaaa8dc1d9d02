//! What each endpoint does: from a request to a command, or to what readers see; and from there to a reply.

mod admin;
mod buses;
mod calls;
mod describe;
mod exact;
mod explain;
mod node_life;
mod node_tools;
mod nodes;
mod pages;
mod parse;
mod pools;
mod ports;
mod rebind;
mod trust;

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_nats::Message;
use bytes::Bytes;
use futures::FutureExt as _;

use crate::protocol::{
    describe::{HelpReply, HelpRequest},
    endpoint::Endpoint,
    error::{Error, ErrorCode},
    frame::Parsed,
    teach,
    trust::TrustGetRequest,
};

use super::{
    intake::Intake,
    message::to_bytes,
    queries::{self, Catalog},
    request::{InFlight, Plan},
};
use parse::parse;

/// What a request needs decided, where that is all that it needs; none where a task has to answer it.
pub(super) fn plan(
    intake: &Intake,
    endpoint: Endpoint,
    message: &Message,
) -> Result<Option<Plan>, Error> {
    match endpoint {
        Endpoint::PortLease => ports::lease(intake, parse(intake, endpoint, message)?),
        Endpoint::PortRelease => Ok(Some(ports::release(parse(intake, endpoint, message)?))),
        Endpoint::PortHeartbeat => ports::heartbeat(parse(intake, endpoint, message)?),
        Endpoint::NodeHeartbeat => {
            let request = parse(intake, endpoint, message)?;
            Ok(Some(node_life::heartbeat(request)))
        }
        Endpoint::NodeDeregister => {
            let request = parse(intake, endpoint, message)?;
            Ok(Some(node_life::deregister(request)))
        }
        Endpoint::ToolDeregister => {
            let request = parse(intake, endpoint, message)?;
            Ok(Some(node_tools::deregister(request)))
        }
        Endpoint::BusRegister => buses::register(parse(intake, endpoint, message)?).map(Some),
        Endpoint::BusDeregister => {
            let request = parse(intake, endpoint, message)?;
            Ok(Some(buses::deregister(request)))
        }
        Endpoint::TrustReport => trust::report(parse(intake, endpoint, message)?).map(Some),
        _ => Ok(None),
    }
}

/// Answers a request that names a revision which this instance has not seen yet.
pub(super) async fn run_late(intake: Arc<Intake>, in_flight: InFlight, plan: Plan) {
    let late = async {
        pages::catch_up(&intake, &in_flight, plan.min_revision).await?;
        let outcome = intake.decide(&in_flight, plan.action).await?;
        (plan.reply)(outcome, intake.clock.now())
    };
    let answer = late.await;
    intake.replies.answer(in_flight, answer).await;
}

/// Answers a request that needs more than one decision, or none.
pub(super) async fn run(intake: Arc<Intake>, mut in_flight: InFlight, message: Message) {
    let answer = AssertUnwindSafe(answer(&intake, &mut in_flight, &message)).catch_unwind();
    // A fault of ours must not leave the caller without an answer.
    let answer = answer.await.unwrap_or_else(|_| {
        let message = "the registry has a fault; its log has more";
        Err(Error::new(ErrorCode::Internal, message))
    });
    intake.replies.answer(in_flight, answer).await;
}

#[expect(clippy::too_many_lines, reason = "one table")]
async fn answer(
    intake: &Intake,
    in_flight: &mut InFlight,
    message: &Message,
) -> Result<Bytes, Error> {
    let endpoint = in_flight.endpoint;
    match endpoint {
        Endpoint::PortLease => {
            let request = parse(intake, endpoint, message)?;
            exact::lease(intake, in_flight, request).await
        }
        Endpoint::PortHeartbeat => {
            let request = parse(intake, endpoint, message)?;
            ports::heartbeat_several(intake, in_flight, request).await
        }
        Endpoint::PortRebind => {
            let request = parse(intake, endpoint, message)?;
            rebind::rebind(intake, in_flight, request).await
        }
        Endpoint::PortList => {
            let request = parse(intake, endpoint, message)?;
            pages::list(intake, in_flight, request, queries::leases).await
        }
        Endpoint::PortResolve => {
            let request = parse(intake, endpoint, message)?;
            pages::resolve(intake, in_flight, message, request).await
        }
        Endpoint::PortExplain => {
            let request = parse(intake, endpoint, message)?;
            explain::explain(intake, in_flight, request).await
        }
        Endpoint::PoolList => {
            let request = parse(intake, endpoint, message)?;
            pages::list(intake, in_flight, request, queries::pools).await
        }
        Endpoint::PoolSet => {
            let request = parse(intake, endpoint, message)?;
            pools::set(intake, in_flight, request).await
        }
        Endpoint::PoolDelete => {
            let request = parse(intake, endpoint, message)?;
            pools::delete(intake, in_flight, request).await
        }
        Endpoint::NodeRegister => nodes::register(intake, in_flight, message).await,
        Endpoint::NodeList => {
            let request = parse(intake, endpoint, message)?;
            pages::list(intake, in_flight, request, queries::nodes).await
        }
        Endpoint::ToolRegister => node_tools::register(intake, in_flight, message).await,
        Endpoint::ToolInvoke => Box::pin(calls::invoke(intake, in_flight, message)).await,
        Endpoint::ToolResolve => calls::resolve(intake, in_flight, message).await,
        Endpoint::BusList => {
            let request = parse(intake, endpoint, message)?;
            pages::list(intake, in_flight, request, queries::buses).await
        }
        Endpoint::ToolList => {
            let request = parse(intake, endpoint, message)?;
            pages::list(intake, in_flight, request, queries::tools).await
        }
        Endpoint::ToolDescribe => {
            let request = parse(intake, endpoint, message)?;
            describe::tool(intake, in_flight, request).await
        }
        Endpoint::SchemaList => {
            let request = parse(intake, endpoint, message)?;
            pages::list(intake, in_flight, request, queries::schemas).await
        }
        Endpoint::SchemaGet => {
            let request = parse(intake, endpoint, message)?;
            pages::one(intake, in_flight, request, queries::schema).await
        }
        Endpoint::TrustGet => {
            let request = parse(intake, endpoint, message)?;
            let make = |catalog: Catalog<'_>, request: &TrustGetRequest| {
                queries::trust(catalog, &request.node_id)
            };
            pages::one(intake, in_flight, request, make).await
        }
        Endpoint::AdminPortRevoke => {
            let request = parse(intake, endpoint, message)?;
            admin::revoke(intake, in_flight, request).await
        }
        Endpoint::AdminPortUnquarantine => {
            let request = parse(intake, endpoint, message)?;
            admin::unquarantine(intake, in_flight, request).await
        }
        Endpoint::AdminHostForget => {
            let request = parse(intake, endpoint, message)?;
            admin::forget_host(intake, in_flight, request).await
        }
        Endpoint::AdminNodeEvict => {
            let request = parse(intake, endpoint, message)?;
            admin::evict(intake, in_flight, request).await
        }
        Endpoint::Describe => {
            let request = parse(intake, endpoint, message)?;
            describe::describe(intake, in_flight, request).await
        }
        Endpoint::Help => {
            let Parsed { ignored, .. } = parse::<HelpRequest>(intake, endpoint, message)?;
            to_bytes(&HelpReply {
                ignored,
                ..teach::help(&intake.namespace)
            })
        }
        Endpoint::PortRelease
        | Endpoint::NodeHeartbeat
        | Endpoint::NodeDeregister
        | Endpoint::ToolDeregister
        | Endpoint::BusRegister
        | Endpoint::BusDeregister
        | Endpoint::TrustReport => Err(Error::new(
            ErrorCode::Internal,
            "an endpoint is answered in the wrong place",
        )),
    }
}
