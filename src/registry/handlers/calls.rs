//! `tool.invoke` and `tool.resolve`.

use async_nats::Message;
use bytes::Bytes;

use crate::{
    protocol::{
        error::Error,
        invoke::{InvokeRequest, ResolveToolRequest},
    },
    registry::{
        intake::Intake,
        invoke::{Caller, Received},
        request::InFlight,
    },
};

use super::{
    pages::catch_up,
    parse::{parse, parse_long},
};

/// `tool.invoke`. Everything that is said of it is said by the correlation id that its body names.
pub(super) async fn invoke(
    intake: &Intake,
    in_flight: &mut InFlight,
    message: &Message,
) -> Result<Bytes, Error> {
    let parsed = parse_long::<InvokeRequest>(intake, in_flight, message).await?;
    if let Some(named) = &parsed.request.correlation_id {
        in_flight.correlation_id.clone_from(named);
    }
    catch_up(intake, in_flight, parsed.request.min_revision).await?;
    let caller = caller(intake, in_flight);
    let received = Received { in_flight, message };
    intake.invoke.invoke_tool(received, &caller, parsed).await
}

/// `tool.resolve`.
pub(super) async fn resolve(
    intake: &Intake,
    in_flight: &InFlight,
    message: &Message,
) -> Result<Bytes, Error> {
    let parsed = parse::<ResolveToolRequest>(intake, in_flight.endpoint, message)?;
    catch_up(intake, in_flight, parsed.request.min_revision).await?;
    let caller = caller(intake, in_flight);
    intake.invoke.resolve_tool(&caller, parsed).await
}

fn caller(intake: &Intake, in_flight: &InFlight) -> Caller {
    let asking = intake.asking(in_flight);
    Caller::new(in_flight.correlation_id.clone(), asking, intake.clock)
}
