//! Which ports of its host an instance grants: what the log says, now.

use std::sync::Arc;

use onex_core::state::State;
use onex_types::{
    ids::{Host, Transport},
    ports::PortRange,
};

use super::{
    clock::Clock, driver::Reads, grants::Own, probing::ephemeral_range, settings::show_ranges,
};

/// What the log lets be granted on a host, in either port space.
pub(super) fn granted_on(state: &State, host: &Host) -> Vec<PortRange> {
    let pool = state.ranges(host);
    let ranges = Transport::ALL.map(|transport| pool.ports(transport).ranges.clone());
    PortRange::merged(ranges.concat())
}

/// Tells others whenever that changes on the host of this instance, for ever.
pub(super) async fn follow(own: Own, reads: Arc<Reads>, clock: Clock) {
    let mut changes = reads.changes();
    while changes.changed().await.is_ok() {
        let host = own.machine.host();
        let ranges = reads.with(clock.now().mono, |state| granted_on(state, host));
        if let Some(ranges) = ranges.filter(|ranges| own.grants(ranges)) {
            tracing::info!(%host, ports = show_ranges(&ranges), "other ports are granted from now on");
            warn_of_ephemeral_ports(&ranges);
        }
    }
}

/// Says which of these ports other programs may have at any time.
pub(super) fn warn_of_ephemeral_ports(ranges: &[PortRange]) {
    let Some(ephemeral) = ephemeral_range() else {
        return;
    };
    for ports in ephemeral.overlaps(ranges) {
        tracing::warn!(
            %ports, ephemeral = %ephemeral.range,
            "the kernel takes ports of this range for outgoing connections: some will be in use when they are \
             granted. Choose --ports outside of net.ipv4.ip_local_port_range, or add them to \
             net.ipv4.ip_local_reserved_ports",
        );
    }
}
