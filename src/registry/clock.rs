//! The one place from which decisions get the time. Others only measure how long something took.

use std::time::{Duration, Instant};

use jiff::{Timestamp, Unit};
use onex_types::time::{MonoMicros, MonoMillis, Now};

/// This process's clock. It stands while the machine sleeps, which only makes leases last longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Now {
        let wall = Timestamp::now();
        let elapsed = self.0.elapsed();
        Now {
            mono: MonoMillis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
            micros: u16::try_from(elapsed.subsec_micros() % 1_000).unwrap_or_default(),
            wall: wall.round(Unit::Millisecond).unwrap_or(wall),
        }
    }

    /// That moment by the runtime's clock.
    pub(super) fn instant(self, moment: MonoMillis) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.until(moment)
    }

    /// How long until that moment.
    pub(super) fn until(self, moment: MonoMillis) -> Duration {
        Duration::from_millis(moment.since(self.now().mono))
    }

    /// How long until that moment, to the microsecond.
    pub(super) fn until_exact(self, moment: MonoMicros) -> Duration {
        Duration::from_micros(moment.since(self.now().exact()))
    }
}
