//! Which kind of batch messages are appended in. Servers have two (ADR-50). A *fast* one is stored message by message, and
//! ends with the first that is missing or refused. An *atomic* one is stored whole or not at all, and is set aside in files
//! of its own before that. Measured on a server with one copy, in processor time of a message of 500 bytes: one by one 30 to
//! 40 µs; in a fast batch of 160, 13 µs; in an atomic one of as many, 40 µs, and of 1,000, 18 µs. But a server that syncs
//! every write (`sync_interval: always`) syncs a fast batch message by message, an atomic one once; nothing says whether a
//! server does so but how long it takes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Messages of one batch, at most; a server allows 1,000 in an atomic one.
pub(crate) const BATCH_MAX: usize = 1_000;
/// Messages of a fast batch, at least: fewer are sent one by one.
const FAST_MIN: usize = 8;
/// Messages of the first fast batch, at most; of the next, twice as many as long as they are fast.
const FAST_FIRST_MAX: usize = 32;
/// Messages of an atomic batch, at least.
const ATOMIC_MIN: usize = 32;
/// What a fast batch may take whatever is in it, on a busy machine.
const FAST_MAX: Duration = Duration::from_millis(100);
/// And what each of its messages may take besides: where it takes longer each is synced.
const FAST_MESSAGE_MAX: Duration = Duration::from_micros(250);
/// For how long batches are atomic then, until it is tried again.
const ATOMIC_FOR: Duration = Duration::from_mins(1);

/// Which kind of batch costs less, by how long the last ones took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batches(Arc<Mutex<Fast>>);

/// What is known of fast batches.
#[derive(Debug, Clone, Copy)]
enum Fast {
    /// They are fast; how many messages the next one has, at most.
    Fast(usize),
    /// They are not; until when nobody tries.
    Slow(Instant),
}

impl Default for Fast {
    fn default() -> Self {
        Self::Fast(FAST_FIRST_MAX)
    }
}

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OneByOne,
    Fast,
    Atomic,
}

impl Batches {
    /// How the next of so many messages are sent, and how many of them.
    pub(crate) fn next(&self, count: usize, now: Instant) -> (Kind, usize) {
        match self.known() {
            _ if count < FAST_MIN => (Kind::OneByOne, count),
            Fast::Fast(most) => (Kind::Fast, count.min(most)),
            Fast::Slow(until) if now < until && count >= ATOMIC_MIN => {
                (Kind::Atomic, count.min(BATCH_MAX))
            }
            Fast::Slow(_) => (Kind::Fast, count.min(FAST_FIRST_MAX)),
        }
    }

    /// Whether batches are atomic now.
    pub(crate) fn is_slow(&self, now: Instant) -> bool {
        matches!(self.known(), Fast::Slow(until) if now < until)
    }

    /// A fast batch of so many has taken so long.
    pub(crate) fn note(&self, count: usize, took: Duration, now: Instant) {
        let may = FAST_MAX + FAST_MESSAGE_MAX * u32::try_from(count).unwrap_or(u32::MAX);
        let known = match self.known() {
            _ if took > may => Fast::Slow(now + ATOMIC_FOR),
            Fast::Fast(most) if count >= most => Fast::Fast((most * 2).min(BATCH_MAX)),
            Fast::Slow(until) if now >= until => Fast::default(),
            Fast::Fast(_) | Fast::Slow(_) => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn known(&self) -> Fast {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn fast_batches_grow_while_they_are_fast() {
        let (batches, now) = (Batches::default(), Instant::now());
        assert_eq!(batches.next(7, now), (Kind::OneByOne, 7));
        let mut sizes = Vec::new();
        for _ in 0..7 {
            let (kind, count) = batches.next(2_000, now);
            assert_eq!(kind, Kind::Fast);
            batches.note(count, millis(90), now);
            sizes.push(count);
        }
        assert_eq!(sizes, [32, 64, 128, 256, 512, 1_000, 1_000]);
        let small = Batches::default();
        for _ in 0..9 {
            small.note(31, millis(90), now);
        }
        assert_eq!(small.next(2_000, now), (Kind::Fast, FAST_FIRST_MAX));
    }

    #[test]
    fn batches_are_atomic_for_a_while_where_each_message_of_a_fast_one_is_synced() {
        let (batches, start) = (Batches::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        batches.note(128, millis(133), start);
        assert_eq!(batches.next(2_000, start), (Kind::Atomic, BATCH_MAX));
        assert_eq!(batches.next(31, start), (Kind::Fast, 31));
        batches.note(31, millis(1), start);
        assert_eq!(batches.next(2_000, after(59)), (Kind::Atomic, BATCH_MAX));
        assert!(batches.is_slow(after(59)) && !batches.is_slow(after(61)));
        assert_eq!(batches.next(2_000, after(61)), (Kind::Fast, FAST_FIRST_MAX));
        batches.note(32, millis(1), after(61));
        assert_eq!(batches.next(2_000, after(61)), (Kind::Fast, FAST_FIRST_MAX));
        batches.note(32, millis(1), after(61));
        assert_eq!(batches.next(2_000, after(61)), (Kind::Fast, 64));
    }
}
