//! Tries ports: few of them in the task that drives the engine, many away from it.

use onex_core::{command::Probed, engine::Input};
use onex_types::{ids::LeaseId, key::PortKey, time::Moment};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::super::{availability, clock::Clock};

/// Ports that are tried in one go, at most: it takes about as many times 20 µs.
const PROBES_MAX: usize = 256;

/// The ports of a grant, to be tried.
pub(super) struct Probe {
    pub(super) lease_id: LeaseId,
    pub(super) keys: Vec<PortKey>,
    /// Not after this: whoever answers for the grant may have been told of it by then.
    pub(super) until: Moment,
}

/// Tries what comes until nobody asks any more.
pub(super) async fn run(
    mut probes: UnboundedReceiver<Probe>,
    inputs: UnboundedSender<Input>,
    clock: Clock,
) {
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
pub(super) fn tried(probe: Probe, clock: Clock) -> Input {
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
