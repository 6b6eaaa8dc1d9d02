//! What time changes in the state: ports cool down, and records come to their end.

use onex_types::{
    ids::{Host, LeaseId, Transport},
    key::PortKey,
    time::MonoMillis,
};

use crate::{key::Key, pool::PortState, slot::Slot, state::State};

/// Timers that are looked at to say when a port may come free: most belong to other hosts, and to nodes.
const TIMERS_LOOKED_AT_MAX: usize = 1_000;

impl State {
    /// What a port has become, by this instance's clock, and when to look again.
    pub(crate) fn look_again(&mut self, key: &Key, now: MonoMillis) {
        let mechanisms = self.mechanisms;
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let was = slot.state;
        slot.state = slot.state_at(now, mechanisms);
        let is = slot.state;
        if let Some(due) = slot.arm(now, mechanisms) {
            self.timers.insert((due, key.clone()));
        }
        if let Key::Port(port) = key {
            self.pool_mut(&port.host, port.transport)
                .change(port.port, was, is);
        }
    }

    /// Time passes: ports cool down, and the keys of records whose time is up and that a command has to end are named, in
    /// the order in which it was.
    pub fn due(&mut self, now: MonoMillis) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.pop_first();
            let mechanisms = self.mechanisms;
            let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.armed == at) else {
                continue;
            };
            slot.armed = MonoMillis::NEVER;
            let is_due = slot.due(mechanisms).is_some_and(|due| due <= now);
            if is_due && slot.ends_in_time() {
                due.push(key);
                continue;
            }
            self.look_again(&key, now);
        }
        due
    }

    /// Names that key again at `at`, unless it is due earlier.
    pub fn remind(&mut self, key: &Key, at: MonoMillis) {
        if let Some(slot) = self.slots.get_mut(key)
            && slot.armed > at
        {
            slot.armed = at;
            self.timers.insert((at, key.clone()));
        }
    }

    /// When [`State::due`] has something to do next.
    pub fn next_timer(&self) -> Option<MonoMillis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// When time may next free a port that can be granted then, and which: when a lease ends if it is not renewed, but for
    /// that one, or a port has cooled down. None where that is behind too many other timers.
    pub fn next_to_come_free(
        &self,
        host: &Host,
        transport: Transport,
        but: Option<LeaseId>,
    ) -> Option<(MonoMillis, PortKey)> {
        let pool = self.pool(host, transport)?;
        let will_do = |key: &PortKey| key.transport == transport && pool.is_usable(key.port);
        let timers = self.timers.iter().take(TIMERS_LOOKED_AT_MAX);
        let next = timers.filter_map(|(_, key)| {
            let Key::Port(port) = key else { return None };
            let slot = self.slots.get(key).filter(|_| port.host == *host)?;
            let port = match slot.record.lease() {
                Some(lease) if Some(lease.lease_id) == but => None,
                Some(lease) => lease.port_keys(host).find(will_do),
                None => Some(port.clone()).filter(will_do),
            };
            // A timer may be armed for earlier than that.
            Some((self.due_at(slot)?, port?))
        });
        next.min()
    }

    /// What a port is by this instance's clock.
    pub fn port_state(&self, key: &PortKey, now: MonoMillis) -> PortState {
        let slot = self.slots.get(&Key::Port(key.clone()));
        slot.map_or(PortState::Free, |slot| slot.state_at(now, self.mechanisms))
    }

    /// Everything that is due and has no end yet, what was put off included.
    pub(crate) fn all_due(&self, now: MonoMillis) -> Vec<Key> {
        let is_due = |slot: &Slot| self.due_at(slot).is_some_and(|due| due <= now);
        let slots = self.slots_from(None);
        let due = slots.filter(|(_, slot)| slot.ends_in_time() && is_due(slot));
        due.map(|(key, _)| key.clone()).collect()
    }

    /// When the time of what is under a port's key is up.
    pub fn due_at(&self, slot: &Slot) -> Option<MonoMillis> {
        slot.due(self.mechanisms)
    }
}
