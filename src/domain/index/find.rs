//! What is found by something else than its key: leases, requests, and the pools of a host.

use std::collections::BTreeSet;

use super::Index;
use crate::domain::{
    ids::{Digest, Host, LeaseId, Port, RequestId, RequesterId, Transport},
    key::PortKey,
    pool::Pool,
    record::Record,
    standing::Entry,
};

impl Index {
    /// The key of a lease, live or remembered, with its entry.
    pub fn find_lease(&self, lease_id: LeaseId) -> Option<(&PortKey, &Entry)> {
        let key = self.lookup.lease(lease_id)?;
        Some((key, self.ports.get(key)?))
    }

    /// The ports whose records remember that request of that requester.
    pub fn find_request(
        &self,
        requester: RequesterId,
        id: RequestId,
    ) -> impl Iterator<Item = (&PortKey, &Entry)> {
        self.lookup
            .requested(requester, id)
            .filter_map(|key| Some((key, self.ports.get(key)?)))
    }

    /// The digest under which any record remembers that request.
    pub fn find_digest(&self, requester: RequesterId, id: RequestId) -> Option<Digest> {
        self.find_request(requester, id)
            .filter_map(|(_, entry)| entry.record.as_deref())
            .flat_map(Record::requests)
            .find(|request| request.id == id)
            .map(|request| request.digest)
    }

    /// The pool of a host; what a new one would be when the host has none yet.
    pub fn pool(&self, host: &Host, transport: Transport) -> &Pool {
        self.pools
            .get(host)
            .map_or(&self.fresh_pool, |pools| pools.of(transport))
    }

    /// Every pool there is, in the order of host and transport.
    pub fn pools(&self) -> impl Iterator<Item = ((&Host, Transport), &Pool)> {
        self.pools.iter().flat_map(|(host, pools)| {
            Transport::ALL.map(|transport| ((host, transport), pools.of(transport)))
        })
    }

    /// The keys of the live leases of that port on every host, from `after` on.
    pub fn holding<'a>(
        &'a self,
        port: Port,
        after: Option<&'a PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> {
        let keys = self
            .pools()
            .filter_map(move |((host, transport), _)| self.lookup.live_at(host, transport, port));
        keys.filter(move |key| after.is_none_or(|after| *key > after))
    }

    /// The host, with the other names that mean it now under which there are pools, in their order.
    pub fn with_former(&self, host: &Host) -> BTreeSet<Host> {
        let others = self.hosts.names().names_of(host);
        let used = others.filter(|name| self.pools.contains_key(*name));
        used.chain([host]).cloned().collect()
    }

    /// Whether the host has pools.
    pub fn knows_host(&self, host: &Host) -> bool {
        self.pools.contains_key(host)
    }

    /// How many hosts have pools.
    pub fn host_count(&self) -> usize {
        self.pools.len()
    }
}
