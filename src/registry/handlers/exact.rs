//! `port.lease` of ports that are named.

use bytes::Bytes;
use onex_core::command::Action;
use onex_types::{
    ids::{Host, Port, Transport},
    key::PortKey,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    protocol::{error::Error, explain::PortState, frame::Parsed, port::LeaseRequest},
    registry::{intake::Intake, request::InFlight},
};

use super::{pages::catch_up, ports::lease_plan};

/// Where another program has a port, it is said which program.
pub(super) async fn lease(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<LeaseRequest>,
) -> Result<Bytes, Error> {
    let plan = lease_plan(intake, parsed)?;
    catch_up(intake, in_flight, plan.min_revision).await?;
    let asked = match &plan.action {
        Action::Lease(grant) => Some((grant.host.clone(), grant.transports())),
        _ => None,
    };
    let outcome = intake.decide(in_flight, plan.action).await?;
    let answer = (plan.reply)(outcome, intake.clock.now());
    match (answer, asked) {
        (Err(error), Some((host, transports))) => {
            let until = intake.clock.until(in_flight.deadline);
            let told = with_listeners(intake, error.clone(), &host, &transports);
            Err(timeout(until, told).await.unwrap_or(error))
        }
        (answer, _) => answer,
    }
}

/// With who uses the port, where another program has it, or had it a moment ago.
async fn with_listeners(
    intake: &Intake,
    mut error: Error,
    host: &Host,
    transports: &[Transport],
) -> Error {
    let taken = [PortState::InUse, PortState::Quarantined].map(|state| json!(state));
    let is_taken = |state: &Value| taken.contains(state);
    let port = error.details.get("port").and_then(Value::as_u64);
    let port = port.and_then(|port| Port::new(u16::try_from(port).ok()?));
    let Some(port) = port.filter(|_| error.details.get("state").is_some_and(is_taken)) else {
        return error;
    };
    let mut listeners = Vec::new();
    for &transport in transports {
        let key = PortKey {
            host: host.clone(),
            transport,
            port,
        };
        let seen = intake.probing.look(&key).await;
        listeners.extend(seen.into_iter().flat_map(|seen| seen.listeners));
    }
    let Some(listener) = listeners.first() else {
        return error;
    };
    error.message = format!("{}; {listener} uses it now", error.message);
    error.with("in_use", json!(listeners))
}
