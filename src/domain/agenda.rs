//! What time brings: when which key has to be looked at again, and which have something to be done.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ids::{Host, Transport},
    key::Key,
    time::Moment,
};

/// When a key changes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Then; with [`Moment::NEVER`], not before something is written.
    At(Moment),
    /// Something is to be written now.
    Due,
}

/// When which key changes.
#[derive(Debug, Default)]
pub struct Agenda {
    at: BTreeMap<Key, Moment>,
    timers: BTreeSet<(Moment, Key)>,
    due: BTreeSet<Key>,
}

impl Agenda {
    /// What is known of that key now.
    pub fn set(&mut self, key: &Key, change: Change) {
        let before = match change {
            Change::At(at) if at < Moment::NEVER => {
                let known = self.at.get_mut(key);
                match known.map(|known| std::mem::replace(known, at)) {
                    Some(before) => Some(before),
                    None => self.at.insert(key.clone(), at),
                }
            }
            Change::At(_) | Change::Due => self.at.remove(key),
        };
        if let Some(before) = before {
            self.timers.remove(&(before, key.clone()));
        }
        match change {
            Change::Due => {
                self.due.insert(key.clone());
            }
            Change::At(at) => {
                self.due.remove(key);
                if at < Moment::NEVER {
                    self.timers.insert((at, key.clone()));
                }
            }
        }
    }

    /// The next key whose time has come.
    pub fn pop(&mut self, now: Moment) -> Option<Key> {
        if self.timers.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, key) = self.timers.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// Keys with something to be done.
    pub fn due(&self) -> impl Iterator<Item = &Key> {
        self.due.iter()
    }

    /// When the next change comes.
    pub fn next(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// When the next change of a port of that pool comes; looks at a bounded number of timers.
    pub fn next_of(&self, host: &Host, transport: Transport) -> Option<Moment> {
        const TIMERS_LOOKED_AT_MAX: usize = 1_000;
        self.timers
            .iter()
            .take(TIMERS_LOOKED_AT_MAX)
            .find(|(_, key)| {
                key.port()
                    .is_some_and(|port| port.host == *host && port.transport == transport)
            })
            .map(|(at, _)| *at)
    }
}
