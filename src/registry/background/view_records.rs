//! Records as the view shows them: what matters to people first, with the names that things have on the wire.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use onex_core::{
    key::Key,
    node_record::{Live, Node},
    record::{Cooldown, Json, Lease, Record},
    slot::Slot,
    state::State,
};
use onex_types::{ids::NodeId, key::PortKey};

use crate::{
    protocol::port::LeaseStatus,
    registry::{
        on_the_wire::in_both,
        stored::view::{EndedView, LeaseView, LiveStatus, LiveView, NodeView, PortView},
    },
};

/// What the registry keeps for itself of a registration and its tools.
const INTERNAL: [&str; 3] = ["base_hash", "bytes", "patterns"];

/// Whether the view shows that key.
pub(super) fn is_shown(key: &Key) -> bool {
    matches!(key, Key::Port(_) | Key::Node(_) | Key::Live(_))
}

/// A record that is to be shown.
pub(super) struct Shown {
    key: Key,
    slot: Slot,
    /// Of a port of a lease whose record is under another key: that one.
    lease: Option<(PortKey, Slot)>,
}

impl Shown {
    /// The record under a key, if the view shows it.
    pub(super) fn of(state: &State, key: &Key) -> Option<Self> {
        let slot = state.slot(key).filter(|_| is_shown(key))?.clone();
        let lease = slot.record.member().and_then(|member| {
            let of = &member.of.0;
            Some((of.clone(), state.slot(&Key::Port(of.clone()))?.clone()))
        });
        Some(Self {
            key: key.clone(),
            slot,
            lease,
        })
    }

    /// As JSON. None of a record that cannot be shown.
    pub(super) fn to_json(&self) -> Option<Bytes> {
        let slot = &self.slot;
        let json = match (&self.key, &slot.record) {
            (Key::Port(key), Record::Lease(lease)) => {
                serde_json::to_vec(&PortView::Lease(lease_view(key, lease, slot, None)))
            }
            (Key::Port(key), Record::Member(_)) => {
                let (of, slot) = self.lease.as_ref()?;
                let view = lease_view(key, slot.record.lease()?, slot, Some(of));
                serde_json::to_vec(&PortView::Lease(view))
            }
            (Key::Port(key), Record::Cooldown(ended)) => {
                serde_json::to_vec(&PortView::Ended(ended_view(key, ended, slot.revision)))
            }
            (Key::Node(id), Record::Node(node)) => {
                serde_json::to_vec(&node_view(id, node, slot.revision)?)
            }
            (Key::Live(id), Record::Live(live)) => serde_json::to_vec(&live_view(id, live, slot)),
            _ => return None,
        };
        let json = json.inspect_err(|error| {
            tracing::error!(key = %self.key, %error, "a record cannot be shown in the view");
        });
        json.ok().map(Bytes::from)
    }
}

fn lease_view<'a>(
    key: &'a PortKey,
    lease: &'a Lease,
    slot: &Slot,
    part_of: Option<&PortKey>,
) -> LeaseView<'a> {
    let owner = lease.owner.as_ref();
    // What a renewal changes is shown once for each lease.
    let own_ttl = (owner.is_none() && part_of.is_none()).then_some(lease.ttl);
    LeaseView {
        status: LeaseStatus::Active,
        requester_id: lease.requester_id,
        node_id: owner.map(|owner| &owner.node_id),
        name: lease.name.as_ref(),
        expires_at: own_ttl.map(|ttl| after(slot.at, ttl.millis())),
        part_of: part_of.map(ToString::to_string),
        lease_id: lease.lease_id,
        host: &key.host,
        transport: key.transport,
        transports: in_both(lease),
        ports: &lease.ports,
        protocol: &lease.protocol,
        labels: &lease.labels,
        ttl: own_ttl,
        holder: lease.holder.as_deref(),
        granted_at: lease.granted_at,
        fencing_token: lease.fence,
        revision: slot.revision,
    }
}

fn ended_view<'a>(key: &'a PortKey, cooldown: &'a Cooldown, revision: u64) -> EndedView<'a> {
    let (millis, last) = (cooldown.cooldown_ms, &cooldown.last);
    EndedView {
        status: cooldown.how,
        reason: cooldown.reason.as_ref(),
        requester_id: last.requester_id,
        name: last.name.as_ref(),
        holder: last.holder.as_deref(),
        ended_at: cooldown.ended_at,
        free_at: (millis > 0).then(|| after(cooldown.ended_at, millis)),
        lease_id: last.lease_id,
        host: &key.host,
        transport: key.transport,
        port: key.port,
        fencing_token: last.fence,
        revision,
    }
}

fn node_view<'a>(node_id: &'a NodeId, node: &Node, revision: u64) -> Option<NodeView<'a>> {
    let mut registration = serde_json::to_value(&node.registration).ok()?;
    forget_internals(&mut registration);
    let tools = registration.get_mut("tools").and_then(Json::as_array_mut);
    tools.into_iter().flatten().for_each(forget_internals);
    Some(NodeView {
        node_id,
        registration,
        revision,
    })
}

fn forget_internals(object: &mut Json) {
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, _| !INTERNAL.contains(&name.as_str()));
    }
}

fn live_view<'a>(node_id: &'a NodeId, live: &'a Live, slot: &Slot) -> LiveView<'a> {
    let ended = live.ended.as_ref();
    let expires_at = after(slot.at, live.ttl.millis());
    LiveView {
        liveness: ended.map_or(LiveStatus::Online, |_| LiveStatus::Ended),
        node_id,
        requester_id: live.requester_id,
        expires_at: ended.is_none().then_some(expires_at),
        ended: ended.map(|ended| ended.how),
        reason: ended.and_then(|ended| ended.reason.as_ref()),
        ended_at: ended.map(|ended| ended.at),
        epoch: live.epoch,
        ttl: live.ttl,
        registered_at: live.registered_at,
        health: live.health.as_ref(),
        revision: slot.revision,
    }
}

fn after(at: Timestamp, millis: u64) -> Timestamp {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    at.saturating_add(SignedDuration::from_millis(millis))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use onex_core::entry::Entry;
    use onex_types::time::{MonoMillis, Now};
    use serde_json::{Value, json};

    use super::*;

    const REQUESTER: &str = "00000000-0000-0000-0000-000000000001";
    const LEASE: &str = "00000000-0000-0000-0000-000000000002";
    const INCARNATION: &str = "00000000-0000-0000-0000-000000000003";

    fn state(changes: &Value) -> State {
        let entry =
            json!({"rev": 1, "at": "2026-11-22T10:00:00Z", "cmds": [{"c": "test", "do": changes}]});
        let entry: Entry = serde_json::from_value(entry).unwrap();
        let mut state = State::default();
        let now = Now {
            mono: MonoMillis(1),
            micros: 0,
            wall: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        state.apply_entry(&entry, now).unwrap();
        state
    }

    fn shown(state: &State, key: &str) -> Value {
        let shown = Shown::of(state, &key.parse().unwrap()).unwrap();
        serde_json::from_slice(&shown.to_json().unwrap()).unwrap()
    }

    #[test]
    fn a_node_is_shown_with_what_it_announced_and_its_incarnation_with_its_end() {
        let registration = json!({
            "version": "1.2.3", "node_type": "tool", "host": "build-7", "contract_hash": "c", "base_hash": "b",
            "bytes": 100, "description": "Adds.",
            "tools": [{"name": "add", "version": "1.0.0", "contract_hash": "t", "bytes": 9, "patterns": 1,
                "subject": "onex.node.v1.tool.add.calc", "timeout": 5}],
        });
        let node = json!({"incarnation": INCARNATION, "registration": registration});
        let live = json!({"incarnation": INCARNATION, "epoch": 4, "requester_id": REQUESTER, "ttl": 30,
            "registered_at": "2026-11-22T10:00:00Z"});
        let mut ended = live.clone();
        ended["ended"] = json!({"how": "expired", "at": "2026-11-22T10:01:00Z", "kept_ms": 1});
        let state = state(&json!([
            {"put": "node.calc", "node": node}, {"put": "live.calc", "live": live}, {"put": "live.old", "live": ended},
        ]));
        let node = shown(&state, "node.calc");
        assert_eq!(
            node,
            json!({"node_id": "calc", "version": "1.2.3", "node_type": "tool", "host": "build-7", "contract_hash": "c",
                "description": "Adds.", "revision": 1,
                "tools": [{"name": "add", "version": "1.0.0", "contract_hash": "t",
                    "subject": "onex.node.v1.tool.add.calc", "timeout": 5}]})
        );
        let live = shown(&state, "live.calc");
        assert_eq!(live["liveness"], "online");
        assert_eq!(live["expires_at"], "2026-11-22T10:00:30.000Z");
        let ended = shown(&state, "live.old");
        assert_eq!(
            (&ended["liveness"], &ended["ended"], &ended["ended_at"]),
            (
                &json!("ended"),
                &json!("expired"),
                &json!("2026-11-22T10:01:00.000Z")
            )
        );
        assert_eq!(ended.get("expires_at"), None);
    }

    #[test]
    fn each_port_of_a_lease_says_who_holds_it_and_one_that_ended_until_when_it_rests() {
        let lease = json!({"lease_id": LEASE, "requester_id": REQUESTER, "protocol": "http", "ttl": 60,
            "ports": [20_000, 20_001], "transports": ["tcp"], "name": "api", "granted_at": "2026-11-22T10:00:00Z",
            "owner": {"node_id": "calc", "incarnation": INCARNATION}, "fence": 1});
        let last = json!({"lease_id": LEASE, "requester_id": REQUESTER, "fence": 1});
        let cooldown = json!({"how": "superseded", "ended_at": "2026-11-22T10:00:00Z", "cooldown_ms": 60_000, "last": last});
        let state = state(&json!([
            {"put": "port.h.tcp.20000", "lease": lease},
            {"put": "port.h.tcp.20001", "member": {"of": "port.h.tcp.20000"}},
            {"put": "port.h.tcp.20002", "cooldown": cooldown},
        ]));
        for (key, part_of) in [
            ("port.h.tcp.20000", None),
            ("port.h.tcp.20001", Some(json!("port.h.tcp.20000"))),
        ] {
            let shown = shown(&state, key);
            assert_eq!(shown["status"], "active");
            assert_eq!(shown["requester_id"], REQUESTER);
            assert_eq!(shown["node_id"], "calc");
            assert_eq!(shown["name"], "api");
            assert_eq!(shown.get("part_of"), part_of.as_ref());
            // It ends with its node.
            assert_eq!(shown.get("expires_at"), None);
        }
        let ended = shown(&state, "port.h.tcp.20002");
        assert_eq!(ended["status"], "superseded");
        assert_eq!(ended["free_at"], "2026-11-22T10:01:00.000Z");
    }
}
