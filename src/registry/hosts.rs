//! Which machine a request means, and what is said of one that nobody has named before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use onex_machine::is_loopback;
use onex_types::{ids::Host, time::MonoMillis};

use crate::protocol::{
    error::Error,
    warning::{Warning, WarningCode},
};

/// For how long after it was last heard of an instance counts as running, in milliseconds. Instances ask for each
/// other every 5 s: this is three times that.
pub(super) const HEARD_MILLIS_MAX: u64 = 15_000;
/// Hosts that an error names to choose from.
const HOSTS_NAMED_MAX: usize = 8;

/// The hosts on which other instances run, as far as this one has heard of them.
#[derive(Default)]
pub(super) struct Heard {
    at: Mutex<BTreeMap<Host, MonoMillis>>,
    /// Records of hosts that are older were there when this instance started: they do not say who runs now.
    started: MonoMillis,
    /// Whether it was told that another machine has the name of this one.
    namesake_told: AtomicBool,
}

impl Heard {
    /// Hosts of the instances that answered when this one started.
    pub(super) fn new(hosts: impl Iterator<Item = Host>, started: MonoMillis) -> Self {
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
    pub(super) fn answered(&self, hosts: impl Iterator<Item = Host>, now: MonoMillis) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.retain(|_, last| now.since(*last) < HEARD_MILLIS_MAX);
        at.extend(hosts.map(|host| (host, now)));
    }

    /// From when on what others say of their hosts shows that they run.
    pub(super) fn since(&self, now: MonoMillis) -> MonoMillis {
        MonoMillis(now.0.saturating_sub(HEARD_MILLIS_MAX)).max(self.started)
    }

    /// The hosts whose instances have answered lately.
    pub(super) fn lately(&self, now: MonoMillis) -> BTreeSet<Host> {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |(host, last): (&Host, &MonoMillis)| {
            (now.since(*last) < HEARD_MILLIS_MAX).then(|| host.clone())
        };
        at.iter().filter_map(lately).collect()
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

/// What is said of the first lease on a host that nobody has named before, by an instance on `own`.
pub(super) fn unknown_host(host: &Host, own: &Host) -> Warning {
    let message = format!(
        "host {host:?} is new: no registry and no agent runs there, and no node and no lease has named it before. It has \
         ports of its own from now on. If it is another name of a machine that is known, release this lease \
         and use the known name: pool.list shows all hosts, and this registry's is {:?}",
        own.as_str(),
        host = host.as_str(),
    );
    Warning::new(WarningCode::HostUnknown, message)
}
