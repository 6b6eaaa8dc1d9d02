//! Which machine a request means, and what is said of one that nobody has named before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    domain::{
        hosts::Meaning,
        ids::{Host, NodeId},
        time::Moment,
    },
    machine::{is_loopback, spelled},
    protocol::{
        error::Error,
        port::{LeaseReply, LeaseRequest},
        warning::{Warning, WarningCode},
    },
};

use super::{commit::Commit, requests::Caller, serve::Server, shape::Asked};

/// For how long after it was last heard of an instance counts as running, in milliseconds. Instances ask for each
/// other every 5 s: this is three times that.
pub(super) const HEARD_MILLIS_MAX: u64 = 15_000;
/// Hosts that an error names to choose from.
const HOSTS_NAMED_MAX: usize = 8;

/// The hosts on which other instances run, as far as this one has heard of them.
#[derive(Default)]
pub(super) struct Heard {
    at: Mutex<BTreeMap<Host, Moment>>,
    /// Records of hosts that are older were there when this instance started: they do not say who runs now.
    started: Moment,
    /// Whether it was told that another machine has the name of this one.
    namesake_told: AtomicBool,
}

impl Heard {
    /// Hosts of the instances that answered when this one started.
    pub(super) fn new(hosts: impl Iterator<Item = Host>, started: Moment) -> Self {
        let at = hosts.map(|host| (host, started)).collect();
        Self {
            at: Mutex::new(at),
            started,
            namesake_told: AtomicBool::new(false),
        }
    }

    /// Another machine that has the name of this one has ports of its own, and none may be granted on both. Said once.
    pub(super) fn tell_of_namesake(&self, host: &Host) {
        if self.namesake_told.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            "two machines call themselves {host}: a port that is held on one cannot be had on the other. Give each \
             a --host of its own"
        );
    }

    /// Instances on these hosts have answered.
    pub(super) fn answered(&self, hosts: impl Iterator<Item = Host>, now: Moment) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.retain(|_, last| now.since(*last) < HEARD_MILLIS_MAX);
        at.extend(hosts.map(|host| (host, now)));
    }

    /// From when on what others say of their hosts shows that they run.
    pub(super) fn since(&self, now: Moment) -> Moment {
        Moment(now.0.saturating_sub(HEARD_MILLIS_MAX)).max(self.started)
    }

    /// The hosts whose instances have answered lately.
    pub(super) fn lately(&self, now: Moment) -> BTreeSet<Host> {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |(host, last): (&Host, &Moment)| {
            (now.since(*last) < HEARD_MILLIS_MAX).then(|| host.clone())
        };
        at.iter().filter_map(lately).collect()
    }
}

impl Commit {
    /// The hosts on which instances run, this one's among them.
    pub(super) fn live_hosts(&self) -> BTreeSet<Host> {
        let mut live = self.others_hosts();
        live.insert(self.machine.host().clone());
        live
    }

    /// The hosts on which other instances run.
    pub(super) fn others_hosts(&self) -> BTreeSet<Host> {
        let now = self.clock.now().mono;
        let since = self.heard.since(now);
        let mut live = self.heard.lately(now);
        self.mirror.with(|core| {
            let index = &core.index;
            let said = index.hosts.said_since(since, index.policy.registry_id);
            live.extend(said.cloned());
        });
        live
    }

    /// The name that leases are kept by, in the place of another name or address of that host.
    pub(super) fn meant(&self, host: Host) -> Result<Host, Error> {
        let host = spelled(host).map_err(|error| Error::invalid("/host", error.to_string()))?;
        match self.meaning(&host) {
            Meaning::One(host) => Ok(host),
            Meaning::Several(hosts) => Err(ambiguous(&host, &hosts)),
        }
    }

    fn meaning(&self, host: &Host) -> Meaning {
        let mut live = self.live_hosts();
        if is_loopback(host) {
            return if live.len() == 1 {
                Meaning::One(self.machine.host().clone())
            } else {
                Meaning::Several(live)
            };
        }
        let own = self.machine.host();
        live.insert(own.clone());
        let own = self.machine.is_called(host).then_some(own);
        self.mirror
            .with(|core| core.index.hosts.names().meaning(host, own, &live))
    }

    /// The host of a lease that names none: its node's, which may have got another name since.
    fn host_of_node(&self, node_id: &NodeId) -> Option<Host> {
        let host = self.mirror.with(|core| {
            let seen = core.index.nodes.seen(node_id)?;
            seen.node.registration.host.clone()
        })?;
        match self.meaning(&host) {
            Meaning::One(host) => Some(host),
            Meaning::Several(_) => None,
        }
    }
}

/// A name that several hosts have in common.
pub(super) fn ambiguous(host: &Host, hosts: &BTreeSet<Host>) -> Error {
    let named = hosts.iter().take(HOSTS_NAMED_MAX);
    let mut named: Vec<String> = named.map(|host| format!("{:?}", host.as_str())).collect();
    if hosts.len() > named.len() {
        named.push("…".to_owned());
    }
    let why = if is_loopback(host) {
        "means the machine of whoever says it, and registries run on several hosts"
    } else {
        "is a name or address of several hosts"
    };
    let message = format!(
        "{:?} {why}: name one of {}",
        host.as_str(),
        named.join(", ")
    );
    Error::invalid("/host", message)
}

impl Server {
    /// The request, with the name that leases are kept by in the place of another of that host.
    pub(super) fn resolved<Q: Asked>(&self, mut request: Q) -> Result<Q, Error> {
        if let Some(host) = request.host() {
            *host = self.commit.meant(host.clone())?;
        }
        Ok(request)
    }

    /// Grants a port. The first lease on a host that nobody has named says so: the host may be misspelt, or be
    /// another name of a machine whose ports are granted already.
    pub(super) async fn lease(
        &self,
        caller: &Caller,
        request: LeaseRequest,
    ) -> Result<LeaseReply, Error> {
        let host = request.host.clone();
        let host = host.map(|host| self.commit.meant(host)).transpose()?;
        let mut unknown = host.clone().filter(|host| !self.knows_host(host));
        if unknown.is_some() {
            // A grant that was just answered may not be in the index yet.
            self.see(None, caller).await?;
            unknown = unknown.filter(|host| !self.knows_host(host));
        }
        let of_node = || self.commit.host_of_node(request.node_id.as_ref()?);
        let host = host.or_else(of_node);
        let mut lease = self.commit.lease(caller, request, host).await?;
        if unknown.is_some_and(|host| host == lease.host) {
            let warning = unknown_host(&lease.host, &self.registry.host);
            lease.warnings.push(warning);
        }
        Ok(lease)
    }

    /// Whether a lease, a node or an instance has named that host.
    fn knows_host(&self, host: &Host) -> bool {
        let by_index = self.commit.mirror.with(|core| {
            let index = &core.index;
            let mut nodes = index.nodes.all(None);
            index.knows_host(host)
                || index.hosts.get(host).is_some()
                || nodes.any(|seen| seen.node.registration.host.as_ref() == Some(host))
        });
        by_index || self.commit.live_hosts().contains(host)
    }
}

/// What is said of the first lease on a host that nobody has named before, by an instance on `own`.
pub(super) fn unknown_host(host: &Host, own: &Host) -> Warning {
    let message = format!(
        "host {host:?} is new: no registry runs there, and no node and no lease has named it before. It has \
         ports of its own from now on. If it is another name of a machine that is known, release this lease \
         and use the known name: pool.list shows all hosts, and this registry's is {:?}",
        own.as_str(),
        host = host.as_str(),
    );
    Warning::new(WarningCode::HostUnknown, message)
}
