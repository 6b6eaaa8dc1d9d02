//! Checks of this machine, where ports of it are granted.

use onex_core::state::State;
use onex_types::{
    ids::{Host, Port, Transport},
    ports::PortRange,
};

use crate::registry::{own_ranges::granted_on, settings::show_ranges};

use super::{
    facts::{Facts, Named},
    problem::{Judged, Problem},
};

pub(super) const CHECKS: &[Named] = &[("machine.ephemeral", ephemeral), ("machine.in_use", in_use)];

/// Ports that are named, at most.
const PORTS_NAMED_MAX: usize = 10;

/// What is granted of this machine.
fn granted(facts: &Facts) -> Result<Vec<PortRange>, Problem> {
    let (hosts, state) = (facts.own_hosts()?, facts.state()?);
    let ranges = hosts.iter().flat_map(|host| granted_on(state, host));
    Ok(PortRange::merged(ranges.collect()))
}

fn ephemeral(facts: &Facts) -> Judged {
    let granted = granted(facts)?;
    let unknown = || Problem::not_checked("the kernel does not say from where it takes ports");
    let ephemeral = facts.ephemeral.as_ref().ok_or_else(unknown)?;
    let overlaps = ephemeral.overlaps(&granted);
    if overlaps.is_empty() {
        return Ok(());
    }
    Err(Problem::warn(
        format!(
            "of the ports that are granted here the kernel takes {} for outgoing connections, which are from {}",
            show_ranges(&overlaps),
            ephemeral.range
        ),
        format!(
            "`sysctl -w net.ipv4.ip_local_reserved_ports={}`, and the same in /etc/sysctl.d; or grant other --ports",
            show_ranges(&ephemeral.reserving(&overlaps))
        ),
    ))
}

fn in_use(facts: &Facts) -> Judged {
    let (hosts, state) = (facts.own_hosts()?, facts.state()?);
    let unknown = || Problem::not_checked("the kernel does not list its sockets");
    let in_use = facts.in_use.as_ref().ok_or_else(unknown)?;
    let taken = in_use.iter().filter(|(transport, port)| {
        let mut hosts = hosts.iter();
        hosts.any(|host| is_free(state, host, *transport, *port))
    });
    let taken: Vec<String> = taken
        .map(|(transport, port)| format!("{port}/{transport}"))
        .collect();
    if taken.is_empty() {
        return Ok(());
    }
    let more = taken.len().saturating_sub(PORTS_NAMED_MAX);
    let named: Vec<String> = taken.into_iter().take(PORTS_NAMED_MAX).collect();
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    Err(Problem::warn(
        format!(
            "programs without a lease have ports that are granted here: {}{more}. Each is found in use when it is granted, and \
             quarantined",
            named.join(", ")
        ),
        "`ss -lntup` says which programs; let them lease their ports, or leave those out with --reserved",
    ))
}

/// Whether that port would be granted.
fn is_free(state: &State, host: &Host, transport: Transport, port: Port) -> bool {
    if let Some(pool) = state.pool(host, transport) {
        return pool.is_free(port);
    }
    let pool = state.ranges(host);
    let pool = pool.ports(transport);
    let has = |ranges: &[PortRange]| ranges.iter().any(|range| range.contains(port));
    has(&pool.ranges) && !has(&pool.reserved)
}
