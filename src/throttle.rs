//! Bounds on log lines: per second, whatever the requests do.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Lines of one kind, or of kinds that share a bound, that are logged in any one second; one more line of each kind counts
/// the rest.
pub(crate) const LOG_LINES_PER_SECOND_MAX: usize = 20;
/// The second.
const WINDOW: Duration = Duration::from_secs(1);

/// How long a [`LogInterval`] admits no further line.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// One kind of log line, admitted once in [`LOG_INTERVAL`]; those left out are not counted.
#[derive(Debug, Default)]
pub(crate) struct LogInterval(Mutex<Option<Instant>>);

impl LogInterval {
    /// Whether a line may be logged now.
    pub(crate) fn admits(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let admits = last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
        if admits {
            *last = Some(Instant::now());
        }
        admits
    }
}

/// One kind of log line.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    /// What the lines are about; stands in the line that counts those that were left out.
    kind: &'static str,
    logged: Arc<Mutex<Logged>>,
    left_out: AtomicU64,
}

/// When the lines of the last second were logged, and which callers they are about.
#[derive(Debug, Default)]
struct Logged(VecDeque<(Instant, Option<u64>)>);

/// Whether a line is logged.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Logged,
    /// The first one that is left out since those were counted.
    FirstLeftOut,
    LeftOut,
}

impl LogThrottle {
    pub(crate) fn new(kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            logged: Arc::default(),
            left_out: AtomicU64::new(0),
        })
    }

    /// Another kind of line: the bound is on both together.
    pub(crate) fn sharing(&self, kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            logged: Arc::clone(&self.logged),
            left_out: AtomicU64::new(0),
        })
    }

    /// Whether a line may be logged now. The number of those that may not is logged a second later. Needs a Tokio runtime.
    pub(crate) fn admits(self: &Arc<Self>) -> bool {
        self.admits_of(None)
    }

    /// The same for a line about a caller: one that is noisy does not hide what others do.
    pub(crate) fn admits_of(self: &Arc<Self>, caller: Option<u64>) -> bool {
        match self.admit(caller, Instant::now()) {
            Admission::Logged => true,
            Admission::LeftOut => false,
            Admission::FirstLeftOut => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(WINDOW).await;
                    let (kind, count) = (this.kind, this.take_left_out());
                    tracing::info!(
                        kind,
                        count,
                        "left out: at most {LOG_LINES_PER_SECOND_MAX} such lines are logged in a second, and of them at most half for one caller"
                    );
                });
                false
            }
        }
    }

    fn admit(&self, caller: Option<u64>, now: Instant) -> Admission {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.admits(caller, now) {
            return Admission::Logged;
        }
        if self.left_out.fetch_add(1, Ordering::Relaxed) == 0 {
            Admission::FirstLeftOut
        } else {
            Admission::LeftOut
        }
    }

    fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

impl Logged {
    /// A caller gets at most half of the lines that others leave.
    fn admits(&mut self, caller: Option<u64>, now: Instant) -> bool {
        let is_over = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) >= WINDOW;
        while self.0.front().is_some_and(is_over) {
            self.0.pop_front();
        }
        let is_own = |(_, of): &&(_, Option<u64>)| of.is_some() && *of == caller;
        let own = self.0.iter().filter(is_own).count();
        let admits = self.0.len() + own < LOG_LINES_PER_SECOND_MAX;
        if admits {
            self.0.push_back((now, caller));
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_admits_one_line() {
        let interval = LogInterval::default();
        assert!(interval.admits());
        assert!(!interval.admits());
    }

    #[test]
    fn lines_beyond_the_bound_of_a_second_are_counted() {
        let throttle = LogThrottle::new("test");
        let start = Instant::now();
        for _ in 0..LOG_LINES_PER_SECOND_MAX {
            assert_eq!(throttle.admit(None, start), Admission::Logged);
        }
        let late = start + WINDOW / 2;
        assert_eq!(throttle.admit(None, late), Admission::FirstLeftOut);
        assert_eq!(throttle.admit(None, late), Admission::LeftOut);
        assert_eq!(throttle.admit(None, start + WINDOW), Admission::Logged);
        assert_eq!(throttle.take_left_out(), 2);
        assert_eq!(throttle.take_left_out(), 0);
    }

    /// Lines are spread over time, so that any second that is looked at has parts of two that begin on the clock.
    #[test]
    fn no_second_has_more_lines_wherever_it_begins() {
        let throttle = LogThrottle::new("test");
        let start = Instant::now();
        let step = Duration::from_millis(7);
        let times = (0..1_000).map(|n| start + step * n);
        let logged = times.filter(|at| throttle.admit(None, *at) == Admission::Logged);
        let logged: Vec<_> = logged.collect();
        for (at, first) in logged.iter().enumerate() {
            let same = logged[at..].iter().filter(|time| **time < *first + WINDOW);
            assert!(same.count() <= LOG_LINES_PER_SECOND_MAX);
        }
        assert!(logged.len() >= 6 * LOG_LINES_PER_SECOND_MAX);
    }

    #[test]
    fn kinds_that_share_a_bound_are_counted_apart() {
        let one = LogThrottle::new("one");
        let other = one.sharing("other");
        let start = Instant::now();
        for _ in 0..LOG_LINES_PER_SECOND_MAX / 2 {
            assert_eq!(one.admit(None, start), Admission::Logged);
            assert_eq!(other.admit(None, start), Admission::Logged);
        }
        assert_eq!(one.admit(None, start), Admission::FirstLeftOut);
        assert_eq!(other.admit(None, start), Admission::FirstLeftOut);
        assert_eq!((one.take_left_out(), other.take_left_out()), (1, 1));
    }

    #[test]
    fn a_noisy_caller_hides_no_other_and_many_keep_the_bound() {
        let throttle = LogThrottle::new("test");
        let start = Instant::now();
        let logged = |caller| match throttle.admit(Some(caller), start) {
            Admission::Logged => 1,
            Admission::FirstLeftOut | Admission::LeftOut => 0,
        };
        let noisy: usize = (0..100).map(|_| logged(1)).sum();
        assert_eq!(noisy, LOG_LINES_PER_SECOND_MAX / 2);
        let other: usize = (0..100).map(|_| logged(2)).sum();
        assert_eq!(other, LOG_LINES_PER_SECOND_MAX / 4);
        let others: usize = (3..1_000).map(logged).sum();
        assert_eq!(noisy + other + others, LOG_LINES_PER_SECOND_MAX);
    }
}
