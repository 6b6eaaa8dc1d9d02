//! From a message to a checked request.

use async_nats::{HeaderValue, Message};
use serde::de::DeserializeOwned;

use crate::{
    contract::ToolRules,
    protocol::{
        endpoint::{Endpoint, REQUEST_BYTES_MAX},
        error::Error,
        frame::{self, Parsed},
        names::HEADER_PROTOCOL,
    },
    registry::{contracts::Check, intake::Intake, request::InFlight},
};

/// Parses a long request away from the tasks that serve.
pub(super) async fn parse_long<Q: DeserializeOwned + Send + 'static>(
    intake: &Intake,
    in_flight: &InFlight,
    message: &Message,
) -> Result<Parsed<Q>, Error> {
    let (endpoint, body) = (in_flight.endpoint, message.payload.clone());
    if !(REQUEST_BYTES_MAX..=endpoint.request_bytes_max()).contains(&body.len()) {
        return parse(intake, endpoint, message);
    }
    let minor = protocol_minor(message)?;
    let what = Check::request(endpoint, body.len());
    let parse = move |rules: ToolRules<'_>| frame::parse(endpoint, rules.namespace, minor, &body);
    let asking = intake.asking(in_flight);
    intake.contracts.check(what, asking, parse).await
}

pub(super) fn parse<Q: DeserializeOwned>(
    intake: &Intake,
    endpoint: Endpoint,
    message: &Message,
) -> Result<Parsed<Q>, Error> {
    let minor = protocol_minor(message)?;
    frame::parse(endpoint, &intake.namespace, minor, &message.payload)
}

fn protocol_minor(message: &Message) -> Result<u32, Error> {
    let headers = message.headers.as_ref();
    let minor = headers.and_then(|headers| headers.get(HEADER_PROTOCOL));
    frame::protocol_minor(minor.map(HeaderValue::as_str))
}
