//! Cutting the log short: what is covered by snapshots, published, and old enough is removed; of a log that is nearly full
//! everything that the newest snapshot covers.

use onex_types::{
    entry::{Sequence, SnapshotRef},
    time::MonoMillis,
};

use crate::{command::Action, mechanism::Mechanism};

use super::{Engine, Phase, io::Output};

impl Engine {
    /// Removes what is not needed any more.
    pub(super) fn trim(&mut self, now: MonoMillis) {
        let tight = self.room.is_tight(&self.state);
        let newest = self.newest_named().filter(|_| tight);
        let Some(bound) = newest.or(self.snapshots.older()) else {
            return;
        };
        let bound = bound.sequence;
        if tight {
            self.skip_events(bound, bound);
        }
        let published = self
            .state
            .named()
            .map_or(0, |named| named.published_sequence);
        let mut below = bound.min(Sequence(published).next());
        if !tight {
            let kept = self.limits.kept_millis;
            below = below.min(self.trimming.young(now, kept));
        }
        if !self.on(Mechanism::TrimOnlyCovered) {
            below = self.head.0;
        }
        self.remove_below(below, now);
    }

    /// The newest complete snapshot, if the last entry names it: a start reads from the one that is named there.
    fn newest_named(&self) -> Option<SnapshotRef> {
        let newest = self.snapshots.newest();
        newest.filter(|_| self.named_last == newest || !self.on(Mechanism::TrimToNamed))
    }

    fn remove_below(&mut self, below: Sequence, now: MonoMillis) {
        if below > self.trimming.below {
            self.trimming.below = below;
            self.trimming.at = now;
            self.out.push(Output::Trim(below));
        }
    }

    /// Gives up the events below `end`, unless what is below `below` is published: the log has no room to keep them until
    /// they are.
    fn skip_events(&mut self, end: Sequence, below: Sequence) {
        let last = Sequence(end.0.saturating_sub(1));
        let published = self.state.named().map(|named| named.published_sequence);
        let is_due = published.is_some_and(|published| published < last.0);
        if !is_due || self.trimming.skipped >= last || self.phase != Phase::Running {
            return;
        }
        self.trimming.skipped = last;
        self.submit(Action::SkipEvents {
            instance: self.local.instance,
            revision: self.snapshots.before_newest(),
            sequence: last.0,
            below: below.0,
        });
    }

    /// The server takes nothing more: only removing makes room, and saying so takes room. So whoever notices removes what
    /// the newest snapshot covers; which events were lost is said afterwards.
    pub(super) fn cut_full_log(&mut self, now: MonoMillis) {
        let newest = self.newest_named();
        if let Some(newest) = newest.filter(|_| self.on(Mechanism::CutFullLog)) {
            self.remove_below(newest.sequence, now);
        }
    }

    /// Says which events are lost, if some were removed before they were published.
    pub(super) fn say_gap(&mut self) {
        let published = self.state.named().map(|named| named.published_sequence);
        let lost =
            published.is_some_and(|published| self.trimming.below > Sequence(published).next());
        if let Some(newest) = self.snapshots.newest().filter(|_| lost) {
            self.skip_events(newest.sequence, self.trimming.below);
        }
    }
}
