//! What providers have under way, how fast they answered lately, and whether they answer at all. No clock and
//! no NATS: times are arguments.

use std::collections::HashMap;

use onex_types::time::MonoMillis;

use super::{
    history::{Ended, History, Outlook},
    provider::Provider,
    queue::Queue,
};

/// Providers of which something is remembered, at most: of more, those that were not used for the longest time go.
/// Only calls under way count beyond that.
const PROVIDERS_REMEMBERED_MAX: usize = 16_384;
/// Other instances that are listened to, at most.
const INSTANCES_REPORTING_MAX: usize = 64;
/// What another instance said of its calls counts for this long, in milliseconds.
const REPORT_VALID_MILLIS: u64 = 3_000;

/// What this instance knows of a provider.
#[derive(Debug, Clone, Default)]
struct ProviderStats {
    /// Calls under way, those that are held among them.
    under_way: u32,
    /// Those of which nobody waits for the answer any more.
    held: u32,
    /// When it was called last, counted in calls of this instance.
    turn: u64,
    history: History,
}

/// What a choice goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Calls under way, over all instances.
    pub(super) in_flight: u32,
    /// Those of them that somebody waits for, as far as this instance knows.
    pub(super) awaited: u32,
    /// Calls of this instance under way, and places that are kept for calls which have waited.
    pub(super) own: u32,
    /// Calls of this instance that wait for it to have room.
    pub(super) queued: usize,
    /// The recent mean of its times, in milliseconds.
    pub(super) recent: Option<f64>,
    /// See [`History::measured`].
    pub(super) measured: Option<f64>,
    /// Larger the later it was called.
    pub(super) turn: u64,
    /// Milliseconds for which it is still left alone; none: it may be called.
    pub(super) open: Option<u64>,
    /// Whether it said a moment ago that it cannot take calls.
    pub(super) declined: bool,
    pub(super) outlook: Outlook,
}

/// All providers.
#[derive(Debug, Default)]
pub(super) struct Loads {
    providers: HashMap<Provider, ProviderStats>,
    reported: HashMap<String, (MonoMillis, HashMap<Provider, u32>)>,
    /// Calls that wait until a provider has room.
    pub(super) queue: Queue,
    turn: u64,
    /// Room is made when so many are remembered.
    full: usize,
    changed: bool,
}

impl Loads {
    /// What is known of a provider.
    pub(super) fn of(&self, provider: &Provider, now: MonoMillis) -> Load {
        let reported = self
            .reported
            .values()
            .filter(|(at, _)| now.since(*at) < REPORT_VALID_MILLIS)
            .filter_map(|(_, calls)| calls.get(provider))
            .fold(0, |sum: u32, count| sum.saturating_add(*count));
        let unknown = ProviderStats::default();
        let stats = self.providers.get(provider).unwrap_or(&unknown);
        Load {
            in_flight: stats.under_way.saturating_add(reported),
            awaited: stats
                .under_way
                .saturating_sub(stats.held)
                .saturating_add(reported),
            own: stats.under_way.saturating_add(self.queue.given(provider)),
            queued: self.queue.others(provider, None),
            recent: stats.history.recent(now),
            measured: stats.history.measured(now),
            turn: stats.turn,
            open: stats.history.open(now),
            declined: stats.history.declined(now),
            outlook: stats.history.outlook(now),
        }
    }

    /// A provider is called.
    pub(super) fn begin(&mut self, provider: &Provider) {
        let stats = self.take_turn(provider);
        stats.under_way += 1;
        stats.history.called();
        self.changed = true;
    }

    fn take_turn(&mut self, provider: &Provider) -> &mut ProviderStats {
        if self.providers.len() >= self.full.max(PROVIDERS_REMEMBERED_MAX) {
            self.make_room();
        }
        self.turn += 1;
        let stats = self.providers.entry(provider.clone()).or_default();
        stats.turn = self.turn;
        stats
    }

    /// Forgets so many at once that it is seldom done: it looks at all of them.
    fn make_room(&mut self) {
        let idle = self.providers.values().filter(|stats| stats.under_way == 0);
        let mut turns: Vec<u64> = idle.map(|stats| stats.turn).collect();
        let excess = self
            .providers
            .len()
            .saturating_sub(PROVIDERS_REMEMBERED_MAX / 2);
        if let Some(last) = excess.min(turns.len()).checked_sub(1) {
            let newest_gone = *turns.select_nth_unstable(last).1;
            self.providers
                .retain(|_, stats| stats.under_way > 0 || stats.turn > newest_gone);
        }
        self.full = self.providers.len() * 2;
    }

    /// A caller is sent to a provider directly: it is not counted, but it is another one's turn.
    pub(super) fn resolved(&mut self, provider: &Provider) {
        self.take_turn(provider);
    }

    /// A call is over.
    pub(super) fn end(&mut self, provider: &Provider, took: f64, ended: Ended, now: MonoMillis) {
        let Some(stats) = self.providers.get_mut(provider) else {
            return;
        };
        stats.under_way = stats.under_way.saturating_sub(1);
        self.changed = true;
        stats.history.ended(took, ended, now);
        self.queue.give(provider);
    }

    /// A call is over for its caller, and the provider may still work on it: it keeps its place.
    pub(super) fn hold(&mut self, provider: &Provider, took: f64, ended: Ended, now: MonoMillis) {
        if let Some(stats) = self.providers.get_mut(provider) {
            stats.held += 1;
            stats.history.ended(took, ended, now);
        }
    }

    /// A provider has answered a call that is over for its caller.
    pub(super) fn answered_late(&mut self, provider: &Provider, took: f64, now: MonoMillis) {
        if let Some(stats) = self.providers.get_mut(provider) {
            stats.history.answered_late(took, now);
        }
    }

    /// A place that was held is free.
    pub(super) fn release(&mut self, provider: &Provider) {
        if let Some(stats) = self.providers.get_mut(provider) {
            stats.held = stats.held.saturating_sub(1);
            stats.under_way = stats.under_way.saturating_sub(1);
            self.changed = true;
            self.queue.give(provider);
        }
    }

    /// A place that was given is not wanted any more, or is taken: it goes to the next one if there is still room.
    pub(super) fn pass_on(&mut self, provider: &Provider, provider_max: u32) {
        self.queue.taken(provider);
        let under_way = self
            .providers
            .get(provider)
            .map_or(0, |stats| stats.under_way);
        if under_way.saturating_add(self.queue.given(provider)) < provider_max {
            self.queue.give(provider);
        }
    }

    /// Another instance says what it has under way.
    pub(super) fn report(
        &mut self,
        instance: String,
        calls: HashMap<Provider, u32>,
        now: MonoMillis,
    ) {
        self.reported
            .retain(|_, (at, _)| now.since(*at) < REPORT_VALID_MILLIS);
        if self.reported.len() < INSTANCES_REPORTING_MAX || self.reported.contains_key(&instance) {
            self.reported.insert(instance, (now, calls));
        }
    }

    /// What this instance has under way, if that has changed since it was asked last.
    pub(super) fn changes(&mut self) -> Option<Vec<(Provider, u32)>> {
        std::mem::take(&mut self.changed).then(|| self.under_way())
    }

    /// What this instance has under way.
    pub(super) fn under_way(&self) -> Vec<(Provider, u32)> {
        let busy = self
            .providers
            .iter()
            .filter(|(_, stats)| stats.under_way > 0);
        busy.map(|(provider, stats)| (provider.clone(), stats.under_way))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::registry::invoke::history::{
        BAD_MAX, DOUBTED_MILLIS_MAX, DOUBTED_MILLIS_MIN, FAILURES_MAX, OPEN_MILLIS_MAX,
        OPEN_MILLIS_MIN, SHOWN_MILLIS_MAX,
    };
    use onex_types::ids::Incarnation;

    const SILENT: Ended = Ended::Silent(Duration::from_secs(1));
    const SHORT: Ended = Ended::Silent(Duration::from_millis(300));

    fn provider(n: u128) -> Provider {
        (Incarnation(Uuid::from_u128(n)), "add".parse().unwrap())
    }

    #[test]
    fn a_provider_that_does_not_answer_is_left_alone_and_tried_again() {
        let mut loads = Loads::default();
        let one = provider(1);
        let mut now = MonoMillis(1_000);
        let call = |loads: &mut Loads, ended, now| {
            loads.begin(&one);
            loads.end(&one, 1.0, ended, now);
        };
        for _ in 1..FAILURES_MAX {
            call(&mut loads, SILENT, now);
        }
        assert_eq!(loads.of(&one, now).open, None);
        // Whoever does not wait says nothing.
        call(&mut loads, Ended::Unknown, now);
        assert_eq!(loads.of(&one, now).open, None);
        call(&mut loads, SILENT, now);
        assert_eq!(loads.of(&one, now).open, Some(OPEN_MILLIS_MIN));
        now = now.plus(OPEN_MILLIS_MIN);
        assert_eq!(loads.of(&one, now).open, None);
        // One call at a time finds out.
        loads.begin(&one);
        assert_eq!(loads.of(&one, now).open, Some(0));
        loads.end(&one, 1.0, SILENT, now);
        assert_eq!(loads.of(&one, now).open, Some(OPEN_MILLIS_MIN * 2));
        for _ in 0..10 {
            now = now.plus(OPEN_MILLIS_MAX);
            call(&mut loads, SILENT, now);
        }
        assert_eq!(loads.of(&one, now).open, Some(OPEN_MILLIS_MAX));
        now = now.plus(OPEN_MILLIS_MAX);
        call(&mut loads, Ended::Answered, now);
        assert_eq!(loads.of(&one, now).open, None);
        call(&mut loads, SILENT, now);
        assert_eq!(loads.of(&one, now).open, None);
    }

    #[test]
    fn calls_that_were_under_way_do_not_lengthen_the_time() {
        let mut loads = Loads::default();
        let one = provider(1);
        for _ in 0..20 {
            loads.begin(&one);
        }
        for at in 0..20 {
            loads.end(&one, 1.0, SILENT, MonoMillis(at * 10));
        }
        let opened = u64::from(FAILURES_MAX - 1) * 10;
        assert_eq!(
            loads.of(&one, MonoMillis(opened)).open,
            Some(OPEN_MILLIS_MIN),
            "from the fifth on"
        );
    }

    #[test]
    fn who_refuses_at_once_is_not_fast_and_answers_all_the_same() {
        let mut loads = Loads::default();
        let one = provider(1);
        let now = MonoMillis(0);
        let call = |loads: &mut Loads, took, ended| {
            loads.begin(&one);
            loads.end(&one, took, ended, now);
        };
        call(&mut loads, 50.0, Ended::Answered);
        for _ in 0..20 {
            call(&mut loads, 0.1, Ended::Refused);
        }
        assert_eq!(loads.of(&one, now).recent, Some(50.0));
        for _ in 0..FAILURES_MAX {
            call(&mut loads, 0.1, SILENT);
            call(&mut loads, 0.1, Ended::Refused);
        }
        assert_eq!(loads.of(&one, now).open, None);
    }

    #[test]
    fn whoever_says_something_of_others_is_bounded() {
        let mut loads = Loads::default();
        let one = provider(1);
        for n in 0..INSTANCES_REPORTING_MAX + 10 {
            let all = [(one.clone(), u32::MAX)].into();
            loads.report(format!("{n}"), all, MonoMillis(0));
        }
        assert_eq!(loads.reported.len(), INSTANCES_REPORTING_MAX);
        assert_eq!(loads.of(&one, MonoMillis(1)).in_flight, u32::MAX);
        loads.report("0".to_owned(), HashMap::new(), MonoMillis(1));
        assert!(loads.reported["0"].1.is_empty());
    }

    #[test]
    fn what_others_have_under_way_counts_for_a_while() {
        let mut loads = Loads::default();
        let (one, two) = (provider(1), provider(2));
        loads.begin(&one);
        assert_eq!(loads.changes(), Some(vec![(one.clone(), 1)]));
        assert_eq!(loads.changes(), None);
        loads.report(
            "b".to_owned(),
            [(one.clone(), 3), (two.clone(), 2)].into(),
            MonoMillis(0),
        );
        loads.report("c".to_owned(), [(one.clone(), 1)].into(), MonoMillis(0));
        assert_eq!(loads.of(&one, MonoMillis(1)).in_flight, 5);
        assert_eq!(loads.of(&one, MonoMillis(1)).own, 1);
        assert_eq!(loads.of(&two, MonoMillis(1)).in_flight, 2);
        loads.report("b".to_owned(), [(two.clone(), 1)].into(), MonoMillis(2));
        assert_eq!(loads.of(&one, MonoMillis(3)).in_flight, 2);
        assert_eq!(loads.of(&one, MonoMillis(REPORT_VALID_MILLIS)).in_flight, 1);
        loads.end(&one, 1.0, Ended::Answered, MonoMillis(4));
        assert_eq!(loads.changes(), Some(Vec::new()));
    }

    #[test]
    fn a_mean_follows_and_fades() {
        let mut loads = Loads::default();
        let one = provider(1);
        let now = MonoMillis(0);
        for _ in 0..100 {
            loads.begin(&one);
            loads.end(&one, 200.0, Ended::Answered, now);
        }
        let recent = |loads: &Loads, at| loads.of(&one, MonoMillis(at)).recent.unwrap();
        let shown = |loads: &Loads, at| loads.of(&one, MonoMillis(at)).measured;
        // What is shown was measured, or nothing is.
        for at in [0, 10_000, SHOWN_MILLIS_MAX] {
            assert_eq!(shown(&loads, at), Some(200.0), "{at}");
        }
        assert_eq!(shown(&loads, SHOWN_MILLIS_MAX + 1), None);
        assert!((recent(&loads, 0) - 200.0).abs() < 0.1);
        assert!((recent(&loads, 10_000) - 100.0).abs() < 0.1);
        for _ in 0..100 {
            loads.begin(&one);
            loads.end(&one, 10.0, Ended::Answered, now);
        }
        assert!((recent(&loads, 0) - 10.0).abs() < 0.1);
    }

    #[test]
    fn who_only_fails_is_asked_after_others_and_tried_again_ever_later() {
        for bad in [Ended::Refused, Ended::Unheard, SHORT] {
            let mut loads = Loads::default();
            let one = provider(1);
            let outlook = |loads: &Loads, now| loads.of(&one, now).outlook;
            let call = |loads: &mut Loads, ended, now| {
                loads.begin(&one);
                loads.end(&one, 1.0, ended, now);
            };
            let mut now = MonoMillis(1_000);
            assert_eq!(outlook(&loads, now), Outlook::Good, "never asked");
            call(&mut loads, Ended::Unknown, now);
            assert_eq!(outlook(&loads, now), Outlook::Good, "nothing came of it");
            let mut wait = DOUBTED_MILLIS_MIN;
            for _ in 0..6 {
                call(&mut loads, bad, now);
                // Nobody lengthens that by asking in spite of it.
                call(&mut loads, bad, now.plus(wait - 1));
                assert_eq!(outlook(&loads, now.plus(wait - 1)), Outlook::Doubted);
                now = now.plus(wait);
                assert_eq!(outlook(&loads, now), Outlook::Due);
                wait = (wait * 2).min(DOUBTED_MILLIS_MAX);
            }
            call(&mut loads, Ended::Answered, now);
            assert_eq!(outlook(&loads, now), Outlook::Good);
        }
    }

    /// Calls that had waited for their turn have little time left.
    #[test]
    fn who_is_given_less_time_than_it_takes_does_not_fail() {
        let mut loads = Loads::default();
        let one = provider(1);
        let mut now = MonoMillis(1_000);
        let mut call = |loads: &mut Loads, took: f64, ended| {
            loads.begin(&one);
            loads.end(&one, took, ended, now);
            now = now.plus(1_500);
            loads.of(&one, now).open
        };
        call(&mut loads, 2_000.0, Ended::Answered);
        let hurried = Ended::Silent(Duration::from_millis(1_500));
        for _ in 0..FAILURES_MAX * 2 {
            assert_eq!(call(&mut loads, 1_500.0, hurried), None);
        }
        let patient = Ended::Silent(Duration::from_millis(2_500));
        for _ in 1..FAILURES_MAX {
            assert_eq!(call(&mut loads, 2_500.0, patient), None);
        }
        assert!(call(&mut loads, 2_500.0, patient).is_some());
    }

    #[test]
    fn who_answers_well_may_fail_now_and_then() {
        let mut loads = Loads::default();
        let one = provider(1);
        let now = MonoMillis(0);
        let mut call = |ended, times, wanted| {
            for _ in 0..times {
                loads.begin(&one);
                loads.end(&one, 1.0, ended, now);
            }
            assert_eq!(loads.of(&one, now).outlook, wanted, "{times} {ended:?}");
        };
        call(Ended::Answered, 1, Outlook::Good);
        for _ in 0..3 {
            call(Ended::Refused, BAD_MAX - 1, Outlook::Good);
            call(Ended::Declined, 1, Outlook::Good);
            call(Ended::Answered, 1, Outlook::Good);
        }
        call(Ended::Refused, BAD_MAX, Outlook::Doubted);
        call(Ended::Answered, 1, Outlook::Good);
    }

    #[test]
    fn short_silences_add_up() {
        let mut loads = Loads::default();
        let one = provider(1);
        let mut now = MonoMillis(1_000);
        let mut call = |loads: &mut Loads, ended| {
            now = now.plus(300);
            loads.begin(&one);
            loads.end(&one, 300.0, ended, now);
            now
        };
        let times = 4 * FAILURES_MAX;
        for _ in 1..times {
            let now = call(&mut loads, SHORT);
            assert_eq!(loads.of(&one, now).open, None);
        }
        call(&mut loads, Ended::Refused);
        for _ in 1..times {
            let now = call(&mut loads, SHORT);
            assert_eq!(loads.of(&one, now).open, None, "it had answered");
        }
        let opened = call(&mut loads, SHORT);
        assert_eq!(loads.of(&one, opened).open, Some(OPEN_MILLIS_MIN));
        // The one that finds out waits as shortly, and that is enough.
        let later = opened.plus(OPEN_MILLIS_MIN);
        assert_eq!(loads.of(&one, later).open, None);
        loads.begin(&one);
        loads.end(&one, 300.0, SHORT, later);
        assert_eq!(loads.of(&one, later).open, Some(OPEN_MILLIS_MIN * 2));
    }

    #[test]
    fn silences_at_the_same_time_are_one() {
        let mut loads = Loads::default();
        let one = provider(1);
        for at in 0..100 {
            loads.begin(&one);
            loads.end(&one, 300.0, SHORT, MonoMillis(1_000 + at));
        }
        assert_eq!(loads.of(&one, MonoMillis(1_100)).open, None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes() {
        let mut loads = Loads::default();
        let call = |loads: &mut Loads, n: usize| {
            let one = provider(n as u128);
            loads.begin(&one);
            loads.end(&one, 1.0, Ended::Answered, MonoMillis(0));
        };
        let (busy, used) = (provider(u128::MAX), provider(u128::MAX - 1));
        loads.begin(&busy);
        let mut cleared = 0;
        for n in 0..PROVIDERS_REMEMBERED_MAX * 2 {
            let before = loads.providers.len();
            call(&mut loads, n);
            loads.resolved(&used);
            assert!(loads.providers.len() <= PROVIDERS_REMEMBERED_MAX);
            cleared += usize::from(loads.providers.len() < before);
        }
        assert!((1..=4).contains(&cleared), "{cleared} times");
        assert_eq!(loads.of(&busy, MonoMillis(0)).own, 1);
        assert!(loads.of(&used, MonoMillis(0)).turn > 0);
        let remembered = |n: usize| loads.providers.contains_key(&provider(n as u128));
        assert!(!remembered(0) && remembered(PROVIDERS_REMEMBERED_MAX * 2 - 1));
    }

    #[test]
    fn calls_under_way_are_not_forgotten_however_many() {
        let mut loads = Loads::default();
        let all = PROVIDERS_REMEMBERED_MAX * 2 + 1;
        for n in 0..all {
            loads.begin(&provider(n as u128));
        }
        assert_eq!(loads.under_way().len(), all);
        // They are not all looked at again for each that comes.
        assert!(loads.full > all);
    }
}
