//! The host of this instance, and which host a name means, on the log core.

use std::{collections::BTreeSet, sync::Arc};

use onex_core::{
    host_names::{HostRecord, Meaning},
    key::Key,
    slot::Slot,
    state::State,
};
use onex_machine::{Machine, is_loopback};
use onex_types::{ids::Host, time::MonoMillis};
use uuid::Uuid;

use super::hosts::Heard;

/// What an instance knows of its own host, and of those of others.
pub(super) struct OwnHost {
    pub(super) machine: Machine,
    pub(super) heard: Arc<Heard>,
    /// This start of this instance.
    pub(super) registry_id: Uuid,
}

impl OwnHost {
    /// Its name.
    pub(super) fn name(&self) -> &Host {
        self.machine.host()
    }

    /// The hosts on which instances run, this one's among them.
    pub(super) fn running(&self, state: &State, now: MonoMillis) -> BTreeSet<Host> {
        let mut running = self.others(state, now);
        running.insert(self.name().clone());
        running
    }

    /// The hosts on which other instances run: those that answered lately, and those that said lately what their host is
    /// called.
    pub(super) fn others(&self, state: &State, now: MonoMillis) -> BTreeSet<Host> {
        let since = self.heard.since(now);
        let lately = |record: &HostRecord, slot: &Slot| {
            slot.since > since && record.said_by != self.registry_id && record.renamed_to.is_none()
        };
        let mut others = self.heard.lately(now);
        let said = records(state).filter(|(_, slot, record)| lately(record, slot));
        others.extend(said.map(|(host, ..)| host.clone()));
        others
    }

    /// What a name means.
    pub(super) fn meaning(&self, state: &State, host: &Host, now: MonoMillis) -> Meaning {
        let running = self.running(state, now);
        if is_loopback(host) {
            return if running.len() == 1 {
                Meaning::One(self.name().clone())
            } else {
                Meaning::Several(running)
            };
        }
        let own = self.machine.is_called(host).then_some(self.name());
        state.indexes.hosts.meaning(host, own, &running)
    }
}

/// What is known of hosts.
pub(super) fn records(state: &State) -> impl Iterator<Item = (&Host, &Slot, &HostRecord)> {
    let first = Key::Host(Host::lowest());
    let slots = state.slots_from(Some(&first));
    slots.map_while(|(key, slot)| match key {
        Key::Host(host) => Some((host, slot, &**slot.record.host()?)),
        _ => None,
    })
}
