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

/// Names and addresses that one host may have beside its own name.
pub const ALIASES_MAX: usize = 128;
/// Hosts whose records are kept. At the bound a new one takes the place of the oldest without an instance.
pub const HOST_RECORDS_MAX: usize = 1_024;
/// Renamings that are followed from one host to the next.
const RENAMINGS_MAX: usize = 16;

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

/// What a host's name or address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// That host.
    One(Host),
    /// Any of these: nobody can tell which.
    Several(BTreeSet<Host>),
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
    /// The hosts that have a name or address beside their own.
    claims: BTreeMap<Host, BTreeSet<Host>>,
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
        let before = self.seen.remove(host).map(|seen| seen.record.aliases);
        for alias in before.iter().flatten() {
            if let Some(hosts) = self.claims.get_mut(alias) {
                hosts.remove(host);
                if hosts.is_empty() {
                    self.claims.remove(alias);
                }
            }
        }
        let Some(record) = record else { return };
        if record.renamed_to.is_none() {
            for alias in &record.aliases {
                let hosts = self.claims.entry(alias.clone()).or_default();
                hosts.insert(host.clone());
            }
        }
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

    /// What `name` means. `live` are the hosts on which instances run; `own` is that of the instance that asks, where
    /// it calls its machine by that name now.
    ///
    /// A host's own name goes before what others say of it. Of those that have an alias in common, the ones with an
    /// instance that runs go before the others.
    pub fn meaning(&self, name: &Host, own: Option<&Host>, live: &BTreeSet<Host>) -> Meaning {
        if live.contains(name) {
            return Meaning::One(name.clone());
        }
        if let Some(record) = self.get(name) {
            return Meaning::One(self.renamed(name, record));
        }
        let mut hosts = self.claims.get(name).cloned().unwrap_or_default();
        hosts.extend(own.cloned());
        let running: BTreeSet<Host> = hosts.intersection(live).cloned().collect();
        if !running.is_empty() {
            hosts = running;
        }
        match hosts.pop_first() {
            None => Meaning::One(name.clone()),
            Some(host) if hosts.is_empty() => Meaning::One(host),
            Some(host) => {
                hosts.insert(host);
                Meaning::Several(hosts)
            }
        }
    }

    /// Other names that mean that host now, whether an instance runs or not: those of which no host claims to be
    /// called so, and hosts that were renamed to it. A name that several hosts have in common is one of each.
    pub fn names_of<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Host> {
        let own = self.get(host).filter(|of| of.renamed_to.is_none());
        let aliases = own.into_iter().flat_map(|of| &of.aliases);
        let free = aliases.filter(move |alias| self.get(alias).is_none());
        let renamed = self.seen.iter().filter_map(move |(name, seen)| {
            let is_renamed = seen.record.renamed_to.is_some();
            (is_renamed && self.renamed(name, &seen.record) == *host).then_some(name)
        });
        free.chain(renamed)
    }

    /// The host that the machine of that record is now.
    fn renamed(&self, name: &Host, record: &HostRecord) -> Host {
        let (mut host, mut next) = (name, record.renamed_to.as_ref());
        for _ in 0..RENAMINGS_MAX {
            let Some(to) = next else { break };
            host = to;
            next = self.get(to).and_then(|record| record.renamed_to.as_ref());
        }
        host.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<Host> {
        names.iter().map(|name| host(name)).collect()
    }

    fn said(hosts: &mut Hosts, name: &str, aliases: &[&str], renamed_to: Option<&str>) {
        let record = HostRecord {
            aliases: set(aliases),
            renamed_to: renamed_to.map(host),
            ..HostRecord::new(Uuid::nil())
        };
        hosts.put(&host(name), Revision(1), Some(record), Moment(0));
    }

    #[track_caller]
    fn check(hosts: &Hosts, name: &str, own: Option<&str>, live: &[&str], expected: &[&str]) {
        let meaning = hosts.meaning(&host(name), own.map(host).as_ref(), &set(live));
        let is = match meaning {
            Meaning::One(host) => BTreeSet::from([host]),
            Meaning::Several(hosts) => hosts,
        };
        assert_eq!(is, set(expected), "{name}");
    }

    #[test]
    fn an_alias_means_the_one_host_that_has_it() {
        let mut hosts = Hosts::default();
        said(
            &mut hosts,
            "a",
            &["vm", "192.0.2.1", "172.17.0.1", "b"],
            None,
        );
        said(&mut hosts, "b", &["172.17.0.1"], None);
        // Whether its instance runs or not.
        for live in [&["a", "b"][..], &["b"], &[]] {
            check(&hosts, "vm", None, live, &["a"]);
            check(&hosts, "192.0.2.1", None, live, &["a"]);
            // A host's own name goes before an alias.
            check(&hosts, "b", None, live, &["b"]);
        }
        check(&hosts, "b", Some("a"), &["a", "b"], &["b"]);
        check(&hosts, "other", None, &["a", "b"], &["other"]);
        check(&hosts, "other", Some("a"), &["a", "b"], &["a"]);
        // One that two have means neither, unless only one of them has an instance that runs.
        check(&hosts, "172.17.0.1", None, &["a", "b"], &["a", "b"]);
        check(&hosts, "172.17.0.1", None, &[], &["a", "b"]);
        check(&hosts, "172.17.0.1", None, &["b"], &["b"]);
        check(&hosts, "vm", Some("b"), &["a", "b"], &["a", "b"]);
        // What a host says anew takes the place of what it said before.
        said(&mut hosts, "a", &["192.0.2.2"], None);
        check(&hosts, "vm", None, &["a", "b"], &["vm"]);
        check(&hosts, "172.17.0.1", None, &["a", "b"], &["b"]);
    }

    #[test]
    fn a_renamed_host_means_the_new_one() {
        let mut hosts = Hosts::default();
        said(&mut hosts, "vm", &["192.0.2.1"], Some("laptop"));
        said(&mut hosts, "laptop", &["192.0.2.1"], Some("desk"));
        said(&mut hosts, "desk", &["192.0.2.1"], None);
        check(&hosts, "vm", None, &["desk"], &["desk"]);
        check(&hosts, "192.0.2.1", None, &["desk"], &["desk"]);
        // Until an instance uses that name again.
        check(&hosts, "vm", None, &["desk", "vm"], &["vm"]);
    }

    #[test]
    fn names_of_a_host_are_those_that_mean_it_now() {
        let mut hosts = Hosts::default();
        said(&mut hosts, "vm", &["192.0.2.1"], Some("laptop"));
        said(&mut hosts, "laptop", &[], Some("desk"));
        said(
            &mut hosts,
            "desk",
            &["vm", "box", "other", "172.17.0.1"],
            None,
        );
        said(&mut hosts, "other", &["172.17.0.1"], None);
        let check = |name: &str, expected: &[&str]| {
            let names: BTreeSet<Host> = hosts.names_of(&host(name)).cloned().collect();
            assert_eq!(names, set(expected), "{name}");
        };
        check("desk", &["172.17.0.1", "box", "laptop", "vm"]);
        check("other", &["172.17.0.1"]);
        check("vm", &[]);
    }
}
