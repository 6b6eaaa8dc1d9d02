//! What was removed of the log, and how old what is there is.

use std::collections::VecDeque;

use onex_types::{entry::Sequence, time::MonoMillis};

/// A trim that had no effect for so long is asked for again, in milliseconds.
const AGAIN_MILLIS: u64 = 30_000;
/// The age of entries is known to one part in so many of the time for which they are kept.
const MARKS: u64 = 16;

/// What was removed, and what is old enough to be.
#[derive(Debug)]
pub(super) struct Trimming {
    /// Below this everything is removed, or will be.
    pub(super) below: Sequence,
    pub(super) at: MonoMillis,
    /// When some positions were applied here, the oldest first.
    marks: VecDeque<(MonoMillis, Sequence)>,
    /// Up to where events are given up.
    pub(super) skipped: Sequence,
}

impl Trimming {
    pub(super) fn new() -> Self {
        Self {
            // There is nothing below the first position.
            below: Sequence(1),
            at: MonoMillis::default(),
            marks: VecDeque::new(),
            skipped: Sequence::default(),
        }
    }

    /// An entry was applied.
    pub(super) fn note(&mut self, sequence: Sequence, now: MonoMillis, kept_millis: u64) {
        let last = self.marks.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.since(last) >= kept_millis / MARKS) {
            self.marks.push_back((now, sequence));
        }
    }

    /// The lowest position that is not old enough yet.
    pub(super) fn young(&mut self, now: MonoMillis, kept_millis: u64) -> Sequence {
        let is_old = |(at, _): &(MonoMillis, Sequence)| now.since(*at) >= kept_millis;
        while self.marks.get(1).is_some_and(is_old) {
            self.marks.pop_front();
        }
        let old = self.marks.front().filter(|mark| is_old(mark));
        old.map_or(self.below, |(_, sequence)| *sequence)
    }

    /// What the store says. A trim that did not happen is asked for again.
    pub(super) fn learn(&mut self, first: Sequence, now: MonoMillis) {
        if first > self.below || now.since(self.at) >= AGAIN_MILLIS {
            self.below = first;
        }
    }
}
