//! Whether a port can be had, and if not, why.

use std::sync::Arc;

use onex_types::{
    ids::{Host, Port, Transport},
    key::PortKey,
    ports::PortRange,
    time::MonoMillis,
};

use crate::{
    command::Unavailable,
    key::Key,
    lease::{Lease, LeaseEnd},
    mechanism::Mechanism,
    pool::{Pool, PortState},
    settings::Settings,
    slot::Slot,
    state::State,
};

/// What keeps a port from being granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is.
    pub why: Unavailable,
    /// The port, by the name of its host under which that is so.
    pub key: PortKey,
}

impl State {
    /// The other names of a host under which ports may be held: what is held under one of them is the same port.
    pub fn other_names(&self, host: &Host) -> Vec<Host> {
        if !self.mechanisms.on(Mechanism::NamesOfHost) {
            return Vec::new();
        }
        let names = self.names_in_use(host).into_iter();
        names.filter(|name| name != host).collect()
    }

    /// Whether ports of that host are granted at all. Where an instance runs, or did, nobody has to ask first.
    pub fn may_grant_on(&self, host: &Host) -> bool {
        let known_only = |settings: &Arc<Settings>| settings.known_hosts_only;
        !self.settings().is_some_and(known_only)
            || self.knows_host(host)
            || self.indexes.hosts.knows(host)
    }

    /// Why that port cannot be granted now; none where it can. `names` are the other names of its host. That somebody holds
    /// it goes before all else, and what does not pass before what does.
    pub fn obstacle(&self, key: &PortKey, names: &[Host], now: MonoMillis) -> Option<Obstacle> {
        let mut resting = None;
        let others = names.iter().map(|name| PortKey {
            host: name.clone(),
            ..*key
        });
        for key in std::iter::once(key.clone()).chain(others) {
            let why = match self.port_state(&key, now) {
                PortState::Free => continue,
                PortState::Held => {
                    let why = Unavailable::Held;
                    return Some(Obstacle { why, key });
                }
                PortState::Resting => Unavailable::Resting,
                PortState::Quarantined if self.was_given_up(&key) => Unavailable::GivenUp,
                PortState::Quarantined => Unavailable::Quarantined,
            };
            resting = resting.or(Some(Obstacle { why, key }));
        }
        self.never(key).or(resting)
    }

    /// Whether its last lease got another port for it, and goes on or went on.
    fn was_given_up(&self, key: &PortKey) -> bool {
        let slot = self.slot(&Key::Port(key.clone()));
        let cooldown = slot.and_then(|slot| slot.record.cooldown());
        cooldown.is_some_and(|cooldown| cooldown.how == LeaseEnd::Rebound)
    }

    /// Why that port is never granted.
    fn never(&self, key: &PortKey) -> Option<Obstacle> {
        let pool = self.pool(&key.host, key.transport);
        if pool.is_some_and(|pool| pool.is_usable(key.port)) {
            return None;
        }
        let own = self.ranges(&key.host);
        let ranges = own.ports(key.transport);
        let is_in = |list: &[PortRange]| list.iter().any(|range| range.contains(key.port));
        let why = if is_in(&ranges.reserved) {
            Unavailable::Reserved
        } else if pool.is_none() && is_in(&ranges.ranges) {
            return None;
        } else {
            Unavailable::Outside
        };
        Some(Obstacle {
            why,
            key: key.clone(),
        })
    }

    /// The lease that holds a port, with the key of its record: one that is due, too, until an entry has ended it.
    pub fn holding_lease(&self, key: &PortKey) -> Option<(PortKey, &Slot, &Arc<Lease>)> {
        let member = self.slot(&Key::Port(key.clone()))?.record.member();
        let key = member.map_or(key, |member| &member.of.0);
        let (slot, lease) = self.lease(key)?;
        Some((key.clone(), slot, lease))
    }

    /// A port that would be granted: the next one from `from` upwards, and round to it again.
    pub fn next_free(
        &self,
        from: &PortKey,
        names: &[Host],
        now: MonoMillis,
        will_do: impl Fn(Port) -> bool,
    ) -> Option<Port> {
        let is_free = |port: &Port| {
            let key = PortKey {
                port: *port,
                ..from.clone()
            };
            will_do(*port) && self.obstacle(&key, names, now).is_none()
        };
        self.with_pool(&from.host, from.transport, |pool| {
            pool.free_from(from.port).find(is_free)
        })
    }

    /// The ports of a host and transport, also where nobody has asked for one yet.
    pub fn with_pool<R>(
        &self,
        host: &Host,
        transport: Transport,
        read: impl FnOnce(&Pool) -> R,
    ) -> R {
        match self.pool(host, transport) {
            Some(pool) => read(pool),
            None => read(&self.fresh_pool(host, transport)),
        }
    }
}
