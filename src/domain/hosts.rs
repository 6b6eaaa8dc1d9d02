//! Which host a name or address means, by what the instances on the hosts said of them in the bucket.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ids::Host,
    key::Revision,
    record::{FORMAT, Unknown},
    time::Moment,
};

pub use onex_core::host_names::{ALIASES_MAX, HOST_RECORDS_MAX, HostNames, Meaning};

/// What `host.<host>` holds: what the last instance that started on that host said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The instance that said it.
    pub said_by: Uuid,
    /// Which kernel and network namespace the host is; absent where the instance is not on its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_space: Option<String>,
    /// The host's other names, and its addresses, loopback ones excluded. At most [`ALIASES_MAX`].
    #[serde(default)]
    pub aliases: BTreeSet<Host>,
    /// The host under which the same machine is served now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<Host>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl HostRecord {
    /// Of a host of which nothing but its name is known.
    pub fn new(said_by: Uuid) -> Self {
        Self {
            format: FORMAT,
            said_by,
            port_space: None,
            aliases: BTreeSet::new(),
            renamed_to: None,
            unknown: BTreeMap::new(),
        }
    }
}

/// A record as the follower saw it.
#[derive(Debug)]
struct Seen {
    revision: Revision,
    at: Moment,
    record: HostRecord,
}

/// The records of all hosts.
#[derive(Debug, Default)]
pub struct Hosts {
    seen: BTreeMap<Host, Seen>,
    names: HostNames,
}

impl Hosts {
    /// The follower saw a host's record; none where it was removed, or where something is that no registry wrote.
    pub(super) fn put(
        &mut self,
        host: &Host,
        revision: Revision,
        record: Option<HostRecord>,
        at: Moment,
    ) {
        self.seen.remove(host);
        self.names.take(host);
        let Some(record) = record else { return };
        let renamed_to = record.renamed_to.as_ref();
        self.names.put(host, &record.aliases, renamed_to);
        let seen = Seen {
            revision,
            at,
            record,
        };
        self.seen.insert(host.clone(), seen);
    }

    /// The record of a host.
    pub fn get(&self, host: &Host) -> Option<&HostRecord> {
        self.seen.get(host).map(|seen| &seen.record)
    }

    /// Where in the bucket that record is.
    pub fn revision(&self, host: &Host) -> Option<Revision> {
        self.seen.get(host).map(|seen| seen.revision)
    }

    /// Every record, with its place in the bucket.
    pub fn all(&self) -> impl Iterator<Item = (&Host, Revision, &HostRecord)> {
        let all = self.seen.iter();
        all.map(|(host, seen)| (host, seen.revision, &seen.record))
    }

    /// Hosts on which an instance other than `own` said something after that moment.
    pub fn said_since(&self, since: Moment, own: Uuid) -> impl Iterator<Item = &Host> {
        let lately = move |seen: &Seen| {
            let record = &seen.record;
            seen.at > since && record.said_by != own && record.renamed_to.is_none()
        };
        let seen = self.seen.iter();
        seen.filter_map(move |(host, seen)| lately(seen).then_some(host))
    }

    /// Which host a name means.
    pub fn names(&self) -> &HostNames {
        &self.names
    }
}
