//! Which host a request means.

use onex_core::{host_names::Meaning, state::State};
use onex_machine::spelled;
use onex_types::ids::Host;

use crate::{protocol::error::Error, registry::hosts::ambiguous};

use super::shared::Intake;

impl Intake {
    /// The name that leases are kept by, in the place of another name or address of that host.
    pub(in crate::registry) fn meant(&self, host: Host) -> Result<Host, Error> {
        let host = spelled(host).map_err(|error| Error::invalid("/host", error.to_string()))?;
        let own = self.own_host.name();
        if host == *own {
            // Not another copy: keys with the same one are compared faster.
            return Ok(own.clone());
        }
        let now = self.clock.now().mono;
        let meaning = |state: &State| self.own_host.meaning(state, &host, now);
        // What follows is refused where it must not rest on what may be old.
        match self.driver.handle.reads.last(meaning) {
            Meaning::One(host) => Ok(host),
            Meaning::Several(hosts) => Err(ambiguous(&host, &hosts)),
        }
    }

    /// Whether a lease, a node, an instance or an agent has named that host, as far as readers see.
    pub(in crate::registry) fn knows_host(&self, host: &Host) -> bool {
        if self.probing.hosts().contains(host) {
            return true;
        }
        let now = self.clock.now().mono;
        let known = |state: &State| {
            state.has_named(host) || self.own_host.running(state, now).contains(host)
        };
        self.driver.handle.reads.with(now, known).unwrap_or(true)
    }
}
