//! What a port was, as the events of it tell.

use std::cmp::Reverse;

use onex_types::{
    ids::Port,
    kinds::{EventKind, LeaseEnd},
};

use crate::protocol::{
    bounds::Open,
    event::{EventBody, PortEvent},
    explain::{HISTORY_STATES_MAX, PastState, PortState},
};

/// The body of an event of a port.
pub(in crate::registry) type PortEventBody = EventBody<PortEvent>;

/// What the port was last, the newest first, by the bodies of events. What is none of an event, or tells of a lease
/// without that port, is left out.
pub(in crate::registry) fn past_states(bodies: &[Vec<u8>], port: Port) -> Vec<PastState> {
    let events = bodies.iter().rev();
    let events: Vec<PortEventBody> = events
        .filter_map(|body| serde_json::from_slice(body).ok())
        .collect();
    let is_own = |event: &PortEventBody| event.about.port == port;
    // Of a set that was taken back only the ports in use are quarantined. Of one that gave a port up it is told otherwise.
    let is_of_it = |event: &&PortEventBody| {
        let at_once = |own: &PortEventBody| {
            is_own(own) && is_quarantine(own) && own.revision == event.revision
        };
        let is_others = match event.about.outcome {
            Some(LeaseEnd::Rebound) => true,
            Some(LeaseEnd::InUse) => events.iter().any(at_once),
            _ => false,
        };
        is_own(event) || event.about.ports.contains(&port) && !is_others
    };
    let of_it = events.iter().filter(is_of_it);
    let mut states: Vec<_> = of_it.map(|event| past_state(event.clone(), port)).collect();
    states.sort_by_key(|state| Reverse(state.revision));
    states.truncate(HISTORY_STATES_MAX);
    states
}

fn is_quarantine(event: &PortEventBody) -> bool {
    event.event == EventKind::PortQuarantined.as_str()
}

/// What that port became.
fn past_state(event: PortEventBody, port: Port) -> PastState {
    let is_quarantined = is_quarantine(&event) && event.about.port == port;
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
        (Some(LeaseEnd::InUse), _) if !is_quarantined => (
            PortState::Free,
            why("its grant was taken back: another program was using another port of it"),
        ),
        (Some(LeaseEnd::InUse), _) => (
            PortState::Quarantined,
            why("another program was using it when it was to be granted"),
        ),
        (Some(LeaseEnd::Rebound), _) => (
            PortState::Quarantined,
            why("its lease gave it up for another one"),
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
