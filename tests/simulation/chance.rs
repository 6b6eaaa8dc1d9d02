//! Where runs get their luck from, and clocks that disagree.

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::time::{Moment, Now};

/// Numbers that only the seed decides (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678_9abc_def1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `bound`; 0 when that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// Both ends included.
    pub(super) fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub(super) fn hit(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// An index into something of that length.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// A clock with its own start and its own rate, within one part in two thousand of the true one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: i64,
    millionths: i64,
    wall: i64,
}

/// The wall clock of whoever has it right.
const TRUE_WALL_MILLIS: i64 = 1_800_000_000_000;

impl Clock {
    /// `apart`: the wall clock may be wrong by up to a day.
    pub(super) fn new(chance: &mut Chance, apart: bool) -> Self {
        let millionths = match chance.below(4) {
            0 => -500,
            1 => 500,
            _ => i64::try_from(chance.below(1001)).unwrap() - 500,
        };
        let day = 86_400_000;
        let wall = i64::try_from(chance.below(2 * day)).unwrap() - 86_400_000;
        Self {
            start: i64::try_from(chance.between((1_000_000, 9_000_000))).unwrap(),
            millionths,
            wall: if apart { wall } else { 0 },
        }
    }

    /// What it shows, in milliseconds.
    pub(super) fn at(&self, time: u64) -> u64 {
        let time = i64::try_from(time).unwrap();
        let drift = (time * self.millionths).div_euclid(1_000_000);
        u64::try_from(self.start + time + drift).unwrap()
    }

    /// The first true moment at which it shows `reading` or more.
    pub(super) fn when(&self, reading: u64) -> u64 {
        let since = i64::try_from(reading).unwrap() - self.start;
        let guess = since - (since * self.millionths).div_euclid(1_000_000);
        // Dividing by the rate is not quite the same as multiplying: look from a little earlier on.
        let early = guess / 1_000_000 + 3;
        let mut time = u64::try_from((guess - early).max(0)).unwrap();
        while self.at(time) < reading {
            time += 1;
        }
        time
    }

    /// It stood still for that long.
    pub(super) fn stood(&mut self, millis: u64) {
        self.start -= i64::try_from(millis).unwrap();
    }

    pub(super) fn now(&self, time: u64) -> Now {
        let wall = TRUE_WALL_MILLIS + self.wall + i64::try_from(time).unwrap();
        Now {
            mono: Moment(self.at(time)),
            micros: 0,
            wall: Timestamp::from_millisecond(wall).unwrap(),
        }
    }
}
