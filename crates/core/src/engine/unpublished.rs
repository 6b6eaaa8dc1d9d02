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
        self.count_behind(0)
    }

    /// How many of them are of later revisions than that.
    pub fn count_behind(&self, revision: u64) -> usize {
        let later = self.entries.iter().filter(|(last, _)| *last > revision);
        later.map(|(_, events)| events).sum()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onex_types::time::{MonoMillis, Now};
    use serde_json::json;

    use super::*;
    use crate::{
        entry::Change,
        key::Key,
        record::{InstanceId, Named},
        slot::Stamp,
    };

    fn entry(commands: &serde_json::Value) -> Entry {
        let at = Timestamp::UNIX_EPOCH.to_string();
        serde_json::from_value(json!({"rev": 1, "at": at, "cmds": commands})).unwrap()
    }

    #[test]
    fn events_of_more_entries_than_are_counted_one_by_one_wait_no_longer_than_the_others() {
        let change = json!({"del": "node.a", "ev": {"kind": "node.expired", "n": 1}});
        let told = entry(&json!([{"c": "x", "do": [change]}]));
        let silent = entry(&json!([]));
        let (mut state, mut unpublished) = (State::default(), Unpublished::default());
        let last = ENTRIES_MAX as u64 + 9;
        for revision in 1..=last {
            state.set_revision(revision);
            unpublished.note(&told, &state);
        }
        assert_eq!(unpublished.count() as u64, last);
        // What comes behind the last event tells of nothing, and nobody says that it is published.
        state.set_revision(last + 1);
        unpublished.note(&silent, &state);
        let named = Named {
            instance: InstanceId::default(),
            published: last,
            published_sequence: 0,
        };
        let change = Change::Put {
            key: Key::Named,
            record: named.into(),
            tentative: false,
            event: None,
        };
        let stamp = Stamp {
            revision: last + 2,
            at: Timestamp::UNIX_EPOCH,
            now: Now {
                mono: MonoMillis(0),
                micros: 0,
                wall: Timestamp::UNIX_EPOCH,
            },
        };
        state.apply(&change, stamp, &mut |_| {}).unwrap();
        unpublished.note(&silent, &state);
        assert_eq!(unpublished.count(), 0);
    }
}
