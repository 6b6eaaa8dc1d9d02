//! When a holder renews, and when its time is up. Neither clock nor chance decides in here: both are given.

use std::{sync::Arc, time::Duration};

use onex_types::ids::{RequestId, Ttl};

use super::{Error, clock::BootTime};

/// A renewal is sent when this part of the time before the holder stops has passed, and is given this part of what is
/// left then to be answered: some tries fit before the end.
const PART: u32 = 3;
/// How long a renewal is waited for at least: a registry that is asked to be quicker does not begin.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// What is waited after a renewal that failed; twice as long each further time, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// What is waited after a renewal that failed, at most.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// And never more than this part of what is left, but [`PAUSE_FIRST`] at least.
const PAUSE_PART: u32 = 8;
/// How long before its time is up a holder begins to stop if it does not say: this part of the TTL.
const GRACE_PART: u32 = 10;
/// How long before its time is up a holder may begin to stop: at most this part of the TTL. The rest is for renewals.
const GRACE_PART_MAX: u32 = 2;

/// A request, by its name, and when it was sent *first*. The holder counts from there, however often it has to be
/// sent again: which of them was done cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) sent: BootTime,
}

impl Asked {
    /// One that is about to be sent.
    pub(super) fn now(id: RequestId) -> Self {
        Self {
            id,
            sent: BootTime::now(),
        }
    }
}

/// What a holder has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before that moment.
    Wait(BootTime),
    /// Send this renewal, again perhaps, and wait so long for its reply.
    Send(Asked, Duration),
    /// Stop: the time is up.
    Over,
}

/// How long a holder has, if no further renewal comes through.
#[derive(Debug, Clone)]
pub(super) struct Term {
    /// When it has to begin to stop.
    pub(super) stop_at: BootTime,
    /// When it must have stopped.
    pub(super) until: BootTime,
    /// Why the last renewal failed, where it did.
    pub(super) trouble: Option<Arc<Error>>,
}

/// The time that a holder has, by its own clock.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    until: BootTime,
    /// How long it takes to stop, as the holder says.
    requested_grace: Option<Duration>,
    /// How long it gets for that.
    grace: Duration,
    revision: u64,
    /// Why the last renewal failed.
    trouble: Option<Arc<Error>>,
    /// When to send the next renewal.
    next: BootTime,
    /// One that was sent and not answered for good.
    asked: Option<Asked>,
    pause: Duration,
}

impl Tenure {
    /// What was asked for was granted: for `ttl`, as of `revision`, to a holder that takes `grace` to stop.
    pub(super) fn granted(
        asked: Asked,
        ttl: Ttl,
        revision: u64,
        grace: Option<Duration>,
        now: BootTime,
    ) -> Self {
        let mut tenure = Self {
            until: asked.sent,
            requested_grace: grace,
            grace: Duration::ZERO,
            revision,
            trouble: None,
            next: asked.sent,
            asked: None,
            pause: PAUSE_FIRST,
        };
        tenure.renewed(asked, ttl, revision, now);
        tenure
    }

    /// When it is up, unless it is renewed.
    pub(super) fn until(&self) -> BootTime {
        self.until
    }

    /// When to begin to stop, unless it is renewed.
    fn stop_at(&self) -> BootTime {
        self.until - self.grace
    }

    /// How long it lasts as of now.
    pub(super) fn term(&self) -> Term {
        Term {
            stop_at: self.stop_at(),
            until: self.until,
            trouble: self.trouble.clone(),
        }
    }

    /// What to do. `fresh` is the name of the next renewal, if there is to be one.
    pub(super) fn step(&mut self, now: BootTime, fresh: RequestId) -> Step {
        let left = self.until.since(now);
        if left.is_zero() {
            return Step::Over;
        }
        if now < self.next {
            return Step::Wait(self.next.min(self.until));
        }
        let first = Asked {
            id: fresh,
            sent: now,
        };
        let asked = *self.asked.get_or_insert(first);
        let before_stop = self.stop_at().since(now);
        let part = if before_stop.is_zero() {
            left / PART
        } else {
            before_stop / PART
        };
        Step::Send(asked, part.max(PATIENCE_MIN).min(left))
    }

    /// That request was answered: for `ttl`, as of `revision`. Older news than what was heard already counts for
    /// nothing; a renewal never shortens.
    pub(super) fn renewed(&mut self, asked: Asked, ttl: Ttl, revision: u64, now: BootTime) {
        if revision >= self.revision {
            let ttl = Duration::from_millis(ttl.millis());
            self.revision = revision;
            self.until = self.until.max(asked.sent + ttl);
            self.grace = self
                .requested_grace
                .unwrap_or(ttl / GRACE_PART)
                .min(ttl / GRACE_PART_MAX);
        }
        self.asked = None;
        self.trouble = None;
        self.pause = PAUSE_FIRST;
        self.next = now + self.stop_at().since(now) / PART;
    }

    /// That request was not done, or nobody knows. What time there is stays; it is asked again, by the same name
    /// unless under that name nothing else can come.
    pub(super) fn failed(&mut self, error: Arc<Error>, now: BootTime) {
        if !error.retryable() {
            self.asked = None;
        }
        self.trouble = Some(error);
        let longest = (self.until.since(now) / PAUSE_PART).max(PAUSE_FIRST);
        self.next = now + self.pause.min(longest);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use onex_protocol::{
        endpoint::Endpoint,
        error::{self, ErrorCode, Outcome},
    };

    fn at(seconds: u64) -> BootTime {
        BootTime::at(Duration::from_secs(1_000 + seconds))
    }

    fn id(number: u128) -> RequestId {
        RequestId(Uuid::from_u128(number))
    }

    fn ttl(seconds: u32) -> Ttl {
        Ttl::try_from(seconds).unwrap()
    }

    fn timed_out() -> Error {
        Error::TimedOut {
            endpoint: Endpoint::PortHeartbeat,
            after: Duration::from_secs(1),
        }
    }

    fn refused(error: error::Error) -> Error {
        Error::Refused(error)
    }

    /// What happens to a holder. Seconds; a renewal is named by a number.
    enum Then {
        /// At this time it has this to do.
        Does(u64, Do),
        /// The last renewal that was sent is answered at this time.
        Renewed(u64, u32, u64),
        /// A reply to the one that was first sent then comes at this time.
        Late(u64, u64, u32, u64),
        /// The last one that was sent comes to nothing, at this time.
        Failed(u64, Error),
    }

    #[derive(Debug, PartialEq)]
    enum Do {
        Waits,
        /// Sends the renewal that it first sent at this time.
        Sends(u64),
        Stops,
    }
    use Do::{Sends, Stops, Waits};
    use Then::{Does, Failed, Late, Renewed};

    /// A lease of 60 s as of revision 4, first asked for at 0 and granted at `granted`; what happens; and until when
    /// it lasts in the end.
    #[track_caller]
    fn check(what: &str, granted: u64, story: Vec<Then>, until: u64) {
        let first = Asked {
            id: id(0),
            sent: at(0),
        };
        let mut tenure = Tenure::granted(first, ttl(60), 4, Some(Duration::ZERO), at(granted));
        let mut last = first;
        for (number, then) in story.into_iter().enumerate() {
            match then {
                Does(now, wanted) => {
                    let step = tenure.step(at(now), id(number as u128 + 1));
                    let done = match step {
                        Step::Wait(until) => {
                            assert!(until > at(now), "{what}: {step:?}");
                            Waits
                        }
                        Step::Send(asked, patience) => {
                            let left = tenure.until().since(at(now));
                            assert!(!patience.is_zero() && patience <= left, "{what}");
                            last = asked;
                            Sends(asked.sent.since(at(0)).as_secs())
                        }
                        Step::Over => Stops,
                    };
                    assert_eq!(done, wanted, "{what}: at {now}, as number {number}");
                }
                Renewed(now, seconds, revision) => {
                    tenure.renewed(last, ttl(seconds), revision, at(now));
                }
                Late(now, sent, seconds, revision) => {
                    let asked = Asked {
                        id: id(99),
                        sent: at(sent),
                    };
                    tenure.renewed(asked, ttl(seconds), revision, at(now));
                }
                Failed(now, error) => tenure.failed(Arc::new(error), at(now)),
            }
        }
        assert_eq!(tenure.until(), at(until), "{what}");
    }

    #[test]
    fn a_holder_stops_before_the_registry_gives_its_port_away() {
        check("nothing is heard any more", 0, vec![Does(60, Stops)], 60);
        check(
            "the reply was lost; the retry that is answered does not restart the time",
            11,
            vec![Does(11, Waits), Does(60, Stops)],
            60,
        );
        check(
            "renewed after a third, counted from when that was sent",
            0,
            vec![
                Does(19, Waits),
                Does(20, Sends(20)),
                Renewed(22, 60, 5),
                Does(41, Waits),
                Does(42, Sends(42)),
                Renewed(43, 60, 6),
                Does(102, Stops),
            ],
            102,
        );
        check(
            "the machine slept with a renewal on its way",
            0,
            vec![Does(20, Sends(20)), Does(120, Stops)],
            60,
        );
        check(
            "the machine slept, and the renewal's reply was there when it woke up",
            0,
            vec![Does(20, Sends(20)), Renewed(120, 60, 5), Does(120, Stops)],
            80,
        );
        check(
            "the grant came when its time was over",
            70,
            vec![Does(70, Stops)],
            60,
        );
        check(
            "the reply to a renewal came when the time before it was over, and gives less than all of it",
            0,
            vec![
                Does(50, Sends(50)),
                Renewed(61, 60, 5),
                Does(61, Waits),
                Does(110, Stops),
            ],
            110,
        );
    }

    #[test]
    fn a_renewal_that_fails_is_sent_again_as_the_same() {
        let unknown = || refused(error::Error::unavailable(Outcome::Unknown));
        let internal = || refused(error::Error::new(ErrorCode::Internal, "a fault"));
        check(
            "counted from the first try",
            0,
            vec![
                Does(20, Sends(20)),
                Failed(30, timed_out()),
                Does(40, Sends(20)),
                Failed(41, unknown()),
                Does(50, Sends(20)),
                Renewed(51, 60, 5),
                Does(80, Stops),
            ],
            80,
        );
        check(
            "not at once",
            0,
            vec![
                Does(20, Sends(20)),
                Failed(20, timed_out()),
                Does(20, Waits),
            ],
            60,
        );
        check(
            "under a name by which it can come to nothing else it is not asked for again",
            0,
            vec![
                Does(20, Sends(20)),
                Failed(21, internal()),
                Does(30, Sends(30)),
                Renewed(31, 60, 5),
            ],
            90,
        );
        check(
            "until the time is up",
            0,
            vec![
                Does(20, Sends(20)),
                Failed(59, timed_out()),
                Does(59, Waits),
                Does(60, Stops),
            ],
            60,
        );
    }

    #[test]
    fn the_highest_revision_is_believed_and_a_renewal_only_lengthens() {
        check(
            "a heartbeat that asks for less, and the reply of the one before comes behind it",
            0,
            vec![
                Does(20, Sends(20)),
                Renewed(21, 300, 6),
                Late(22, 5, 60, 5),
                Does(130, Sends(130)),
                Renewed(131, 60, 7),
            ],
            320,
        );
        check(
            "from a store that was set back",
            0,
            vec![Does(20, Sends(20)), Renewed(21, 60, 3), Does(60, Stops)],
            60,
        );
        check(
            "the same news again",
            0,
            vec![Does(20, Sends(20)), Renewed(21, 60, 5), Late(30, 20, 60, 5)],
            80,
        );
    }

    #[test]
    fn renewals_leave_a_holder_time_to_stop() {
        let first = Asked {
            id: id(0),
            sent: at(0),
        };
        let minutes = |minutes| Some(Duration::from_mins(minutes));
        for (grace, stop_at, renewal) in [
            (Some(Duration::ZERO), 60, 20),
            (None, 54, 18),
            (Some(Duration::from_secs(15)), 45, 15),
            (minutes(10), 30, 10),
        ] {
            let mut tenure = Tenure::granted(first, ttl(60), 4, grace, at(0));
            let term = tenure.term();
            assert_eq!((term.stop_at, term.until), (at(stop_at), at(60)));
            assert_eq!(tenure.step(at(renewal - 1), id(1)), Step::Wait(at(renewal)));
            let Step::Send(asked, patience) = tenure.step(at(renewal), id(1)) else {
                panic!("{grace:?}: no renewal");
            };
            assert!(asked.sent + patience <= at(stop_at), "{grace:?}");
            // Longer leases, once one of the holder's programs asked for that.
            tenure.renewed(asked, ttl(600), 5, at(renewal));
            let expected = grace
                .unwrap_or(minutes(1).unwrap())
                .min(minutes(5).unwrap());
            assert_eq!(tenure.term().stop_at, at(renewal + 600) - expected);
        }
    }

    #[test]
    fn what_went_wrong_is_known_until_a_renewal_comes_through() {
        let first = Asked {
            id: id(0),
            sent: at(0),
        };
        let mut tenure = Tenure::granted(first, ttl(60), 4, None, at(0));
        assert!(tenure.term().trouble.is_none());
        tenure.failed(Arc::new(timed_out()), at(20));
        assert!(tenure.term().trouble.is_some());
        tenure.renewed(first, ttl(60), 5, at(21));
        assert!(tenure.term().trouble.is_none());
    }

    #[test]
    fn the_last_moments_are_used() {
        let first = Asked {
            id: id(0),
            sent: at(0),
        };
        let mut tenure = Tenure::granted(first, ttl(1), 1, None, at(0));
        let mut now = at(0);
        let mut tries = 0;
        loop {
            match tenure.step(now, id(7)) {
                Step::Wait(until) => now = until,
                Step::Send(_, patience) => {
                    tries += 1;
                    now = now + patience;
                    tenure.failed(Arc::new(timed_out()), now);
                }
                Step::Over => break,
            }
        }
        assert_eq!(now, at(1));
        assert!((3..=12).contains(&tries), "{tries}");
    }
}
