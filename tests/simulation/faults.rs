//! What goes wrong by itself, and when it is over.

use super::{
    instance::Instance,
    store::Log,
    world::{Event, World, trace},
};
use crate::domain::{key::Key, record::Stored};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// An instance is stopped; its clock goes on.
    Pause,
    /// An instance dies and begins anew.
    Crash,
    /// The server that an instance talks to is cut off from the others: it shows what it had, and
    /// nothing can be written there.
    Cut,
    /// Nobody can write.
    Down,
    /// Something is written over a key from outside.
    Foreign,
    /// A program that never asked binds a port.
    Stranger,
}

impl Fault {
    pub(super) const ALL: [Self; 6] = [
        Self::Pause,
        Self::Crash,
        Self::Cut,
        Self::Down,
        Self::Foreign,
        Self::Stranger,
    ];
}

impl World {
    /// The next fault of that kind.
    pub(super) fn plan(&mut self, fault: Fault) {
        let span = match fault {
            Fault::Pause => self.setup.pause,
            Fault::Crash => self.setup.crash,
            Fault::Cut => self.setup.cut,
            Fault::Down => self.setup.down,
            Fault::Foreign => self.setup.foreign,
            Fault::Stranger => self.setup.stranger,
        };
        if span > 0 {
            let after = self.chance.between((span / 2, span * 3 / 2));
            self.after(after, Event::Fault(fault));
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        if self.calm {
            return;
        }
        self.plan(fault);
        let instance = self.chance.index(self.instances.len());
        let ttl = self.setup.ttl.1 * 1_000;
        let one = &mut self.instances[instance];
        let lasts = match fault {
            Fault::Pause if one.up && !one.paused => {
                one.paused = true;
                one.paused_at = self.time;
                (200, 2 * ttl + 2_000)
            }
            Fault::Crash if one.up => {
                self.crash(instance);
                (100, 6_000)
            }
            Fault::Cut if one.cut.is_none() => {
                one.cut = Some(self.store.log.clone());
                (1_000, 2 * ttl + 5_000)
            }
            Fault::Down if !self.down => {
                self.down = true;
                (200, 7_000)
            }
            Fault::Foreign => return self.strike_port(),
            Fault::Stranger => return self.strike_host(),
            _ => return,
        };
        self.count(match fault {
            Fault::Pause => "pauses",
            Fault::Crash => "crashes",
            Fault::Cut => "cuts",
            _ => "outages",
        });
        let lasts = self.chance.between(lasts);
        trace!(self, "{fault:?} of #{instance} for {lasts} ms");
        self.after(lasts, Event::Heal(fault, instance));
    }

    fn strike_port(&mut self) {
        if self.chance.hit(200) {
            self.count("checkpoints overwritten");
            self.store.put(Key::Checkpoint, Stored::Foreign);
            return self.rouse();
        }
        let ports = self.ports();
        let mut key = Key::Port(ports[self.chance.index(ports.len())].clone());
        if self.setup.owners > 0 && self.chance.hit(500) {
            let keys = self.store.keys();
            let others: Vec<Key> = keys
                .filter(|key| {
                    matches!(
                        key,
                        Key::Node(_) | Key::Live(_) | Key::Bus(_) | Key::Verdict(_)
                    )
                })
                .cloned()
                .collect();
            if !others.is_empty() {
                key = others[self.chance.index(others.len())].clone();
            }
        }
        if self.setup.callers > 0 && self.chance.hit(200) {
            let calls = self.store.keys().filter(|key| matches!(key, Key::Call(_)));
            if let Some(call) = calls.last() {
                key = call.clone();
            }
        }
        if self.store.value(&key).is_some() {
            self.overwrite(&key);
        }
    }

    fn strike_host(&mut self) {
        let port = u16::try_from(self.chance.below(u64::from(self.setup.ports))).unwrap();
        let key = Self::port(true, port);
        if self.is_bound(&key) {
            return;
        }
        self.strangers.push(key.clone());
        let after = self.chance.between((500, 20_000));
        self.after(after, Event::StrangerLeaves(key));
    }

    pub(super) fn heal(&mut self, fault: Fault, instance: usize) {
        match fault {
            Fault::Pause => {
                let one = &mut self.instances[instance];
                if one.paused && self.setup.clocks_stand {
                    one.clock.stood(self.time - one.paused_at);
                }
                self.resume(instance);
            }
            Fault::Crash if !self.instances[instance].up => self.start(instance),
            Fault::Cut => {
                self.instances[instance].cut = None::<Log>;
                self.rouse();
            }
            Fault::Down => self.down = false,
            Fault::Crash | Fault::Foreign | Fault::Stranger => {}
        }
    }

    /// What has come in the meantime is handled now; what was delivered in its order, the rest in any.
    fn resume(&mut self, instance: usize) {
        let one: &mut Instance = &mut self.instances[instance];
        if !one.paused {
            return;
        }
        one.paused = false;
        for event in std::mem::take(&mut self.instances[instance].backlog) {
            let after = match event {
                Event::Deliver(..) => 0,
                _ => self.chance.below(5),
            };
            self.after(after, event);
        }
        trace!(self, "#{instance} goes on");
    }

    /// The faults stop.
    pub(super) fn calm_down(&mut self) {
        trace!(self, "calm");
        self.calm = true;
        self.down = false;
        self.strangers.clear();
        for instance in 0..self.instances.len() {
            self.resume(instance);
            self.instances[instance].cut = None;
            if !self.instances[instance].up {
                self.start(instance);
            }
        }
        self.rouse();
    }
}
