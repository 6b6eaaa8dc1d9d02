//! The holder's clock: one that runs while the machine sleeps. Only [`BootTime::now`] reads it.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long to sleep at a time: by so much may a sleeper be late after the machine has woken up.
const STEP_MAX: Duration = Duration::from_millis(200);

/// A clock that runs while the machine sleeps.
#[cfg(not(target_vendor = "apple"))]
const CLOCK: ClockId = ClockId::Boottime;
/// The same: on Apple's systems this one does.
#[cfg(target_vendor = "apple")]
const CLOCK: ClockId = ClockId::Monotonic;

/// A moment on `CLOCK_BOOTTIME`: time since the machine was started, sleep included.
///
/// [`std::time::Instant`] stands while the machine sleeps, and the registry, on another machine, counts
/// on. So what a holder may use is counted on this clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(Duration);

impl BootTime {
    /// The present one.
    pub fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(CLOCK);
        let (seconds, nanos) = (u64::try_from(tv_sec), u32::try_from(tv_nsec));
        Self(Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0)))
    }

    /// From `earlier` to this one; zero if that is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    #[cfg(test)]
    pub(super) const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Self(self.0.saturating_add(more))
    }
}

impl Sub<Duration> for BootTime {
    type Output = Self;

    fn sub(self, less: Duration) -> Self {
        Self(self.0.saturating_sub(less))
    }
}

/// Sleeps until that moment; if the machine sleeps past it, until it is awake again and 200 ms more at most.
///
/// Tokio's timers stand while the machine sleeps, so the clock is looked at from time to time. A timer of the kernel's
/// on that clock would be exact, and take a file descriptor for each lease.
///
/// # Panics
///
/// Outside of a Tokio runtime, and in one without timers.
pub async fn sleep_until(moment: BootTime) {
    sleep_by(BootTime::now, moment).await;
}

async fn sleep_by(now: impl Fn() -> BootTime, moment: BootTime) {
    loop {
        let left = moment.since(now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(STEP_MAX)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Instant};

    use super::*;

    #[test]
    fn moments_are_counted_and_compared() {
        let at = |seconds| BootTime::at(Duration::from_secs(seconds));
        assert_eq!(at(5) + Duration::from_secs(2), at(7));
        assert_eq!(at(7) - Duration::from_secs(2), at(5));
        assert_eq!(at(7).since(at(5)), Duration::from_secs(2));
        assert_eq!(at(5).since(at(7)), Duration::ZERO);
        assert!(BootTime::now() > at(0));
    }

    #[tokio::test]
    async fn a_sleeper_wakes_at_its_moment_and_not_before() {
        let before = BootTime::now();
        let until = before + Duration::from_millis(60);
        sleep_until(until).await;
        assert!(BootTime::now() >= until);
        sleep_until(before).await;
    }

    #[tokio::test]
    async fn a_sleep_of_the_machine_is_noticed_when_it_wakes_up() {
        let looks = Cell::new(0);
        let clock = || {
            looks.set(looks.get() + 1);
            BootTime::at(Duration::from_mins(60 * (looks.get() - 1)))
        };
        let since = Instant::now();
        sleep_by(clock, BootTime::at(Duration::from_hours(1))).await;
        assert_eq!(looks.get(), 2);
        assert!(since.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn an_error_says_how_long_was_waited() {
        let error = crate::Error::TimedOut {
            endpoint: onex_protocol::endpoint::Endpoint::PortLease,
            after: Duration::from_nanos(331_742_001),
        };
        assert_eq!(error.to_string(), "no reply to port.lease within 331ms");
    }
}
