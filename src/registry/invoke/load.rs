//! What providers have under way, how fast they answered lately, and whether they answer at all. No clock and
//! no NATS: times are arguments.

use std::collections::HashMap;

use crate::domain::{
    ids::{Incarnation, Token},
    time::Moment,
};

/// Times in a row that a provider does not answer before it is left alone for a while.
const FAILURES_MAX: u32 = 5;
/// How long it is left alone the first time, in milliseconds; each further time twice as long.
const OPEN_MILLIS_MIN: u64 = 5_000;
/// How long it is left alone at most, in milliseconds.
const OPEN_MILLIS_MAX: u64 = 60_000;
/// How long others are asked before one that said that it cannot take calls, in milliseconds.
const DECLINED_MILLIS: u64 = 1_000;
/// How much the last call counts in the recent mean of a provider's times.
const RECENT_PART: f64 = 0.2;
/// After this time without a call, in milliseconds, half of the mean is forgotten: who was slow is tried again.
const RECENT_HALF_MILLIS: f64 = 10_000.0;
/// What is known of a provider that is not called is dropped after this time, in milliseconds.
const KEPT_MILLIS: u64 = 600_000;
/// Providers of which something is known before those are dropped that are not called any more.
const SWEEP_AT: usize = 4_096;
/// Other instances that are listened to, at most.
const INSTANCES_TOLD_MAX: usize = 64;
/// What another instance said of its calls counts for this long, in milliseconds.
const TOLD_MILLIS: u64 = 3_000;

/// A tool of one life of a node.
pub(super) type Provider = (Incarnation, Token);

/// What this instance knows of a provider.
#[derive(Debug, Clone, Default)]
struct Known {
    under_way: u32,
    /// When it was called last, counted in calls of this instance.
    turn: u64,
    last: Moment,
    /// The recent mean of its times, in milliseconds.
    recent: Option<f64>,
    failures: u32,
    /// Until when it is left alone.
    open: Option<Moment>,
    open_millis: u64,
    /// One call finds out whether it answers again.
    trying: bool,
    /// Until when others are asked before it.
    declined: Option<Moment>,
}

/// What a choice goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Calls under way, over all instances.
    pub(super) in_flight: u32,
    /// Calls of this instance under way.
    pub(super) own: u32,
    /// The recent mean of its times, in milliseconds.
    pub(super) recent: Option<f64>,
    /// Larger the later it was called.
    pub(super) turn: u64,
    /// Milliseconds for which it is still left alone; none: it may be called.
    pub(super) open: Option<u64>,
    /// Whether it said a moment ago that it cannot take calls.
    pub(super) declined: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a result.
    Answered,
    /// With an error: who fails at once is not fast for that.
    Refused,
    /// By saying that it cannot take calls now.
    Declined,
    /// Without one.
    Silent,
    /// Nobody waited long enough to tell.
    Unknown,
}

/// All providers.
#[derive(Debug, Default)]
pub(super) struct Loads {
    known: HashMap<Provider, Known>,
    told: HashMap<String, (Moment, HashMap<Provider, u32>)>,
    turn: u64,
    changed: bool,
}

impl Loads {
    /// What is known of a provider.
    pub(super) fn of(&self, provider: &Provider, now: Moment) -> Load {
        let told = self
            .told
            .values()
            .filter(|(at, _)| now.since(*at) < TOLD_MILLIS)
            .filter_map(|(_, calls)| calls.get(provider))
            .fold(0, |sum: u32, count| sum.saturating_add(*count));
        let Some(known) = self.known.get(provider) else {
            return Load {
                in_flight: told,
                own: 0,
                recent: None,
                turn: 0,
                open: None,
                declined: false,
            };
        };
        let open = match known.open {
            Some(until) if now < until => Some(until.since(now)),
            // Until that call is back nobody else is sent there.
            Some(_) if known.trying => Some(0),
            _ => None,
        };
        Load {
            in_flight: known.under_way.saturating_add(told),
            own: known.under_way,
            recent: known.recent.map(|millis| millis * fading(now, known.last)),
            turn: known.turn,
            open,
            declined: known.declined.is_some_and(|until| now < until),
        }
    }

    /// A provider is called.
    pub(super) fn begin(&mut self, provider: &Provider, now: Moment) {
        let known = self.take_turn(provider, now);
        known.under_way += 1;
        known.trying = known.open.is_some();
        self.changed = true;
    }

    fn take_turn(&mut self, provider: &Provider, now: Moment) -> &mut Known {
        if self.known.len() >= SWEEP_AT {
            self.known
                .retain(|_, known| known.under_way > 0 || now.since(known.last) < KEPT_MILLIS);
        }
        self.turn += 1;
        let known = self.known.entry(provider.clone()).or_default();
        known.turn = self.turn;
        if known.under_way == 0 && known.recent.is_none() {
            known.last = now;
        }
        known
    }

    /// A caller is sent to a provider directly: it is not counted, but it is another one's turn.
    pub(super) fn named(&mut self, provider: &Provider, now: Moment) {
        self.take_turn(provider, now);
    }

    /// A call is over.
    pub(super) fn end(&mut self, provider: &Provider, took: f64, ended: Ended, now: Moment) {
        let Some(known) = self.known.get_mut(provider) else {
            return;
        };
        known.under_way = known.under_way.saturating_sub(1);
        self.changed = true;
        match ended {
            Ended::Answered | Ended::Refused | Ended::Declined => {
                known.declined = (ended == Ended::Declined).then(|| now.plus(DECLINED_MILLIS));
                if ended == Ended::Answered {
                    let before = known.recent.map(|millis| millis * fading(now, known.last));
                    known.recent =
                        Some(before.map_or(took, |before| before + RECENT_PART * (took - before)));
                    known.last = now;
                }
                known.failures = 0;
                known.open = None;
                known.open_millis = 0;
            }
            Ended::Silent => {
                known.last = now;
                known.failures = known.failures.saturating_add(1);
                if known.failures >= FAILURES_MAX && (known.open.is_none() || known.trying) {
                    known.open_millis =
                        (known.open_millis * 2).clamp(OPEN_MILLIS_MIN, OPEN_MILLIS_MAX);
                    known.open = Some(now.plus(known.open_millis));
                }
            }
            Ended::Unknown => {}
        }
        known.trying = false;
    }

    /// Another instance says what it has under way.
    pub(super) fn tell(&mut self, instance: String, calls: HashMap<Provider, u32>, now: Moment) {
        self.told.retain(|_, (at, _)| now.since(*at) < TOLD_MILLIS);
        if self.told.len() < INSTANCES_TOLD_MAX || self.told.contains_key(&instance) {
            self.told.insert(instance, (now, calls));
        }
    }

    /// What this instance has under way, if that has changed since it was asked last.
    pub(super) fn news(&mut self) -> Option<Vec<(Provider, u32)>> {
        std::mem::take(&mut self.changed).then(|| self.under_way())
    }

    /// What this instance has under way.
    pub(super) fn under_way(&self) -> Vec<(Provider, u32)> {
        let busy = self.known.iter().filter(|(_, known)| known.under_way > 0);
        busy.map(|(provider, known)| (provider.clone(), known.under_way))
            .collect()
    }
}

/// What is left of a mean that was last true then.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of an uptime are far below 2^52"
)]
fn fading(now: Moment, last: Moment) -> f64 {
    0.5_f64.powf(now.since(last) as f64 / RECENT_HALF_MILLIS)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn provider(n: u128) -> Provider {
        (Incarnation(Uuid::from_u128(n)), "add".parse().unwrap())
    }

    #[test]
    fn a_provider_that_does_not_answer_is_left_alone_and_tried_again() {
        let mut loads = Loads::default();
        let one = provider(1);
        let mut now = Moment(1_000);
        let call = |loads: &mut Loads, ended, now| {
            loads.begin(&one, now);
            loads.end(&one, 1.0, ended, now);
        };
        for _ in 1..FAILURES_MAX {
            call(&mut loads, Ended::Silent, now);
        }
        assert_eq!(loads.of(&one, now).open, None);
        // Whoever does not wait says nothing.
        call(&mut loads, Ended::Unknown, now);
        assert_eq!(loads.of(&one, now).open, None);
        call(&mut loads, Ended::Silent, now);
        assert_eq!(loads.of(&one, now).open, Some(OPEN_MILLIS_MIN));
        now = now.plus(OPEN_MILLIS_MIN);
        assert_eq!(loads.of(&one, now).open, None);
        // One call at a time finds out.
        loads.begin(&one, now);
        assert_eq!(loads.of(&one, now).open, Some(0));
        loads.end(&one, 1.0, Ended::Silent, now);
        assert_eq!(loads.of(&one, now).open, Some(OPEN_MILLIS_MIN * 2));
        for _ in 0..10 {
            now = now.plus(OPEN_MILLIS_MAX);
            call(&mut loads, Ended::Silent, now);
        }
        assert_eq!(loads.of(&one, now).open, Some(OPEN_MILLIS_MAX));
        now = now.plus(OPEN_MILLIS_MAX);
        call(&mut loads, Ended::Answered, now);
        assert_eq!(loads.of(&one, now).open, None);
        call(&mut loads, Ended::Silent, now);
        assert_eq!(loads.of(&one, now).open, None);
    }

    #[test]
    fn calls_that_were_under_way_do_not_lengthen_the_time() {
        let mut loads = Loads::default();
        let one = provider(1);
        let now = Moment(0);
        for _ in 0..20 {
            loads.begin(&one, now);
        }
        for at in 0..20 {
            loads.end(&one, 1.0, Ended::Silent, Moment(at * 10));
        }
        let opened = u64::from(FAILURES_MAX - 1) * 10;
        assert_eq!(
            loads.of(&one, Moment(opened)).open,
            Some(OPEN_MILLIS_MIN),
            "from the fifth on"
        );
    }

    #[test]
    fn who_refuses_at_once_is_not_fast_and_answers_all_the_same() {
        let mut loads = Loads::default();
        let one = provider(1);
        let now = Moment(0);
        let call = |loads: &mut Loads, took, ended| {
            loads.begin(&one, now);
            loads.end(&one, took, ended, now);
        };
        call(&mut loads, 50.0, Ended::Answered);
        for _ in 0..20 {
            call(&mut loads, 0.1, Ended::Refused);
        }
        assert_eq!(loads.of(&one, now).recent, Some(50.0));
        for _ in 0..FAILURES_MAX {
            call(&mut loads, 0.1, Ended::Silent);
            call(&mut loads, 0.1, Ended::Refused);
        }
        assert_eq!(loads.of(&one, now).open, None);
    }

    #[test]
    fn whoever_says_something_of_others_is_bounded() {
        let mut loads = Loads::default();
        let one = provider(1);
        for n in 0..INSTANCES_TOLD_MAX + 10 {
            let all = [(one.clone(), u32::MAX)].into();
            loads.tell(format!("{n}"), all, Moment(0));
        }
        assert_eq!(loads.told.len(), INSTANCES_TOLD_MAX);
        assert_eq!(loads.of(&one, Moment(1)).in_flight, u32::MAX);
        loads.tell("0".to_owned(), HashMap::new(), Moment(1));
        assert!(loads.told["0"].1.is_empty());
    }

    #[test]
    fn what_others_have_under_way_counts_for_a_while() {
        let mut loads = Loads::default();
        let (one, two) = (provider(1), provider(2));
        loads.begin(&one, Moment(0));
        assert_eq!(loads.news(), Some(vec![(one.clone(), 1)]));
        assert_eq!(loads.news(), None);
        loads.tell(
            "b".to_owned(),
            [(one.clone(), 3), (two.clone(), 2)].into(),
            Moment(0),
        );
        loads.tell("c".to_owned(), [(one.clone(), 1)].into(), Moment(0));
        assert_eq!(loads.of(&one, Moment(1)).in_flight, 5);
        assert_eq!(loads.of(&one, Moment(1)).own, 1);
        assert_eq!(loads.of(&two, Moment(1)).in_flight, 2);
        loads.tell("b".to_owned(), [(two.clone(), 1)].into(), Moment(2));
        assert_eq!(loads.of(&one, Moment(3)).in_flight, 2);
        assert_eq!(loads.of(&one, Moment(TOLD_MILLIS)).in_flight, 1);
        loads.end(&one, 1.0, Ended::Answered, Moment(4));
        assert_eq!(loads.news(), Some(Vec::new()));
    }

    #[test]
    fn a_mean_follows_and_fades() {
        let mut loads = Loads::default();
        let one = provider(1);
        let now = Moment(0);
        for _ in 0..100 {
            loads.begin(&one, now);
            loads.end(&one, 200.0, Ended::Answered, now);
        }
        let recent = |loads: &Loads, at| loads.of(&one, Moment(at)).recent.unwrap();
        assert!((recent(&loads, 0) - 200.0).abs() < 0.1);
        assert!((recent(&loads, 10_000) - 100.0).abs() < 0.1);
        for _ in 0..100 {
            loads.begin(&one, now);
            loads.end(&one, 10.0, Ended::Answered, now);
        }
        assert!((recent(&loads, 0) - 10.0).abs() < 0.1);
    }
}
