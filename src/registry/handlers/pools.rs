//! `pool.set` and `pool.delete`.

use bytes::Bytes;
use onex_core::{
    command::{Action, SetPool},
    record::PoolPorts,
    state::State,
};
use onex_types::{
    ids::{Host, Transport},
    ports::PortRange,
};

use crate::{
    protocol::{
        error::Error,
        frame::Parsed,
        pool::{PoolDeleteRequest, PoolListRequest, PoolSetRequest, Range},
        port::RequestedTransport,
    },
    registry::{intake::Intake, queries, refusal::decided, request::InFlight},
};

use super::pages::{catch_up, list};

/// `pool.set`.
pub(super) async fn set(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<PoolSetRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    catch_up(intake, in_flight, request.min_revision).await?;
    let host = intake.meant(request.host)?;
    let ports = ports(&request.ranges, &request.reserved)?;
    check_others(intake, &host, &ports.ranges, "/ranges").await?;
    let set = SetPool {
        host: host.clone(),
        transport: match request.transport {
            None | Some(RequestedTransport::Both) => None,
            Some(RequestedTransport::Tcp) => Some(Transport::Tcp),
            Some(RequestedTransport::Udp) => Some(Transport::Udp),
        },
        ports,
        description: request.description.map(String::from),
        expected_revision: request.expected_revision,
    };
    change(
        intake,
        in_flight,
        Action::SetPool(Box::new(set)),
        host,
        ignored,
    )
    .await
}

/// `pool.delete`.
pub(super) async fn delete(
    intake: &Intake,
    in_flight: &InFlight,
    parsed: Parsed<PoolDeleteRequest>,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } = parsed;
    catch_up(intake, in_flight, request.min_revision).await?;
    let host = intake.meant(request.host)?;
    let default = |state: &State| Some(state.settings()?.ports_default.clone());
    let default = intake
        .driver
        .handle
        .reads
        .with(intake.clock.now().mono, default);
    let default = default.flatten().unwrap_or_default();
    check_others(intake, &host, &default, "/host").await?;
    let delete = Action::DeletePool {
        host: host.clone(),
        expected_revision: request.expected_revision,
    };
    change(intake, in_flight, delete, host, ignored).await
}

/// Refuses ports that a registry of another namespace grants.
async fn check_others(
    intake: &Intake,
    host: &Host,
    ranges: &[PortRange],
    pointer: &str,
) -> Result<(), Error> {
    let client = intake.bus.client();
    let checked = intake.peers.check(&client, host, ranges).await;
    checked.map_err(|conflict| Error::invalid(pointer, conflict.to_string()))
}

/// Changes the pool, and shows how it is then.
async fn change(
    intake: &Intake,
    in_flight: &InFlight,
    action: Action,
    host: Host,
    ignored: Vec<String>,
) -> Result<Bytes, Error> {
    decided(intake.decide(in_flight, action).await?)?;
    let request = PoolListRequest {
        host: Some(host),
        ..PoolListRequest::default()
    };
    list(
        intake,
        in_flight,
        Parsed { request, ignored },
        queries::pools,
    )
    .await
}

/// What is granted, in order; refuses what makes no sense.
fn ports(ranges: &[Range], reserved: &[Range]) -> Result<PoolPorts, Error> {
    if ranges.is_empty() {
        return Err(Error::invalid("/ranges", "must be at least one range"));
    }
    let ranges = in_order("/ranges", ranges)?;
    for (index, part) in reserved.iter().enumerate() {
        let within = |range: &PortRange| range.first <= part.first && part.last <= range.last;
        if part.first <= part.last && !ranges.iter().any(within) {
            let message = "must be within ranges: it is not granted in any case";
            return Err(Error::invalid(format!("/reserved/{index}"), message));
        }
    }
    Ok(PoolPorts {
        reserved: in_order("/reserved", reserved)?,
        ranges,
    })
}

fn in_order(place: &str, ranges: &[Range]) -> Result<Vec<PortRange>, Error> {
    for (index, Range { first, last }) in ranges.iter().enumerate() {
        if first > last {
            let message = format!("must have the lower end first: {last} to {first}");
            return Err(Error::invalid(format!("{place}/{index}"), message));
        }
    }
    let ranges = ranges.iter().copied().map(PortRange::from).collect();
    Ok(PortRange::merged(ranges))
}
