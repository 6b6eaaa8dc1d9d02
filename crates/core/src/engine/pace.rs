//! Winners yield: when several instances append, the one whose entry has just landed lets each of the others land one
//! before its next. Whoever lost appends at once. So they take turns, and few appends are refused.
//!
//! Without it the instance that is nearest to the server wins every time. An instance that does not take its turn is not
//! waited for again until it has landed an entry; so that one which always loses can land it, a winner waits now and then for
//! one that has not shown up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use onex_types::time::MonoMicros;

/// So many of an instance's own appends say how long one takes.
const APPENDS: usize = 16;
/// Another instance that had an entry within this time may have commands waiting, in microseconds.
const FOREIGN_RECENT_MICROS: u64 = 100_000;
/// A winner waits at most so long, in microseconds.
pub(super) const YIELD_MICROS_MAX: u64 = 20_000;
/// A winner waits for newcomers one part in so many of its time, at most.
const COURTESY_PARTS: u64 = 16;

/// Once in so many rounds a winner lets a newcomer in: one that lost to each of those who take turns.
const NEWCOMER_ROUNDS: u64 = 8;

/// When an instance may append next.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How long its last appends took, from the first attempt until they were known to be in the log.
    appends: VecDeque<u64>,
    /// Who takes turns, and when its last entry came.
    contenders: BTreeMap<u64, MonoMicros>,
    /// Whose turn comes before the next own append.
    turns: BTreeSet<u64>,
    /// Counts rounds in which each contender had its turn.
    rounds: u64,
    until: Option<MonoMicros>,
    /// Whether another instance was ever seen.
    others: bool,
    /// How long the next wait for a newcomer is, in microseconds, and when the last one began.
    courtesy: u64,
    courtesy_at: MonoMicros,
}

impl Pace {
    /// An entry of its own is in the log, which was sent first at `sent`.
    pub(super) fn won(&mut self, sent: MonoMicros, now: MonoMicros) {
        if self.appends.len() >= APPENDS {
            self.appends.pop_front();
        }
        self.appends.push_back(now.since(sent));
        // Who did not take its turn has nothing to append.
        for missed in std::mem::take(&mut self.turns) {
            self.contenders.remove(&missed);
        }
        self.contenders
            .retain(|_, at| now.since(*at) <= FOREIGN_RECENT_MICROS);
        self.turns = self.contenders.keys().copied().collect();
        let wait = match self.turns.len() as u64 {
            0 => self.courtesy(now),
            // The others may be twice as far from the server, and one of them lets a newcomer in.
            turns => self.median().saturating_mul(2 * turns + 1),
        };
        let wait = wait.min(YIELD_MICROS_MAX);
        self.until = Some(now.plus(wait)).filter(|_| wait > 0);
    }

    /// How long it waits for one that has not shown up yet: the longer the more seldom.
    fn courtesy(&mut self, now: MonoMicros) -> u64 {
        let wait = self.courtesy.max(self.median()).min(YIELD_MICROS_MAX);
        if !self.others || now.since(self.courtesy_at) < wait.saturating_mul(COURTESY_PARTS) {
            return 0;
        }
        self.courtesy_at = now;
        self.courtesy = wait.saturating_mul(2);
        wait
    }

    /// That other instance's entry is in the log.
    pub(super) fn foreign(&mut self, author: u64, now: MonoMicros) {
        self.others = true;
        self.contenders.insert(author, now);
        self.courtesy = 0;
        if !self.turns.remove(&author) {
            // A newcomer has used the pause that was for it.
            self.until = self.until.filter(|_| !self.turns.is_empty());
        } else if self.turns.is_empty() {
            self.rounds = self.rounds.wrapping_add(1);
            let pause = self.rounds.is_multiple_of(NEWCOMER_ROUNDS);
            self.until = pause.then(|| now.plus(self.median()));
        }
    }

    /// Until when nothing is appended; none if that is over.
    pub(super) fn yields_until(&self, now: MonoMicros) -> Option<MonoMicros> {
        self.until.filter(|until| *until > now)
    }

    fn median(&self) -> u64 {
        let mut sorted: Vec<u64> = self.appends.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> MonoMicros {
        MonoMicros(micros)
    }

    fn without_courtesy() -> Pace {
        Pace {
            courtesy_at: MonoMicros::NEVER,
            ..Pace::default()
        }
    }

    #[test]
    fn a_winner_waits_for_the_turn_of_each_contender() {
        let mut pace = Pace::default();
        pace.won(at(0), at(300));
        assert_eq!(pace.yields_until(at(300)), None, "nobody else appends");
        pace.foreign(1, at(400));
        pace.foreign(2, at(500));
        pace.won(at(500), at(800));
        assert_eq!(pace.yields_until(at(800)), Some(at(800 + 5 * 300)));
        pace.foreign(1, at(900));
        assert!(
            pace.yields_until(at(900)).is_some(),
            "2 has not had its turn"
        );
        pace.foreign(2, at(1_000));
        assert_eq!(pace.yields_until(at(1_000)), None);
    }

    #[test]
    fn who_misses_its_turn_is_not_waited_for_again() {
        let mut pace = without_courtesy();
        pace.foreign(1, at(0));
        pace.won(at(0), at(300));
        assert_eq!(pace.yields_until(at(1_199)), Some(at(1_200)));
        assert_eq!(pace.yields_until(at(1_200)), None);
        pace.won(at(1_200), at(1_500));
        assert_eq!(pace.yields_until(at(1_500)), None);
    }

    #[test]
    fn a_winner_waits_for_at_most_twenty_milliseconds_and_not_for_who_was_away_for_a_tenth_of_a_second()
     {
        let mut pace = without_courtesy();
        pace.foreign(1, at(1_000));
        pace.won(at(1_000), at(90_000));
        assert_eq!(pace.yields_until(at(90_000)), Some(at(110_000)));
        pace.foreign(1, at(91_000));
        pace.won(at(91_000), at(191_001));
        assert_eq!(pace.yields_until(at(191_001)), None);
    }

    #[test]
    fn a_winner_that_nobody_contends_with_waits_a_sixteenth_of_its_time() {
        let mut pace = Pace::default();
        pace.foreign(1, at(0));
        let (mut now, mut waited) = (1_000_000, 0);
        while now < 11_000_000 {
            pace.won(at(now - 300), at(now));
            if let Some(until) = pace.yields_until(at(now)) {
                waited += until.since(at(now));
                now = until.0;
            }
            now += 300;
        }
        assert!((100_000..700_000).contains(&waited), "{waited}");
        let mut alone = Pace::default();
        alone.won(at(999_700), at(1_000_000));
        assert_eq!(alone.yields_until(at(1_000_000)), None);
    }

    #[test]
    fn only_the_last_sixteen_appends_count() {
        let mut pace = Pace::default();
        for _ in 0..16 {
            pace.won(at(0), at(9_000));
        }
        for _ in 0..16 {
            pace.won(at(9_000), at(9_200));
        }
        assert_eq!(pace.median(), 200);
        assert_eq!(pace.appends.len(), 16);
    }
}
