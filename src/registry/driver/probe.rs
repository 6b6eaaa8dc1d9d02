//! Tries ports: few of them in the task that drives the engine, many away from it.

use onex_core::{command::Probed, engine::Input};
use onex_types::{ids::LeaseId, key::PortKey, time::MonoMillis};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::{availability, clock::Clock};

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
    elsewhere: UnboundedSender<Probe>,
    clock: Clock,
}

impl Prober {
    /// What it does not find out at once becomes an input.
    pub(super) fn start(inputs: UnboundedSender<Input>, clock: Clock) -> Self {
        let (elsewhere, probes) = unbounded_channel();
        tokio::spawn(run(probes, inputs, clock));
        Self { elsewhere, clock }
    }

    /// What is found out at once.
    pub(super) fn probe(&self, probes: Vec<Probe>) -> Vec<Input> {
        let ports: usize = probes.iter().map(|probe| probe.keys.len()).sum();
        if ports <= HERE_MAX {
            let tried = probes.into_iter().map(|probe| tried(probe, self.clock));
            return tried.collect();
        }
        for probe in probes {
            let _ = self.elsewhere.send(probe);
        }
        Vec::new()
    }
}

/// Tries what comes until nobody asks any more.
async fn run(mut probes: UnboundedReceiver<Probe>, inputs: UnboundedSender<Input>, clock: Clock) {
    let mut chunk = Vec::new();
    while probes.recv_many(&mut chunk, PROBES_MAX).await > 0 {
        let (chunk, inputs) = (std::mem::take(&mut chunk), inputs.clone());
        let done = tokio::task::spawn_blocking(move || {
            for probe in chunk {
                let _ = inputs.send(tried(probe, clock));
            }
        });
        let _ = done.await;
    }
}

/// What trying the ports of a grant said: bindable if all are.
fn tried(probe: Probe, clock: Clock) -> Input {
    let mut probed = Probed::Bindable;
    let mut in_use = Vec::new();
    for key in probe.keys {
        let one = if clock.now().mono < probe.until {
            availability::probe(&key)
        } else {
            Probed::Unknown
        };
        match one {
            Probed::Bindable => {}
            Probed::InUse => in_use.push(key),
            Probed::Unknown => probed = Probed::Unknown,
        }
    }
    if !in_use.is_empty() {
        probed = Probed::InUse;
    }
    Input::Probed {
        lease_id: probe.lease_id,
        probed,
        in_use,
    }
}
