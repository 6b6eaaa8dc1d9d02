//! Time as an argument: nothing in this module tree reads a clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A time on this process's monotonic clock, in milliseconds from an arbitrary origin.
///
/// Times of two processes, or of one before and after a restart, cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MonoMillis(pub u64);

impl MonoMillis {
    /// One that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// That many milliseconds later.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds since `earlier`; 0 when that is still to come.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The same clock as that of [`MonoMillis`], in microseconds: for waits that are shorter than a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonoMicros(pub u64);

impl MonoMicros {
    /// One that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// That many microseconds later.
    #[must_use]
    pub fn plus(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds since `earlier`; 0 when that is still to come.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<MonoMillis> for MonoMicros {
    fn from(moment: MonoMillis) -> Self {
        Self(moment.0.saturating_mul(1_000))
    }
}

/// What the time is: the monotonic clock decides, the wall clock is written down for people.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Decides.
    pub mono: MonoMillis,
    /// How far the same clock is within that millisecond, in microseconds: below 1,000.
    pub micros: u16,
    /// For people.
    pub wall: Timestamp,
}

impl Now {
    /// The monotonic clock, in microseconds.
    pub fn exact(&self) -> MonoMicros {
        MonoMicros::from(self.mono).plus(u64::from(self.micros))
    }
}

/// Constant part of [`slack`], in milliseconds.
pub const SLACK_MILLIS: u64 = 500;

/// What a registry adds to a time that a holder counts as well, in milliseconds: for two clocks that
/// differ in rate by up to one part in a thousand, and half a second for their granularity.
pub fn slack(millis: u64) -> u64 {
    millis / 1000 + SLACK_MILLIS
}
