//! How the calls of one provider ended, and what is to be expected of it for that.

use std::time::Duration;

use onex_types::time::MonoMillis;

/// Times in a row that a provider does not answer before it is left alone for a while.
pub(super) const FAILURES_MAX: u32 = 5;
/// How long it is left alone the first time, in milliseconds; each further time twice as long.
pub(super) const OPEN_MILLIS_MIN: u64 = 5_000;
/// How long it is left alone at most, in milliseconds.
pub(super) const OPEN_MILLIS_MAX: u64 = 60_000;
/// Waiting in vain for so long is one such time, in milliseconds. What is waited for less adds up.
pub(super) const SILENT_MILLIS: u64 = 1_000;
/// Calls in a row that end badly before others are asked first. One is enough where none ended well yet.
pub(super) const BAD_MAX: u32 = 5;
/// How long others are asked first before it may be tried again, in milliseconds; each further time twice as long.
pub(super) const DOUBTED_MILLIS_MIN: u64 = 1_000;
/// How long they are asked first at most, in milliseconds.
pub(super) const DOUBTED_MILLIS_MAX: u64 = 10_000;
/// How long others are asked before one that said that it cannot take calls, in milliseconds.
const DECLINED_MILLIS: u64 = 1_000;
/// How much the last call counts in the recent mean of a provider's times.
const RECENT_PART: f64 = 0.2;
/// After this time without a call, in milliseconds, half of the mean is forgotten: who was slow is tried again.
const RECENT_HALF_MILLIS: f64 = 10_000.0;

/// After this time without a call, in milliseconds, its times are not shown any more.
pub(super) const SHOWN_MILLIS_MAX: u64 = 300_000;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a result.
    Answered,
    /// With an error, or a result that breaks the contract: who fails at once is not fast for that.
    Refused,
    /// By saying that it cannot take calls now.
    Declined,
    /// Nobody listens there.
    Unheard,
    /// Without an answer, which was waited for that long.
    Silent(Duration),
    /// The provider was not asked, or nobody waited.
    Unknown,
}

/// What is to be expected of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nothing bad is known of it.
    Good,
    /// Its calls end badly: others are asked first.
    Doubted,
    /// They did, and that is a while ago: a call may find out whether they still do.
    Due,
}

/// What is remembered of a provider.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The recent mean of its times, in milliseconds, and when that was true.
    recent: Option<(f64, MonoMillis)>,
    /// The mean of its last times as they were, in milliseconds, and when the last one came.
    measured: Option<(f64, MonoMillis)>,
    /// Calls in a row that ended badly.
    bad: u32,
    /// Until when it is not tried, where too many ended badly.
    doubted: MonoMillis,
    doubted_millis: u64,
    failures: u32,
    /// Waiting in vain that is no failure yet, in milliseconds.
    silence: u64,
    /// Until when that has been counted.
    silent: MonoMillis,
    /// Until when it is left alone.
    open: Option<MonoMillis>,
    open_millis: u64,
    /// One call finds out whether it answers again.
    trying: bool,
    /// Until when others are asked before it.
    declined: Option<MonoMillis>,
}

impl History {
    /// The recent mean of its times, in milliseconds.
    pub(super) fn recent(&self, now: MonoMillis) -> Option<f64> {
        self.recent.map(|(millis, at)| millis * fading(now, at))
    }

    /// The mean of its last times as they were, in milliseconds: to be shown, where the last call is not long ago.
    pub(super) fn measured(&self, now: MonoMillis) -> Option<f64> {
        let measured = self
            .measured
            .filter(|(_, at)| now.since(*at) <= SHOWN_MILLIS_MAX);
        measured.map(|(millis, _)| millis)
    }

    pub(super) fn outlook(&self, now: MonoMillis) -> Outlook {
        let enough = if self.recent.is_some() { BAD_MAX } else { 1 };
        if self.bad < enough {
            Outlook::Good
        } else if now < self.doubted {
            Outlook::Doubted
        } else {
            Outlook::Due
        }
    }

    /// Milliseconds for which it is still left alone; none: it may be called.
    pub(super) fn open(&self, now: MonoMillis) -> Option<u64> {
        match self.open {
            Some(until) if now < until => Some(until.since(now)),
            // Until that call is back nobody else is sent there.
            Some(_) if self.trying => Some(0),
            _ => None,
        }
    }

    /// Whether it said a moment ago that it cannot take calls.
    pub(super) fn declined(&self, now: MonoMillis) -> bool {
        self.declined.is_some_and(|until| now < until)
    }

    /// It is called.
    pub(super) fn called(&mut self) {
        self.trying = self.open.is_some();
    }

    /// A call is over.
    pub(super) fn ended(&mut self, took: f64, ended: Ended, now: MonoMillis) {
        match ended {
            Ended::Answered => {
                self.took(took, now);
                self.bad = 0;
                self.doubted_millis = 0;
                self.lives(now);
            }
            Ended::Refused => {
                self.went_badly(now);
                self.lives(now);
            }
            Ended::Declined => {
                self.lives(now);
                self.declined = Some(now.plus(DECLINED_MILLIS));
            }
            Ended::Unheard => {
                self.went_badly(now);
                self.fails(now);
            }
            Ended::Silent(waited) => {
                self.went_badly(now);
                if self.was_silent(waited, now) || self.trying {
                    self.fails(now);
                }
            }
            Ended::Unknown => {}
        }
        self.trying = false;
    }

    /// It has answered when nobody waited for that any more: it lives, and takes so long.
    pub(super) fn answered_late(&mut self, took: f64, now: MonoMillis) {
        self.took(took, now);
        self.lives(now);
    }

    fn took(&mut self, took: f64, now: MonoMillis) {
        let mean = |before: Option<f64>| {
            before.map_or(took, |before| before + RECENT_PART * (took - before))
        };
        self.recent = Some((mean(self.recent(now)), now));
        self.measured = Some((mean(self.measured(now)), now));
    }

    fn lives(&mut self, now: MonoMillis) {
        self.declined = None;
        self.failures = 0;
        self.silence = 0;
        self.silent = now;
        self.open = None;
        self.open_millis = 0;
    }

    fn went_badly(&mut self, now: MonoMillis) {
        self.bad = self.bad.saturating_add(1);
        if self.outlook(now) == Outlook::Due {
            let longer = self.doubted_millis * 2;
            self.doubted_millis = longer.clamp(DOUBTED_MILLIS_MIN, DOUBTED_MILLIS_MAX);
            self.doubted = now.plus(self.doubted_millis);
        }
    }

    /// Whether that makes a failure. Of calls that waited at the same time each moment counts once; one that waited for less
    /// time than it usually takes, as after a long wait for its turn, could not have been answered.
    fn was_silent(&mut self, waited: Duration, now: MonoMillis) -> bool {
        let usual = self.recent.map_or(0.0, |(millis, _)| millis);
        if waited.as_secs_f64() * 1_000.0 < usual {
            return false;
        }
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.silence = self
            .silence
            .saturating_add(waited.min(now.since(self.silent)));
        self.silent = now;
        let enough = waited.max(self.silence) >= SILENT_MILLIS;
        if enough {
            self.silence = 0;
        }
        enough
    }

    fn fails(&mut self, now: MonoMillis) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX && (self.open.is_none() || self.trying) {
            self.open_millis = (self.open_millis * 2).clamp(OPEN_MILLIS_MIN, OPEN_MILLIS_MAX);
            self.open = Some(now.plus(self.open_millis));
        }
    }
}

/// What is left of a mean that was last true then.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of an uptime are far below 2^52"
)]
fn fading(now: MonoMillis, last: MonoMillis) -> f64 {
    0.5_f64.powf(now.since(last) as f64 / RECENT_HALF_MILLIS)
}
