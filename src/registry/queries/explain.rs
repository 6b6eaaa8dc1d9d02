//! One port: who holds it, and why it can be had or not.

use jiff::{SignedDuration, Timestamp};
use onex_core::{
    command::{Held, Refusal},
    key::Key,
    lease::Cooldown,
};
use onex_types::key::PortKey;

use crate::{
    protocol::{
        bounds::Open,
        error::Error,
        explain::{ExplainReply, LastLease, PortState},
        probe::SeenPort,
    },
    registry::refusal::{error, port_state},
};

use super::{Catalog, leases::lease_reply, verdict::verdict};

/// A port, as it is explained.
pub(in crate::registry) struct Explained {
    /// Without its history.
    pub(in crate::registry) reply: ExplainReply,
    /// Under which names events tell of it: its own, and that of the lease that has it or had it last.
    pub(in crate::registry) told_of: Vec<PortKey>,
}

/// What a port is. `seen` is none where nobody can look.
pub(in crate::registry) fn explain(
    catalog: Catalog<'_>,
    port: &PortKey,
    seen: Option<&SeenPort>,
) -> Result<Explained, Error> {
    let Catalog { state, now } = catalog;
    if !state.may_grant_on(&port.host) {
        return Err(error(Refusal::PoolNotFound(port.host.clone())));
    }
    let names = state.other_names(&port.host);
    let obstacle = state.obstacle(port, &names, now);
    let is_used = seen.is_some_and(|seen| !seen.listeners.is_empty());
    let port_state = match &obstacle {
        Some(obstacle) => port_state(obstacle.why),
        None if is_used => PortState::InUse,
        None => PortState::Free,
    };
    let key = obstacle.as_ref().map_or(port, |obstacle| &obstacle.key);
    let mut told_of = vec![key.clone()];
    let mut reply = ExplainReply {
        port: port.port,
        host: port.host.clone(),
        transport: port.transport,
        state: Open::Known(port_state),
        lease: None,
        since: None,
        until: None,
        expires_in_ms: None,
        last: None,
        history: None,
        in_use: seen.map(|seen| seen.listeners.clone()),
        ephemeral_range: seen.and_then(|seen| seen.ephemeral).map(Into::into),
        next_free: state.next_free(port, &names, now, |port| {
            seen.is_none_or(|seen| !seen.used.contains(&port))
        }),
        verdict: String::new(),
        revision: state.revision(),
        ignored: Vec::new(),
    };
    if let Some((key, slot, lease)) = state.holding_lease(key) {
        let held = Held::of(state, &key, slot, lease);
        let lease = lease_reply(&held, state.revision(), now);
        told_of.push(held.key);
        reply.since = Some(lease.granted_at);
        reply.until = Some(lease.expires_at);
        reply.expires_in_ms = Some(lease.expires_in_ms);
        reply.lease = Some(lease);
    } else if let Some(slot) = state.slot(&Key::Port(key.clone()))
        && let Some(cooldown) = slot.record.cooldown()
    {
        let over = ended_at(cooldown, cooldown.cooldown_ms);
        match port_state {
            PortState::Resting | PortState::Quarantined => {
                reply.since = Some(cooldown.ended_at);
                reply.until = Some(over);
                reply.expires_in_ms = state.due_at(slot).map(|due| due.since(now));
            }
            PortState::Free => reply.since = Some(over),
            PortState::Held | PortState::Reserved | PortState::Outside | PortState::InUse => {}
        }
        told_of.extend(state.indexes.lease(cooldown.last.lease_id).cloned());
        reply.last = Some(last(cooldown));
    }
    told_of.dedup();
    reply.verdict = verdict(
        &reply,
        port_state,
        &state.ranges(&port.host).ports(port.transport).ranges,
    );
    Ok(Explained { reply, told_of })
}

fn ended_at(cooldown: &Cooldown, then_ms: u64) -> Timestamp {
    let millis = i64::try_from(then_ms).unwrap_or(i64::MAX);
    let at = cooldown.ended_at;
    at.saturating_add(SignedDuration::from_millis(millis))
        .unwrap_or(at)
}

fn last(cooldown: &Cooldown) -> LastLease {
    let last = &cooldown.last;
    LastLease {
        lease_id: last.lease_id,
        requester_id: last.requester_id,
        name: last.name.clone(),
        holder: last.holder.clone(),
        outcome: Open::Known(cooldown.how),
        reason: cooldown.reason.clone(),
        ended_at: cooldown.ended_at,
        fencing_token: last.fence,
    }
}
