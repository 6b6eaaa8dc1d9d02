//! The ports of hosts: their ranges, and how many ports are in which state.

use std::{collections::BTreeSet, sync::Arc};

use onex_types::{
    ids::{Host, Port, Transport},
    key::PortKey,
};

use crate::{
    key::Key,
    pool::{Pool, PortState},
    record::{HostPool, Unknown},
    state::State,
};

impl State {
    /// Whether the host has a pool of its own, or a port that was ever granted.
    pub fn knows_host(&self, host: &Host) -> bool {
        self.slots.contains_key(&Key::Pool(host.clone()))
            || Transport::ALL.iter().any(|transport| {
                let first = PortKey {
                    transport: *transport,
                    ..PortKey::first_on(host)
                };
                let next = self.slots_from(Some(&Key::Port(first))).next();
                matches!(next, Some((Key::Port(key), _)) if key.host == *host)
            })
    }

    /// How many hosts have a pool of their own or were ever granted a port.
    pub fn hosts(&self) -> usize {
        let hosts: BTreeSet<&Host> = self.pools.keys().map(|(host, _)| host).collect();
        hosts
            .into_iter()
            .filter(|host| self.knows_host(host))
            .count()
    }

    /// The ports of a host and transport.
    pub fn pool(&self, host: &Host, transport: Transport) -> Option<&Pool> {
        self.pools.get(&(host.clone(), transport))
    }

    /// The ports of every host and transport that was ever asked for, in order.
    pub fn pools(&self) -> impl Iterator<Item = (&(Host, Transport), &Pool)> {
        self.pools.iter()
    }

    /// The ports of a host and transport; made if this is its first use.
    pub fn pool_mut(&mut self, host: &Host, transport: Transport) -> &mut Pool {
        let key = (host.clone(), transport);
        if !self.pools.contains_key(&key) {
            for transport in Transport::ALL {
                let pool = self.fresh_pool(host, transport);
                self.pools.insert((host.clone(), transport), pool);
            }
        }
        self.pools.entry(key).or_insert_with(|| Pool::new(&[], &[]))
    }

    /// The ranges of a host: its own, else the default ones.
    pub fn ranges(&self, host: &Host) -> Arc<HostPool> {
        let own = self
            .slots
            .get(&Key::Pool(host.clone()))
            .and_then(|slot| slot.record.pool());
        if let Some(own) = own {
            return own.clone();
        }
        let settings = self.settings();
        Arc::new(HostPool {
            ranges: settings
                .map(|settings| settings.ports_default.clone())
                .unwrap_or_default(),
            reserved: settings
                .map(|settings| settings.reserved_default.clone())
                .unwrap_or_default(),
            description: None,
            unknown: Unknown::new(),
        })
    }

    fn fresh_pool(&self, host: &Host, transport: Transport) -> Pool {
        let ranges = self.ranges(host);
        let mut pool = Pool::new(&ranges.ranges, &ranges.reserved);
        let first = PortKey {
            transport,
            port: Port::LOWEST,
            ..PortKey::first_on(host)
        };
        for (key, slot) in self.slots_from(Some(&Key::Port(first))) {
            match key {
                Key::Port(key) if key.host == *host && key.transport == transport => {
                    pool.change(key.port, PortState::Free, slot.state);
                }
                _ => break,
            }
        }
        pool
    }

    pub(crate) fn rebuild_pools(&mut self, changed: &Key) {
        let hosts: Vec<(Host, Transport)> = self.pools.keys().cloned().collect();
        for (host, transport) in hosts {
            if *changed == Key::Settings || *changed == Key::Pool(host.clone()) {
                let pool = self.fresh_pool(&host, transport);
                self.pools.insert((host, transport), pool);
            }
        }
    }
}
