//! Has the ports of grants tried: few of this host in the task that drives the engine, many away from it, and those of other
//! hosts where they are.

use onex_core::engine::Input;
use onex_types::{ids::LeaseId, key::PortKey, time::MonoMillis};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::probing::{Probing, Tried};

/// Ports that are tried in one go, at most: it takes about as many times 20 µs.
const PROBES_MAX: usize = 256;

/// Ports that are tried in the engine's own task, at most: less work than to hand them to another thread and back.
const HERE_MAX: usize = 4;

/// The ports of a grant, to be tried.
pub(super) struct Probe {
    pub(super) lease_id: LeaseId,
    pub(super) keys: Vec<PortKey>,
    /// Not after this: whoever answers for the grant may have been told of it by then.
    pub(super) until: MonoMillis,
}

/// Tries ports.
pub(super) struct Prober {
    /// None where no ports are granted.
    probing: Option<Probing>,
    /// What is found out later.
    found: UnboundedSender<Input>,
    many: UnboundedSender<Probe>,
}

impl Prober {
    /// What it does not find out at once becomes an input.
    pub(super) fn start(found: UnboundedSender<Input>, probing: Option<Probing>) -> Self {
        let (many, probes) = unbounded_channel();
        if let Some(probing) = probing.clone() {
            tokio::spawn(run(probes, found.clone(), probing));
        }
        Self {
            probing,
            found,
            many,
        }
    }

    /// What is found out at once.
    pub(super) fn probe(&self, probes: Vec<Probe>) -> Vec<Input> {
        let Some(probing) = &self.probing else {
            return Vec::new();
        };
        let is_here = |probe: &Probe| {
            let host = probe.keys.first().map(|key| &key.host);
            host.is_some_and(|host| probing.is_here(host))
        };
        let (here, elsewhere): (Vec<Probe>, Vec<Probe>) = probes.into_iter().partition(is_here);
        for probe in elsewhere {
            let (found, probing) = (self.found.clone(), probing.clone());
            tokio::spawn(async move {
                let tried = probing.try_elsewhere(probe.keys, probe.until).await;
                let _ = found.send(input(probe.lease_id, tried));
            });
        }
        let ports: usize = here.iter().map(|probe| probe.keys.len()).sum();
        if ports <= HERE_MAX {
            let tried = here.into_iter().map(|probe| tried(probe, probing));
            return tried.collect();
        }
        for probe in here {
            let _ = self.many.send(probe);
        }
        Vec::new()
    }
}

/// Tries what comes until nobody asks any more.
async fn run(
    mut probes: UnboundedReceiver<Probe>,
    found: UnboundedSender<Input>,
    probing: Probing,
) {
    let mut chunk = Vec::new();
    while probes.recv_many(&mut chunk, PROBES_MAX).await > 0 {
        let (chunk, found, probing) = (std::mem::take(&mut chunk), found.clone(), probing.clone());
        let done = tokio::task::spawn_blocking(move || {
            for probe in chunk {
                let _ = found.send(tried(probe, &probing));
            }
        });
        let _ = done.await;
    }
}

fn tried(probe: Probe, probing: &Probing) -> Input {
    input(probe.lease_id, probing.try_here(probe.keys, probe.until))
}

/// What trying the ports of a grant said, as the engine takes it.
fn input(lease_id: LeaseId, tried: Tried) -> Input {
    Input::Probed {
        lease_id,
        probed: tried.probed,
        in_use: tried.in_use,
    }
}
