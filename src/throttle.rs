//! Bounds on log lines: per second, whatever the requests do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines of one kind that are logged in one second; one more line counts the rest.
pub(crate) const LOG_LINES_PER_SECOND_MAX: u32 = 20;
/// Lines of one kind in one second that each caller has for itself, whatever others do.
const LOG_LINES_PER_CALLER_MAX: u32 = 2;
/// Callers that are told apart in one second.
const CALLERS_MAX: usize = 100;
/// The second.
const WINDOW: Duration = Duration::from_secs(1);

/// One kind of log line.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    /// What the lines are about; stands in the line that counts those that were left out.
    kind: &'static str,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    logged: u32,
    /// Lines of each caller, by a number that stands for it.
    by_caller: HashMap<u64, u32>,
    left_out: u64,
}

/// Whether a line is logged.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Logged,
    /// The first one of this window that is left out.
    FirstLeftOut,
    LeftOut,
}

impl LogThrottle {
    pub(crate) fn new(kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            window: Mutex::default(),
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
                        "more than {LOG_LINES_PER_SECOND_MAX} in a second; these are not logged one by one"
                    );
                });
                false
            }
        }
    }

    fn admit(&self, caller: Option<u64>, now: Instant) -> Admission {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since| now.saturating_duration_since(since) >= WINDOW;
        if window.since.is_none_or(over) {
            window.since = Some(now);
            window.logged = 0;
            window.by_caller.clear();
        }
        let is_own = window.counts(caller);
        if window.logged < LOG_LINES_PER_SECOND_MAX {
            window.logged += 1;
            return Admission::Logged;
        }
        if is_own {
            return Admission::Logged;
        }
        window.left_out += 1;
        if window.left_out == 1 {
            Admission::FirstLeftOut
        } else {
            Admission::LeftOut
        }
    }

    fn take_left_out(&self) -> u64 {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut window.left_out)
    }
}

impl Window {
    /// Counts a line of that caller, and says whether it is one of those that it has for itself.
    fn counts(&mut self, caller: Option<u64>) -> bool {
        let Some(caller) = caller else {
            return false;
        };
        if self.by_caller.len() >= CALLERS_MAX && !self.by_caller.contains_key(&caller) {
            return false;
        }
        let lines = self.by_caller.entry(caller).or_default();
        *lines = lines.saturating_add(1);
        *lines <= LOG_LINES_PER_CALLER_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_noisy_caller_hides_no_other() {
        let throttle = LogThrottle::new("test");
        let start = Instant::now();
        let logged = |caller| match throttle.admit(Some(caller), start) {
            Admission::Logged => 1,
            Admission::FirstLeftOut | Admission::LeftOut => 0,
        };
        let noisy: u32 = (0..100).map(|_| logged(1)).sum();
        assert_eq!(noisy, LOG_LINES_PER_SECOND_MAX);
        let others: u32 = (2..1_000)
            .map(|caller| logged(caller) + logged(caller) + logged(caller))
            .sum();
        // The noisy one is told apart as well.
        let callers = u32::try_from(CALLERS_MAX).unwrap() - 1;
        assert_eq!(others, callers * LOG_LINES_PER_CALLER_MAX);
        let window = throttle.window.lock().unwrap();
        assert_eq!(window.by_caller.len(), CALLERS_MAX);
    }
}
