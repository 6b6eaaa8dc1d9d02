//! Tries ports, away from the task that drives the engine.

use onex_core::{command::Probed, engine::Input};
use onex_types::{ids::LeaseId, key::PortKey};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::super::{availability, clock::Clock};
use crate::domain::time::Moment;

/// Ports that are tried in one go, at most: it takes about as many times 20 µs.
const PROBES_MAX: usize = 256;

/// A port to be tried.
pub(super) struct Probe {
    pub(super) lease_id: LeaseId,
    pub(super) key: PortKey,
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
        let tried = tokio::task::spawn_blocking(move || {
            for probe in chunk {
                let probed = if clock.now().mono < probe.until {
                    availability::probe(&probe.key)
                } else {
                    Probed::Unknown
                };
                let lease_id = probe.lease_id;
                let _ = inputs.send(Input::Probed { lease_id, probed });
            }
        });
        let _ = tried.await;
    }
}
