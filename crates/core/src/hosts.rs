//! What the state says of hosts: their names, their ranges, and how many ports are in which state.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use onex_types::{
    ids::{Host, Port, Transport},
    key::PortKey,
};

use crate::{
    host_names::Meaning,
    host_record::HostRecord,
    host_use::HostUse,
    key::Key,
    node_index::NodeFilter,
    pool::{Pool, PortState},
    record::{HostPool, PoolPorts, Record},
    record_parts::Unknown,
    slot::Slot,
    state::State,
};

/// How often an instance says within the retention time what its host is called.
const SAID_WITHIN_RETENTION: u64 = 4;

impl State {
    /// Whether the host has a pool of its own, or a port that was granted and is not forgotten.
    pub fn knows_host(&self, host: &Host) -> bool {
        self.hosts.contains_key(host)
    }

    /// How many hosts are known.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Whether ports of a host are kept: it is known, or an instance runs there or did.
    pub(crate) fn keeps_ports(&self, host: &Host) -> bool {
        self.knows_host(host) || self.indexes.hosts.is_served(host)
    }

    /// Whether there may be no host more.
    pub(crate) fn is_full_of_hosts(&self, limit: usize) -> bool {
        let served = self.indexes.hosts.served();
        let without_use = served.filter(|host| !self.knows_host(host));
        self.hosts.len() + without_use.count() >= limit
    }

    /// Whether nothing is on a host, it has no pool of its own, and nothing happened to its ports for the retention time.
    pub fn is_idle(&self, host: &Host, now: Timestamp) -> bool {
        let retention = self.retention_ms();
        self.hosts.get(host).is_some_and(|host| {
            host.held == 0 && !host.has_pool && is_ago(host.last, now, retention)
        })
    }

    /// Whether no instance has said for the retention time what a host is called, nothing is on it, and it is not what
    /// another one was called.
    pub(crate) fn is_abandoned(&self, host: &Host, now: Timestamp) -> bool {
        let said = self.slot(&Key::Host(host.clone()));
        said.is_some_and(|said| is_ago(said.at, now, self.retention_ms()))
            && !self.knows_host(host)
            && !self.has_node_on(host)
            && !self.indexes.hosts.is_former_name(host)
    }

    /// Whether an instance that runs on a host has to say again what it is called, for that not to be forgotten.
    pub fn is_to_be_said_again(&self, host: &Host, now: Timestamp) -> bool {
        let said = self.slot(&Key::Host(host.clone()));
        said.is_none_or(|said| is_ago(said.at, now, self.retention_ms() / SAID_WITHIN_RETENTION))
    }

    /// Hosts of which something may be forgotten.
    pub fn idle_hosts(&self, now: Timestamp) -> impl Iterator<Item = &Host> {
        let used = self.hosts.keys();
        let idle = used.filter(move |host| self.is_idle(host, now));
        let told = self.indexes.hosts.all();
        idle.chain(told.filter(move |host| self.is_abandoned(host, now)))
    }

    /// The ports of a host of which there is a record, in their order.
    pub fn ports_of<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        let keys = self.ports_from(&PortKey::first_on(host));
        keys.take_while(move |key| key.host == *host)
    }

    /// The ports that somebody holds, in the order of their keys, from `from` on.
    pub fn held_from<'a>(&'a self, from: &PortKey) -> impl Iterator<Item = PortKey> + use<'a> {
        let start = (from.host.clone(), from.transport);
        let at = from.clone();
        let pools = self.pools.range(start.clone()..);
        pools.flat_map(move |(id, pool)| {
            let port = if *id == start { at.port } else { Port::LOWEST };
            let (host, transport) = id;
            pool.held_from(port).map(|port| PortKey {
                host: host.clone(),
                transport: *transport,
                port,
            })
        })
    }

    /// The leases that hold that port, one for each host and transport where somebody does, in the order of their keys.
    pub fn holding(&self, port: Port) -> impl Iterator<Item = PortKey> {
        let keys = self.pools.keys().filter_map(move |(host, transport)| {
            let key = Key::Port(PortKey {
                host: host.clone(),
                transport: *transport,
                port,
            });
            let (key, slot) = self.slots.get_key_value(&key)?;
            match (key, &slot.record) {
                (Key::Port(key), Record::Lease(_)) => Some(key.clone()),
                (Key::Port(_), Record::Member(member)) => Some(member.of.0.clone()),
                _ => None,
            }
        });
        let keys: BTreeSet<PortKey> = keys.collect();
        keys.into_iter()
    }

    /// The ports of which there is a record, in their order, from `from` on.
    pub fn ports_from<'a>(&'a self, from: &PortKey) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        let slots = self.slots_from(Some(&Key::Port(from.clone())));
        slots.map_while(|(key, _)| match key {
            Key::Port(key) => Some(key),
            _ => None,
        })
    }

    /// A record of a host comes or goes: what was under `key`, and what is.
    pub(crate) fn count_host(
        &mut self,
        host: &Host,
        key: &Key,
        before: Option<&Slot>,
        after: Option<(&Record, Timestamp)>,
    ) {
        let held = |record: Option<&Record>| {
            usize::from(matches!(record, Some(Record::Lease(_) | Record::Member(_))))
        };
        if !self.hosts.contains_key(host) {
            self.hosts.insert(host.clone(), HostUse::default());
        }
        let Some(entry) = self.hosts.get_mut(host) else {
            return;
        };
        entry.records =
            entry.records + usize::from(after.is_some()) - usize::from(before.is_some());
        let was = before.map(|slot| &slot.record);
        entry.held = entry.held + held(after.map(|(record, _)| record)) - held(was);
        if matches!(key, Key::Pool(_)) {
            entry.has_pool = after.is_some();
        }
        entry.last = after.map_or(entry.last, |(_, at)| entry.last.max(at));
        if entry.records == 0 {
            self.hosts.remove(host);
            self.forget_pools(host);
        }
    }

    /// A host on which an instance runs has ports, whether any was granted or not.
    pub(crate) fn show_pools(&mut self, host: &Host) {
        if self.indexes.hosts.is_served(host) {
            self.pool_mut(host, Transport::Tcp);
        } else {
            self.forget_pools(host);
        }
    }

    /// Forgets the ports of a host that is not known.
    pub(crate) fn forget_pools(&mut self, host: &Host) {
        if !self.keeps_ports(host) {
            for transport in Transport::ALL {
                self.pools.remove(&(host.clone(), transport));
            }
        }
    }

    /// The ports of a host and transport.
    pub fn pool(&self, host: &Host, transport: Transport) -> Option<&Pool> {
        self.pools.get(&(host.clone(), transport))
    }

    /// The ports of every host and transport that was ever asked for, in order.
    pub fn pools(&self) -> impl Iterator<Item = (&(Host, Transport), &Pool)> {
        self.pools.iter()
    }

    /// How many hosts have ports.
    pub fn hosts_with_ports(&self) -> usize {
        self.pools.len() / Transport::ALL.len()
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
        self.pools
            .entry(key)
            .or_insert_with(|| Pool::new(&PoolPorts::default()))
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
            ports: PoolPorts {
                ranges: settings
                    .map(|settings| settings.ports_default.clone())
                    .unwrap_or_default(),
                reserved: settings
                    .map(|settings| settings.reserved_default.clone())
                    .unwrap_or_default(),
            },
            udp: None,
            description: None,
            unknown: Unknown::new(),
        })
    }

    /// The revision of the command that last set a host's own ranges; none where the default ones hold.
    pub fn pool_revision(&self, host: &Host) -> Option<u64> {
        let own = self.slots.get(&Key::Pool(host.clone()))?;
        Some(own.revision)
    }

    pub(crate) fn fresh_pool(&self, host: &Host, transport: Transport) -> Pool {
        let mut pool = Pool::new(self.ranges(host).ports(transport));
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

    /// What an instance said of a host.
    pub fn host(&self, host: &Host) -> Option<&Arc<HostRecord>> {
        self.slots.get(&Key::Host(host.clone()))?.record.host()
    }

    /// The host with its other names, of those under which ports were granted that are not forgotten: they are ports of one
    /// machine.
    pub fn names_in_use(&self, host: &Host) -> BTreeSet<Host> {
        let names = &self.indexes.hosts;
        let mut found = BTreeSet::from([host.clone()]);
        match names.meaning(host, None, &BTreeSet::new()) {
            Meaning::One(now) => {
                found.extend(names.names_of(&now).cloned());
                found.insert(now);
            }
            Meaning::Several(hosts) => found.extend(hosts),
        }
        found.retain(|name| name == host || self.knows_host(name));
        found
    }

    /// Whether a lease, a node or an instance has named that host.
    pub fn has_named(&self, host: &Host) -> bool {
        self.knows_host(host) || self.indexes.hosts.knows(host) || self.has_node_on(host)
    }

    /// Whether a node is or was on that host that is not forgotten.
    pub(crate) fn has_node_on(&self, host: &Host) -> bool {
        let filter = NodeFilter {
            host: Some(host.clone()),
            ..NodeFilter::default()
        };
        let mut nodes = self.indexes.nodes.nodes(&filter, None);
        nodes.next().is_some()
    }
}

/// Whether `at` is so many milliseconds ago, by the wall clock: what is forgotten so is nothing that anybody relies on.
fn is_ago(at: Timestamp, now: Timestamp, millis: u64) -> bool {
    let age = now.as_millisecond().saturating_sub(at.as_millisecond());
    u64::try_from(age).is_ok_and(|age| age >= millis)
}
