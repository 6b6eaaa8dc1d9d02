//! What a port was, as the events of it tell.

use onex_types::{
    ids::Port,
    kinds::{EventKind, LeaseEnd},
};

use crate::protocol::{
    bounds::Open,
    event::{EventBody, PortEvent},
    explain::{PastState, PortState},
};

/// The body of an event of a port.
pub(in crate::registry) type PortEventBody = EventBody<PortEvent>;

/// What the port was, the newest first, by the bodies of events, the oldest first. What is none of an event, or tells of
/// a lease without that port, is left out.
pub(in crate::registry) fn past_states(bodies: &[Vec<u8>], port: Port) -> Vec<PastState> {
    let events = bodies
        .iter()
        .rev()
        .filter_map(|body| serde_json::from_slice::<PortEventBody>(body).ok());
    let of_it =
        |event: &PortEventBody| event.about.port == port || event.about.ports.contains(&port);
    events.filter(of_it).map(past_state).collect()
}

fn past_state(event: PortEventBody) -> PastState {
    let about = event.about;
    let why = |text: &str| match &about.reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text.to_owned(),
    };
    let is_lifted = event.event == EventKind::PortUnquarantined.as_str();
    let (state, reason) = match (about.outcome, about.old_port) {
        _ if is_lifted => (
            PortState::Free,
            why("an administrator lifted its quarantine"),
        ),
        (None, None) => (PortState::Held, why("it was leased")),
        (None, Some(old)) => (
            PortState::Held,
            why(&format!("its lease gave up port {old} for another one")),
        ),
        (Some(LeaseEnd::Released), _) => (PortState::Free, why("its holder released it")),
        (Some(LeaseEnd::Expired), _) => (
            PortState::Free,
            why("its time was up, or that of what it belonged to"),
        ),
        (Some(LeaseEnd::InUse), _) => (
            PortState::Quarantined,
            why("another program was using it when it was to be granted"),
        ),
        (Some(LeaseEnd::Superseded), _) => (
            PortState::Resting,
            why("another life of its holder's node began"),
        ),
        (Some(LeaseEnd::Revoked), _) => (PortState::Resting, why("an administrator took it away")),
    };
    PastState {
        state: Open::Known(state),
        since: event.at,
        reason,
        event: event.event,
        lease_id: about.lease_id,
        requester_id: about.requester_id,
        name: about.name,
        holder: about.holder,
        correlation_id: event.correlation_id,
        revision: event.revision,
    }
}
