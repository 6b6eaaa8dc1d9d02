//! Which host a name or address means, by what the instances on the hosts said of them.

use std::collections::{BTreeMap, BTreeSet};

use onex_types::ids::Host;

pub use crate::host_record::{HostRecord, TellHost};

use crate::{key::Key, record::Record};

/// Hosts whose names are kept. At the bound a new one takes the place of the oldest without an instance.
pub const HOST_RECORDS_MAX: usize = 1_024;
/// Renamings that are followed from one host to the next.
const RENAMINGS_MAX: usize = 16;

/// What a host's name or address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// That host.
    One(Host),
    /// Any of these: nobody can tell which.
    Several(BTreeSet<Host>),
}

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    aliases: BTreeSet<Host>,
    renamed_to: Option<Host>,
}

/// The names of all hosts. A pure function of the records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HostNames {
    hosts: BTreeMap<Host, Names>,
    /// The hosts that have a name or address beside their own.
    claims: BTreeMap<Host, BTreeSet<Host>>,
    /// The hosts that were renamed to one.
    renamed: BTreeMap<Host, BTreeSet<Host>>,
}

impl HostNames {
    /// A record comes under its key.
    pub(crate) fn insert(&mut self, key: &Key, record: &Record) {
        if let (Key::Host(host), Record::Host(record)) = (key, record) {
            self.put(host, &record.aliases, record.renamed_to.as_ref());
        }
    }

    /// That record goes.
    pub(crate) fn remove(&mut self, key: &Key, record: &Record) {
        if let (Key::Host(host), Record::Host(_)) = (key, record) {
            self.take(host);
        }
    }

    /// That is known of a host from now on.
    pub fn put(&mut self, host: &Host, aliases: &BTreeSet<Host>, renamed_to: Option<&Host>) {
        self.take(host);
        match renamed_to {
            Some(to) => add(&mut self.renamed, to, host),
            None => aliases
                .iter()
                .for_each(|alias| add(&mut self.claims, alias, host)),
        }
        let names = Names {
            aliases: aliases.clone(),
            renamed_to: renamed_to.cloned(),
        };
        self.hosts.insert(host.clone(), names);
    }

    /// Nothing is known of a host any more.
    pub fn take(&mut self, host: &Host) {
        let Some(names) = self.hosts.remove(host) else {
            return;
        };
        for alias in &names.aliases {
            less(&mut self.claims, alias, host);
        }
        if let Some(to) = &names.renamed_to {
            less(&mut self.renamed, to, host);
        }
    }

    /// Whether anything is known of a host of that name.
    pub fn knows(&self, host: &Host) -> bool {
        self.hosts.contains_key(host)
    }

    /// Whether an instance runs there or did, under that name.
    pub fn is_served(&self, host: &Host) -> bool {
        let names = self.hosts.get(host);
        names.is_some_and(|names| names.renamed_to.is_none())
    }

    /// Whether a host that is served was called so before.
    pub(crate) fn is_former_name(&self, host: &Host) -> bool {
        let now = self.renamed(host);
        now != host && self.is_served(now)
    }

    /// All hosts of which something is known.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Host> {
        self.hosts.keys()
    }

    /// The hosts on which an instance runs or did.
    pub fn served(&self) -> impl Iterator<Item = &Host> {
        self.hosts
            .iter()
            .filter(|(_, names)| names.renamed_to.is_none())
            .map(|(host, _)| host)
    }

    /// How many hosts are known.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
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
        if self.knows(name) {
            return Meaning::One(self.renamed(name).clone());
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
        let own = self.hosts.get(host).filter(|of| of.renamed_to.is_none());
        let aliases = own.into_iter().flat_map(|of| &of.aliases);
        let free = aliases.filter(|alias| !self.knows(alias));
        free.chain(self.renamed_to(host))
    }

    /// The hosts that were renamed to that one, at once or one after the other; none where it was renamed itself.
    fn renamed_to(&self, host: &Host) -> BTreeSet<&Host> {
        let mut found = BTreeSet::new();
        let is_renamed = self.knows(host) && !self.is_served(host);
        let mut next: Vec<&Host> = self.renamed.get(host).into_iter().flatten().collect();
        if is_renamed {
            next.clear();
        }
        while let Some(name) = next.pop() {
            if found.insert(name) {
                next.extend(self.renamed.get(name).into_iter().flatten());
            }
        }
        found
    }

    /// The host that the machine of that name is now.
    fn renamed<'a>(&'a self, name: &'a Host) -> &'a Host {
        let mut host = name;
        for _ in 0..RENAMINGS_MAX {
            let names = self.hosts.get(host);
            let Some(to) = names.and_then(|names| names.renamed_to.as_ref()) else {
                break;
            };
            host = to;
        }
        host
    }
}

fn add(sets: &mut BTreeMap<Host, BTreeSet<Host>>, key: &Host, host: &Host) {
    sets.entry(key.clone()).or_default().insert(host.clone());
}

fn less(sets: &mut BTreeMap<Host, BTreeSet<Host>>, key: &Host, host: &Host) {
    if let Some(hosts) = sets.get_mut(key) {
        hosts.remove(host);
        if hosts.is_empty() {
            sets.remove(key);
        }
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

    fn said(hosts: &mut HostNames, name: &str, aliases: &[&str], renamed_to: Option<&str>) {
        hosts.put(&host(name), &set(aliases), renamed_to.map(host).as_ref());
    }

    #[track_caller]
    fn check(hosts: &HostNames, name: &str, own: Option<&str>, live: &[&str], expected: &[&str]) {
        let meaning = hosts.meaning(&host(name), own.map(host).as_ref(), &set(live));
        let is = match meaning {
            Meaning::One(host) => BTreeSet::from([host]),
            Meaning::Several(hosts) => hosts,
        };
        assert_eq!(is, set(expected), "{name}");
    }

    #[test]
    fn an_alias_means_the_one_host_that_has_it() {
        let mut hosts = HostNames::default();
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
        let mut hosts = HostNames::default();
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
        let mut hosts = HostNames::default();
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

    #[test]
    fn what_was_said_of_a_host_goes_without_a_trace() {
        let mut hosts = HostNames::default();
        said(&mut hosts, "a", &["vm", "192.0.2.1"], None);
        said(&mut hosts, "b", &["vm"], Some("a"));
        said(&mut hosts, "a", &["vm"], Some("b"));
        for name in ["a", "b"] {
            hosts.take(&host(name));
        }
        assert_eq!(hosts, HostNames::default());
    }
}
