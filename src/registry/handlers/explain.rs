//! `port.explain`.

use std::time::Duration;

use bytes::Bytes;
use onex_log::Derived;
use onex_types::{
    ids::{Port, Transport},
    key::PortKey,
};
use tokio::time::timeout;

use crate::{
    protocol::{
        bounds::Open,
        error::Error,
        explain::{ExplainReply, ExplainRequest, HISTORY_STATES_MAX, PastState, PortState},
        frame::Parsed,
    },
    registry::{
        intake::Intake,
        message::to_bytes,
        queries::{self, Catalog, Explained, PortEventBody},
        request::InFlight,
    },
};

use super::pages::{catch_up, make_sure, read};

/// How long reading a history may take: the rest of an answer does not wait any longer for it.
const HISTORY_WAIT_MAX: Duration = Duration::from_secs(1);

/// What a port is. That nobody holds it is said only behind an entry that was sent after the question.
pub(super) async fn explain(
    intake: &Intake,
    in_flight: &InFlight,
    Parsed { request, ignored }: Parsed<ExplainRequest>,
) -> Result<Bytes, Error> {
    let host = request.host.map(|host| intake.meant(host)).transpose()?;
    let port = PortKey {
        host: host.unwrap_or_else(|| intake.own_host.name().clone()),
        transport: request.transport.unwrap_or(Transport::Tcp),
        port: request.port,
    };
    // Before it is looked who holds it: whoever leases a port uses it after that.
    let seen = intake.probing.look(&port).await;
    catch_up(intake, in_flight, request.min_revision).await?;
    let make = |catalog: Catalog<'_>| queries::explain(catalog, &port, seen.as_ref());
    let is_held = |explained: &Explained| explained.reply.state == Open::Known(PortState::Held);
    let explained = match read(intake, in_flight, make) {
        Ok(explained) if is_held(&explained) => explained,
        _ => {
            make_sure(intake, in_flight).await?;
            read(intake, in_flight, make)?
        }
    };
    let history = history(intake, in_flight, port.port, &explained.told_of).await;
    to_bytes(&ExplainReply {
        ignored,
        history,
        ..explained.reply
    })
}

/// What the port was, by the events under these names; none where they cannot be read in time.
async fn history(
    intake: &Intake,
    in_flight: &InFlight,
    port: Port,
    told_of: &[PortKey],
) -> Option<Vec<PastState>> {
    let stream = Derived::of(intake.bus.client(), &intake.namespace.events_stream());
    let number = |body: &[u8]| Some(serde_json::from_slice::<PortEventBody>(body).ok()?.n);
    let read = async {
        let mut bodies = Vec::new();
        for key in told_of {
            let filter = intake.namespace.events_of_port(key);
            let told = stream.history(&filter, HISTORY_STATES_MAX as u64, number);
            match told.await? {
                Some(told) => bodies.extend(told),
                None => return Ok(None),
            }
        }
        Ok::<_, onex_log::Error>(Some(bodies))
    };
    let until = intake.clock.until(in_flight.deadline).min(HISTORY_WAIT_MAX);
    match timeout(until, read).await {
        Ok(Ok(bodies)) => Some(queries::past_states(&bodies?, port)),
        Ok(Err(error)) => {
            let error = onex_types::chain(&error);
            tracing::debug!(%port, error, "the events of a port cannot be read");
            None
        }
        Err(_) => {
            tracing::debug!(%port, "the events of a port were not read in time");
            None
        }
    }
}
