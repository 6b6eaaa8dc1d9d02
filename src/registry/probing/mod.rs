//! Whether ports can be bound: tried here, or by whoever runs on their host.

mod answer;
mod bind;
mod elsewhere;
mod look;

use std::{collections::BTreeSet, time::Duration};

use onex_core::command::Probed;
use onex_types::{ids::Host, key::PortKey, time::MonoMillis};
use tokio::{sync::watch, time::timeout};

use crate::protocol::{names::Namespace, probe::SeenPort};

use super::{bus::Bus, clock::Clock};

pub(super) use answer::ProbeAnswers;
pub(super) use bind::{Ephemeral, ephemeral_range};

/// How long a look at the tables of this host's kernel may take: few are made at once.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(1);

/// What trying the ports of one lease said.
pub(super) struct Tried {
    /// In use if one of them is, else unknown if one of them is.
    pub(super) probed: Probed,
    /// Those that are in use.
    pub(super) in_use: Vec<PortKey>,
}

/// Has ports tried.
#[derive(Clone)]
pub(super) struct Probing {
    /// The host whose ports this process can bind; none where it is not on the network of its host.
    own: Option<Host>,
    /// The hosts on which others try ports.
    others: watch::Receiver<BTreeSet<Host>>,
    bus: Bus,
    namespace: Namespace,
    clock: Clock,
}

impl Probing {
    pub(super) fn new(
        own: Option<Host>,
        others: watch::Receiver<BTreeSet<Host>>,
        bus: Bus,
        namespace: Namespace,
        clock: Clock,
    ) -> Self {
        Self {
            own,
            others,
            bus,
            namespace,
            clock,
        }
    }

    /// The hosts whose ports can be tried.
    pub(super) fn hosts(&self) -> BTreeSet<Host> {
        let mut hosts = self.others.borrow().clone();
        hosts.extend(self.own.clone());
        hosts
    }

    /// Waits until there are others.
    pub(super) async fn changed(&mut self) {
        if self.others.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether this process tries the ports of that host itself.
    pub(super) fn is_here(&self, host: &Host) -> bool {
        self.own.as_ref() == Some(host)
    }

    /// Tries ports of this host; not after `until`.
    pub(super) fn try_here(&self, keys: Vec<PortKey>, until: MonoMillis) -> Tried {
        let results = keys.iter().map(|key| {
            if self.clock.now().mono < until {
                bind::probe(key)
            } else {
                Probed::Unknown
            }
        });
        let results: Vec<Probed> = results.collect();
        Tried::of(keys, results)
    }

    /// Has ports of another host tried; not after `until`.
    pub(super) async fn try_elsewhere(&self, keys: Vec<PortKey>, until: MonoMillis) -> Tried {
        let left = self.clock.until(until);
        let client = self.bus.client();
        let results = elsewhere::ask(&client, &self.namespace, &keys, left).await;
        let unknown = || vec![Probed::Unknown; keys.len()];
        let results = results.unwrap_or_else(unknown);
        Tried::of(keys, results)
    }

    /// Who uses a port, by the tables of its host's kernel; none where nobody can look.
    pub(super) async fn look(&self, key: &PortKey) -> Option<SeenPort> {
        if self.is_here(&key.host) {
            let looked = look::look(key.transport, key.port);
            return timeout(LOOK_WAIT_MAX, looked).await.ok().flatten();
        }
        if !self.hosts().contains(&key.host) {
            return None;
        }
        elsewhere::look(&self.bus.client(), &self.namespace, key).await
    }

    /// Tries the ports of one lease, wherever they are; not after `until`.
    pub(super) async fn try_ports(&self, keys: Vec<PortKey>, until: MonoMillis) -> Tried {
        let host = keys.first().map(|key| &key.host);
        if !host.is_some_and(|host| self.is_here(host)) {
            return self.try_elsewhere(keys, until).await;
        }
        let (this, asked) = (self.clone(), keys.clone());
        let tried = tokio::task::spawn_blocking(move || this.try_here(asked, until));
        let unknown = || Tried::of(keys, vec![Probed::Unknown]);
        tried.await.unwrap_or_else(|_| unknown())
    }
}

impl Tried {
    /// The worst of these counts.
    fn of(keys: Vec<PortKey>, results: Vec<Probed>) -> Self {
        let is_known = results.iter().all(|result| *result != Probed::Unknown);
        let tried = keys.into_iter().zip(results);
        let in_use = tried.filter(|(_, result)| *result == Probed::InUse);
        let in_use: Vec<PortKey> = in_use.map(|(key, _)| key).collect();
        let probed = match in_use.is_empty() {
            false => Probed::InUse,
            true if is_known => Probed::Bindable,
            true => Probed::Unknown,
        };
        Self { probed, in_use }
    }
}

#[cfg(test)]
mod tests {
    use Probed::{Bindable, InUse, Unknown};

    use super::*;

    #[test]
    fn of_the_ports_of_a_lease_the_worst_counts() {
        let key = |port: usize| -> PortKey { format!("port.here.tcp.{port}").parse().unwrap() };
        for (results, worst, in_use) in [
            (&[Bindable][..], Bindable, &[][..]),
            (&[Bindable, Unknown, Bindable], Unknown, &[]),
            (&[Unknown, InUse, Bindable, InUse], InUse, &[1, 3]),
        ] {
            let keys = (1..=results.len()).map(key).collect();
            let tried = Tried::of(keys, results.to_vec());
            assert_eq!(tried.probed, worst, "{results:?}");
            let in_use: Vec<PortKey> = in_use.iter().map(|place| key(place + 1)).collect();
            assert_eq!(tried.in_use, in_use, "{results:?}");
        }
    }
}
