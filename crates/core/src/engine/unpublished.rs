//! How many events are in the log and, as far as the log says, not published.

use std::collections::VecDeque;

use crate::{entry::Entry, state::State};

/// Entries whose events are counted one by one; those of more are counted together.
const ENTRIES_MAX: usize = 4_096;

/// Events that are not published. Of those that were in the log before a start, the ones behind its snapshot.
#[derive(Debug, Clone, Default)]
pub struct Unpublished {
    /// Revisions with how many events became known up to there and behind the one before.
    entries: VecDeque<(u64, usize)>,
}

impl Unpublished {
    /// The entry was applied; that is the state since.
    pub fn note(&mut self, entry: &Entry, state: &State) {
        let events = entry.event_count();
        let full = self.entries.len() >= ENTRIES_MAX;
        match self.entries.back_mut() {
            Some((revision, count)) if full && events > 0 => {
                (*revision, *count) = (state.revision(), *count + events);
            }
            _ if events > 0 => self.entries.push_back((state.revision(), events)),
            _ => {}
        }
        let published = state.named().map_or(0, |named| named.published);
        let is_out = |(revision, _): &(u64, usize)| *revision <= published;
        while self.entries.front().is_some_and(is_out) {
            self.entries.pop_front();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries.iter().map(|(_, events)| events).sum()
    }
}
