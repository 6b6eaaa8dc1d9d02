//! What instances find out of each other's machines, and say of it.

use std::{collections::BTreeSet, time::Duration};

use async_nats::Client;
use onex_machine::Machine;
use onex_types::ids::Host;
use tokio::time::timeout;
use uuid::Uuid;

use super::micro;

/// How often the machine's names and addresses are looked at again.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_mins(1);
/// How long an instance may take to say that it runs.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether that was said of another machine, or of one that has been started anew.
pub(super) fn is_of_another(theirs: Option<&String>, machine: &Machine) -> bool {
    let own = machine.port_space();
    theirs.is_some() && own.is_some() && theirs != own.as_ref()
}

/// Whether that instance does not run any more; not where nobody can tell.
pub(super) async fn is_gone(client: &Client, registry_id: Uuid) -> bool {
    let gone = micro::is_gone(client, registry_id);
    timeout(GONE_TIMEOUT, gone).await.unwrap_or(false)
}

/// The ports of one machine are granted under two hosts.
pub(super) fn tell_of_two_hosts(own: &Host, other: &Host) {
    tracing::warn!(
        host = %own, %other,
        "another instance grants ports of this machine under another host: one port may be granted twice. \
         Start all instances of a machine with the same --host"
    );
}

/// Leases are live from before these names meant this host.
pub(super) fn tell_of_former_names(host: &Host, names: &BTreeSet<Host>, leases: usize) {
    let names: Vec<&str> = names.iter().map(Host::as_str).collect();
    tracing::warn!(
        %host, leases, names = names.join(", "),
        "leases are live under former names of this host: until they end, their ports are held here"
    );
}
