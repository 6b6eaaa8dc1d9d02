//! Bounds on log lines: per second, whatever the requests do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines of one kind that are logged in one second; one more line counts the rest.
pub(crate) const LOG_LINES_PER_SECOND_MAX: u32 = 20;
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
        match self.admit(Instant::now()) {
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
                        "more than {LOG_LINES_PER_SECOND_MAX} in a second, not logged one by one"
                    );
                });
                false
            }
        }
    }

    fn admit(&self, now: Instant) -> Admission {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since| now.saturating_duration_since(since) >= WINDOW;
        if window.since.is_none_or(over) {
            window.since = Some(now);
            window.logged = 0;
        }
        if window.logged < LOG_LINES_PER_SECOND_MAX {
            window.logged += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_bound_of_a_second_are_counted() {
        let throttle = LogThrottle::new("test");
        let start = Instant::now();
        for _ in 0..LOG_LINES_PER_SECOND_MAX {
            assert_eq!(throttle.admit(start), Admission::Logged);
        }
        let late = start + WINDOW / 2;
        assert_eq!(throttle.admit(late), Admission::FirstLeftOut);
        assert_eq!(throttle.admit(late), Admission::LeftOut);
        assert_eq!(throttle.admit(start + WINDOW), Admission::Logged);
        assert_eq!(throttle.take_left_out(), 2);
        assert_eq!(throttle.take_left_out(), 0);
    }
}
