//! Turns for work that takes long: a bounded number at a time, shared fairly between those who ask for it.
//!
//! Each asker has a line of its own, and what its turns took is measured. The next turn goes to the line that has had the
//! least, and of those that are equal to whoever came first. So somebody who has just come waits for the work that is being
//! done, and for others who have had no more, but not for what those have waiting who have had some.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::domain::ids::RequesterId;

/// Askers of which a lane remembers what they have had; of more it forgets those that have nothing waiting.
const LINES_KEPT_MAX: usize = 4_096;
/// So far is somebody who has just come ahead of those who are served all the time, in microseconds of work; no further, so
/// that ever new askers do not keep others waiting for ever.
const AHEAD_MICROS_MAX: u64 = 2_000_000;
/// Smaller differences between what two have had do not count, in microseconds.
const GRAIN_MICROS: u64 = 50_000;

/// Whose work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// Whoever sent the request: see [`Callers::number`](super::callers::Callers::number).
    Caller(u64),
    /// Whoever announced a contract.
    Requester(RequesterId),
}

/// Work of one kind.
pub(super) struct Lane {
    /// How much is done at the same time.
    turns_max: usize,
    lines: Mutex<Lines>,
}

/// Leave to work, until it is dropped.
pub(super) struct Turn {
    /// None for one that was not taken.
    lane: Option<Arc<Lane>>,
    asker: Asker,
    since: Instant,
}

/// Who waits, who works, and what each has had.
#[derive(Default)]
struct Lines {
    running: usize,
    /// What a line has had, in microseconds, that has waited or worked all the time.
    level: u64,
    arrivals: u64,
    by_asker: HashMap<Asker, Line>,
}

/// One asker's work.
#[derive(Default)]
struct Line {
    /// In microseconds.
    served: u64,
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    arrival: u64,
    tell: oneshot::Sender<Turn>,
}

impl Lane {
    pub(super) fn new(turns_max: usize) -> Arc<Self> {
        Arc::new(Self {
            turns_max,
            lines: Mutex::default(),
        })
    }

    /// Waits for a turn. There always is one: nobody closes a lane.
    pub(super) async fn turn(self: &Arc<Self>, asker: Asker) -> Option<Turn> {
        let (tell, told) = oneshot::channel();
        let arrival = {
            let mut lines = self.lock();
            let arrival = lines.enter(asker, tell);
            self.give(&mut lines);
            arrival
        };
        let _in_line = InLine {
            lane: self,
            asker,
            arrival,
        };
        told.await.ok()
    }

    /// Gives as many turns as there are.
    fn give(self: &Arc<Self>, lines: &mut Lines) {
        while lines.running < self.turns_max {
            let Some((asker, tell)) = lines.next(self.turns_of_one_max()) else {
                break;
            };
            let turn = Turn {
                lane: Some(Arc::clone(self)),
                asker,
                since: Instant::now(),
            };
            match tell.send(turn) {
                Ok(()) => lines.begin(asker),
                // Whoever waited is gone.
                Err(mut turn) => turn.lane = None,
            }
        }
        if lines.running == 0 {
            *lines = Lines {
                arrivals: lines.arrivals,
                ..Lines::default()
            };
        }
    }

    /// One asker leaves a turn to others, where there is more than one.
    fn turns_of_one_max(&self) -> usize {
        self.turns_max.saturating_sub(1).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a turn, or has just been given one.
struct InLine<'a> {
    lane: &'a Lane,
    asker: Asker,
    arrival: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.lane.lock().leave(self.asker, self.arrival);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else {
            return;
        };
        let took = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut lines = lane.lock();
        lines.end(self.asker, took);
        lane.give(&mut lines);
    }
}

impl Lines {
    fn enter(&mut self, asker: Asker, tell: oneshot::Sender<Turn>) -> u64 {
        if self.by_asker.len() >= LINES_KEPT_MAX {
            self.by_asker.retain(|_, line| line.is_busy());
        }
        self.arrivals += 1;
        let line = self.by_asker.entry(asker).or_default();
        if !line.is_busy() {
            let ahead = self.level.saturating_sub(AHEAD_MICROS_MAX);
            line.served = line.served.max(ahead);
        }
        line.waiting.push_back(Waiting {
            arrival: self.arrivals,
            tell,
        });
        self.arrivals
    }

    /// Whoever waits no longer leaves its line.
    fn leave(&mut self, asker: Asker, arrival: u64) {
        if let Some(line) = self.by_asker.get_mut(&asker)
            && let Ok(at) = line
                .waiting
                .binary_search_by_key(&arrival, |waiting| waiting.arrival)
        {
            line.waiting.remove(at);
        }
    }

    /// Takes whoever is next out of its line.
    fn next(&mut self, turns_of_one_max: usize) -> Option<(Asker, oneshot::Sender<Turn>)> {
        let may = |(asker, line): (&Asker, &Line)| {
            let first = line.waiting.front()?;
            let had = line.served / GRAIN_MICROS;
            (line.running < turns_of_one_max).then_some((had, first.arrival, *asker))
        };
        let (_, _, asker) = self
            .by_asker
            .iter()
            .filter_map(may)
            .min_by_key(|(had, arrival, _)| (*had, *arrival))?;
        let first = self.by_asker.get_mut(&asker)?.waiting.pop_front()?;
        Some((asker, first.tell))
    }

    fn begin(&mut self, asker: Asker) {
        self.running += 1;
        if let Some(line) = self.by_asker.get_mut(&asker) {
            line.running += 1;
        }
    }

    fn end(&mut self, asker: Asker, took: u64) {
        let busy = self.by_asker.values().filter(|line| line.is_busy()).count();
        // The part of it that each had who could have had some.
        let part = took / u64::try_from(busy).unwrap_or(u64::MAX).max(1);
        self.level = self.level.saturating_add(part);
        self.running = self.running.saturating_sub(1);
        if let Some(line) = self.by_asker.get_mut(&asker) {
            line.running = line.running.saturating_sub(1);
            line.served = line.served.saturating_add(took);
        }
    }
}

impl Line {
    fn is_busy(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets a turn, one after the other, where each takes as long as `took` says; new work may come meanwhile.
    struct Run {
        lines: Lines,
        told: Vec<oneshot::Receiver<Turn>>,
    }

    impl Run {
        fn new() -> Self {
            Self {
                lines: Lines::default(),
                told: Vec::new(),
            }
        }

        fn enter(&mut self, asker: u64) {
            let (tell, told) = oneshot::channel();
            self.told.push(told);
            self.lines.enter(Asker::Caller(asker), tell);
        }

        fn serve(&mut self, took: u64) -> Option<u64> {
            self.serve_as(|_| took)
        }

        fn serve_as(&mut self, took: impl Fn(u64) -> u64) -> Option<u64> {
            let (asker, _) = self.lines.next(1)?;
            let Asker::Caller(number) = asker else {
                return None;
            };
            self.lines.begin(asker);
            self.lines.end(asker, took(number));
            Some(number)
        }
    }

    const MILLIS: u64 = 1_000;

    #[tokio::test]
    async fn whoever_waits_no_longer_is_not_in_line() {
        let lane = Lane::new(1);
        let asker = Asker::Caller(1);
        let turn = lane.turn(asker).await;
        for _ in 0..1_000 {
            let waiting = tokio::time::timeout(std::time::Duration::ZERO, lane.turn(asker));
            assert!(waiting.await.is_err());
        }
        assert!(lane.lock().by_asker[&asker].waiting.is_empty());
        drop(turn);
        assert!(lane.turn(asker).await.is_some());
    }

    #[test]
    fn newcomer_is_next_however_much_one_has_waiting() {
        let mut run = Run::new();
        (0..1_000).for_each(|_| run.enter(1));
        assert_eq!(run.serve(100 * MILLIS), Some(1));
        run.enter(2);
        assert_eq!(run.serve(100 * MILLIS), Some(2));
        assert_eq!(run.serve(100 * MILLIS), Some(1));
    }

    #[test]
    fn newcomer_is_next_however_many_have_been_served_before() {
        let mut run = Run::new();
        (0..40).for_each(|asker| run.enter(asker));
        for round in 0..1_000 {
            let served = run.serve((100 + round % 7) * MILLIS).unwrap();
            run.enter(served);
        }
        // For several pieces of work one after the other.
        for _ in 0..4 {
            run.enter(1_000);
            assert_eq!(run.serve(100 * MILLIS), Some(1_000));
        }
    }

    #[test]
    fn who_takes_less_comes_more_often() {
        let mut run = Run::new();
        (0..100).for_each(|_| run.enter(1));
        (0..100).for_each(|_| run.enter(2));
        let mut served = [0; 3];
        for _ in 0..60 {
            let asker = run.serve_as(|asker| if asker == 1 { 900 } else { 100 } * MILLIS);
            served[usize::try_from(asker.unwrap()).unwrap()] += 1;
        }
        assert!(served[2] >= 8 * served[1], "{served:?}");
    }

    #[test]
    fn those_who_come_all_the_time_do_not_keep_one_waiting_for_ever() {
        let mut run = Run::new();
        run.enter(0);
        run.enter(1);
        assert_eq!(run.serve(1_000 * MILLIS), Some(0));
        run.enter(0);
        let mut asker = 2;
        let served = (0..1_000).position(|_| {
            run.enter(asker);
            asker += 1;
            run.serve(100 * MILLIS) == Some(0)
        });
        assert!(served.is_some(), "{served:?}");
    }

    #[test]
    fn those_who_have_had_about_the_same_are_served_as_they_came() {
        let mut run = Run::new();
        run.enter(1);
        assert_eq!(run.serve(10 * MILLIS), Some(1));
        run.enter(1);
        run.enter(2);
        assert_eq!(run.serve(10 * MILLIS), Some(1));
        assert_eq!(run.serve(10 * MILLIS), Some(2));
    }

    #[tokio::test]
    async fn one_leaves_a_turn_to_others_and_whoever_is_gone_takes_none() {
        let lane = Lane::new(3);
        let (one, other) = (Asker::Caller(1), Asker::Caller(2));
        let first = lane.turn(one).await;
        let second = lane.turn(one).await;
        let third = lane.turn(one);
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        {
            let mut gone = Box::pin(lane.turn(one));
            assert!(futures::poll!(&mut gone).is_pending());
        }
        let others = lane.turn(other).await;
        drop(first);
        let third = third.await;
        assert_eq!(lane.lock().running, 3);
        drop((third, second));
        assert_eq!(lane.lock().running, 1);
        drop(others);
        assert!(lane.lock().by_asker.is_empty());
    }
}
