//! How often a node's tools were run, folded from the stream of events: each run counts once. Whoever folds, the record
//! says up to where it has come; and however often the stream says that a run has ended, the first time counts.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{ExecutionId, NodeId},
    record::Unknown,
    time::{Moment, slack},
};

/// Runs that began and have not ended, at most, whose ends are waited for; beyond that nobody tells of one whose
/// instance is gone.
pub const OPEN_MAX: usize = 65_536;
/// For how long beyond its time the end of a run may be on its way into the stream, in milliseconds: it waits in the
/// memory of the instance until that can publish it.
pub const LATE_MILLIS_MAX: u64 = 10_000;
/// How far behind it, in positions of the stream, the end of a run may be said again and is known to be: for so long it
/// is remembered, in some ten megabytes at most. Beyond that it counts again, and its begin opens a run that does not end.
pub const REPEAT_POSITIONS_MAX: u64 = 131_072;

/// What one `exec.<id>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The counts.
    pub counts: Counts,
}

/// What became of the runs of a node's tools, up to a place in the stream of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Runs that have ended, or of which nobody knows; none that certainly did not happen.
    pub execution_count: u64,
    /// Those that were answered well.
    pub success_count: u64,
    /// When the last of them ended, for people.
    pub last_execution: Timestamp,
    /// Which stream of events: when it was made, in milliseconds since 1970.
    pub stream: u64,
    /// Every end up to there is counted.
    pub through: u64,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Up to where the stream of events is folded into the counts of all nodes, under `sys.executions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// [`FORMAT`](super::record::FORMAT).
    pub format: u32,
    /// Which stream of events.
    pub stream: u64,
    /// Every run that began up to there has ended, and is counted.
    pub through: u64,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Ends of runs of one node's tools that are to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Whose.
    pub node_id: NodeId,
    /// Which stream of events.
    pub stream: u64,
    /// In the order of the stream.
    pub ends: Vec<Ended>,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Where in the stream of events.
    pub position: u64,
    /// When, for people.
    pub at: Timestamp,
    /// Whether it was answered well.
    pub success: bool,
}

/// What the stream of events says of a run.
#[derive(Debug, Clone)]
pub enum Event<T> {
    /// It began, and this instance is to tell of its end if nobody else does.
    Began {
        /// How long it may run, in milliseconds.
        timeout_ms: u64,
        /// What is told of it.
        told: T,
    },
    /// It began, and its end is told whatever happens.
    BeganNamed,
    /// It ended.
    Ended {
        /// Whose tool was run; none when it certainly was not.
        of: Option<NodeId>,
        /// When, for people.
        at: Timestamp,
        /// Whether it was answered well.
        success: bool,
    },
}

/// The stream of events as far as it has been read, and what of it is not in the records yet. `T` is what is told of
/// a run.
#[derive(Debug)]
pub struct Fold<T> {
    stream: u64,
    read: u64,
    open: BTreeMap<ExecutionId, Open<T>>,
    ends: Ends,
    uncounted: BTreeMap<NodeId, Vec<Ended>>,
}

/// Runs of which the last [`REPEAT_POSITIONS_MAX`] positions of the stream say that they have ended: the same for all
/// who have read those, whenever they began to.
#[derive(Debug, Default)]
struct Ends {
    /// Where that was said last.
    last: BTreeMap<ExecutionId, u64>,
    /// All places where it was said, in the order of the stream.
    said: VecDeque<(u64, ExecutionId)>,
}

#[derive(Debug)]
struct Open<T> {
    position: u64,
    due: Moment,
    told: T,
}

impl Counts {
    /// The share of runs that were answered well, 0 to 1; none where there were none.
    pub fn success_rate(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is not exact to the last digit"
        )]
        (self.execution_count > 0).then(|| self.success_count as f64 / self.execution_count as f64)
    }

    /// With those of the ends that are not in it; none when all are.
    pub fn with(before: Option<&Self>, tally: &Tally) -> Option<Self> {
        let same = before.filter(|before| before.stream == tally.stream);
        let through = same.map_or(0, |before| before.through);
        let mut counts: Option<Self> = None;
        for end in tally.ends.iter().filter(|end| end.position > through) {
            let counts = counts.get_or_insert_with(|| Self {
                execution_count: before.map_or(0, |before| before.execution_count),
                success_count: before.map_or(0, |before| before.success_count),
                last_execution: end.at,
                stream: tally.stream,
                through,
                unknown: before
                    .map(|before| before.unknown.clone())
                    .unwrap_or_default(),
            });
            counts.execution_count += 1;
            counts.success_count += u64::from(end.success);
            counts.last_execution = end.at;
            counts.through = end.position;
        }
        counts
    }
}

impl Ends {
    /// That run has ended, the stream says at `position`; whether it is the first time.
    fn is_first(&mut self, position: u64, id: ExecutionId) -> bool {
        let since = position.saturating_sub(REPEAT_POSITIONS_MAX);
        while let Some((said, old)) = self.said.pop_front_if(|(said, _)| *said < since) {
            if self.last.get(&old) == Some(&said) {
                self.last.remove(&old);
            }
        }
        self.said.push_back((position, id));
        self.last.insert(id, position).is_none()
    }
}

impl<T: Clone> Fold<T> {
    /// Reads on behind `read`: all up to there is in the records, and only [remembered](Self::reads_behind).
    pub fn new(stream: u64, read: u64) -> Self {
        Self {
            stream,
            read,
            open: BTreeMap::new(),
            ends: Ends::default(),
            uncounted: BTreeMap::new(),
        }
    }

    /// Which stream of events.
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// Behind where it has to be shown the stream, so that it knows the ends that may be said again.
    pub fn reads_behind(&self) -> u64 {
        self.read.saturating_sub(REPEAT_POSITIONS_MAX)
    }

    /// The stream says that of a run, at `position`.
    pub fn see(&mut self, position: u64, id: ExecutionId, event: Event<T>, now: Moment) {
        let recorded = position <= self.read;
        self.read = self.read.max(position);
        match event {
            Event::Began { .. } if recorded || self.ends.last.contains_key(&id) => {}
            Event::Began { timeout_ms, told } if self.open.len() < OPEN_MAX => {
                let lasts = timeout_ms + slack(timeout_ms) + LATE_MILLIS_MAX;
                let open = Open {
                    position,
                    due: now.plus(lasts),
                    told,
                };
                self.open.entry(id).or_insert(open);
            }
            Event::Began { .. } | Event::BeganNamed => {}
            Event::Ended { of, at, success } => {
                self.open.remove(&id);
                if self.ends.is_first(position, id)
                    && !recorded
                    && let Some(node_id) = of
                {
                    self.uncounted.entry(node_id).or_default().push(Ended {
                        position,
                        at,
                        success,
                    });
                }
            }
        }
    }

    /// How many ends are not counted yet.
    pub fn uncounted(&self) -> usize {
        self.uncounted.values().map(Vec::len).sum()
    }

    /// What is to be counted.
    pub fn tallies(&self) -> Vec<Tally> {
        let tally = |(node_id, ends): (&NodeId, &Vec<Ended>)| Tally {
            node_id: node_id.clone(),
            stream: self.stream,
            ends: ends.clone(),
        };
        self.uncounted.iter().map(tally).collect()
    }

    /// That is in the node's record now.
    pub fn counted(&mut self, tally: &Tally) {
        let through = tally.ends.last().map_or(0, |end| end.position);
        if let Some(ends) = self.uncounted.get_mut(&tally.node_id) {
            ends.retain(|end| end.position > through);
            if ends.is_empty() {
                self.uncounted.remove(&tally.node_id);
            }
        }
    }

    /// Up to where all that the stream says is in the records, and every run has ended.
    pub fn through(&self) -> u64 {
        let open = self.open.values().map(|open| open.position);
        let uncounted = self.uncounted.values().filter_map(|ends| ends.first());
        let first = open.chain(uncounted.map(|end| end.position)).min();
        first.map_or(self.read, |first| first.saturating_sub(1))
    }

    /// Runs whose time has been up for long enough: nobody else tells of their ends any more.
    pub fn overdue(&self, now: Moment) -> Vec<(ExecutionId, T)> {
        let overdue = self.open.iter().filter(|(_, open)| open.due <= now);
        overdue.map(|(id, open)| (*id, open.told.clone())).collect()
    }

    /// The end of that run is told.
    pub fn told(&mut self, id: ExecutionId) {
        self.open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> ExecutionId {
        ExecutionId(Uuid::from_u128(n))
    }

    fn at(position: u64) -> Timestamp {
        Timestamp::from_second(i64::try_from(position).unwrap()).unwrap()
    }

    fn ended(node: &str, position: u64, success: bool) -> Event<&'static str> {
        Event::Ended {
            of: Some(node.parse().unwrap()),
            at: at(position),
            success,
        }
    }

    fn began() -> Event<&'static str> {
        Event::Began {
            timeout_ms: 1_000,
            told: "it",
        }
    }

    #[test]
    fn a_run_that_does_not_end_is_told_of_and_read_again() {
        let mut fold = Fold::new(1, 10);
        assert_eq!(fold.through(), 10);
        fold.see(11, id(1), began(), Moment(0));
        fold.see(12, id(2), began(), Moment(0));
        fold.see(13, id(1), ended("a", 13, true), Moment(5));
        assert_eq!(fold.through(), 11);
        let [tally] = fold.tallies().try_into().unwrap();
        fold.counted(&tally);
        assert_eq!((fold.through(), fold.uncounted()), (11, 0));
        let due = 1_000 + slack(1_000) + LATE_MILLIS_MAX;
        assert_eq!(fold.overdue(Moment(due - 1)), []);
        assert_eq!(fold.overdue(Moment(due)), [(id(2), "it")]);
        fold.told(id(2));
        assert_eq!(fold.through(), 13);
        // What certainly was not run does not count.
        let of = None;
        let not_run = Event::Ended {
            of,
            at: at(14),
            success: false,
        };
        fold.see(14, id(3), not_run, Moment(due));
        assert_eq!((fold.through(), fold.uncounted()), (14, 0));
    }

    /// A stream in which all is said again, the begin both before the end and behind it.
    fn see_twice(fold: &mut Fold<&'static str>) {
        fold.see(1, id(1), began(), Moment(0));
        fold.see(2, id(1), began(), Moment(100));
        fold.see(3, id(1), ended("a", 3, true), Moment(200));
        fold.see(4, id(1), ended("a", 4, true), Moment(200));
        // Of two ends that differ the first counts.
        fold.see(5, id(1), ended("b", 5, false), Moment(200));
        fold.see(6, id(1), began(), Moment(200));
    }

    #[test]
    fn what_is_said_again_neither_counts_nor_opens_a_run() {
        let mut fold = Fold::new(1, 0);
        see_twice(&mut fold);
        let [tally] = fold.tallies().try_into().unwrap();
        let counts = Counts::with(None, &tally).unwrap();
        assert_eq!((counts.execution_count, counts.through), (1, 3));
        assert_eq!(counts.last_execution, at(3));
        assert_eq!(fold.overdue(Moment::NEVER), []);
        fold.counted(&tally);
        assert_eq!((fold.through(), fold.uncounted()), (6, 0));
    }

    #[test]
    fn a_begin_that_is_said_again_waits_no_longer() {
        let mut fold = Fold::new(1, 0);
        fold.see(1, id(1), began(), Moment(0));
        fold.see(2, id(1), began(), Moment(100));
        let due = 1_000 + slack(1_000) + LATE_MILLIS_MAX;
        assert_eq!(fold.through(), 0);
        assert_eq!(fold.overdue(Moment(due)), [(id(1), "it")]);
    }

    #[test]
    fn who_begins_anew_knows_what_ended_before() {
        let mut fold = Fold::new(1, 6);
        assert_eq!(fold.reads_behind(), 0);
        see_twice(&mut fold);
        assert_eq!((fold.through(), fold.uncounted()), (6, 0));
        assert_eq!(fold.overdue(Moment::NEVER), []);
        fold.see(7, id(1), ended("a", 7, true), Moment(0));
        fold.see(8, id(1), began(), Moment(0));
        assert_eq!((fold.through(), fold.uncounted()), (8, 0));
        assert_eq!(fold.overdue(Moment::NEVER), []);
        fold.see(9, id(2), ended("a", 9, true), Moment(0));
        assert_eq!((fold.through(), fold.uncounted()), (8, 1));
    }

    #[test]
    fn ends_are_remembered_for_so_many_positions() {
        let far = REPEAT_POSITIONS_MAX;
        let again = |fold: &mut Fold<_>, position| {
            let before = fold.uncounted();
            fold.see(position, id(1), ended("a", position, true), Moment(0));
            fold.uncounted() == before
        };
        let mut fold = Fold::new(1, 0);
        assert!(!again(&mut fold, 1));
        // One that begins to read where the other one forgets knows the same.
        let mut other = Fold::new(1, 1 + far);
        assert_eq!(other.reads_behind(), 1);
        for fold in [&mut fold, &mut other] {
            assert!(again(fold, 1 + far));
            assert!(again(fold, 1 + 2 * far));
            assert!(!again(fold, 2 + 3 * far));
            fold.see(3 + 4 * far, id(2), ended("a", 3, true), Moment(0));
            assert_eq!((fold.ends.said.len(), fold.ends.last.len()), (1, 1));
        }
    }

    #[test]
    fn another_stream_counts_from_its_beginning() {
        let tally = |stream, position| Tally {
            node_id: "a".parse().unwrap(),
            stream,
            ends: vec![Ended {
                position,
                at: at(position),
                success: true,
            }],
        };
        let first = Counts::with(None, &tally(1, 7)).unwrap();
        assert_eq!(Counts::with(Some(&first), &tally(1, 7)), None);
        let second = Counts::with(Some(&first), &tally(2, 3)).unwrap();
        assert_eq!((second.execution_count, second.through), (2, 3));
        assert_eq!(second.success_rate(), Some(1.0));
    }

    proptest! {
        /// Two that fold the same stream at the same time, one of which begins anew now and then from where the
        /// records say, count each run once, however often its end is in the stream.
        #[test]
        fn each_run_counts_once(
            runs in prop::collection::vec((0..3_usize, any::<bool>()), 30),
            ends in prop::collection::vec(0..30_usize, 1..60),
            turns in prop::collection::vec((0..2_usize, 1..8_usize, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let nodes = ["a", "b", "c"];
            let mut records: BTreeMap<NodeId, Counts> = BTreeMap::new();
            let mut through = 0;
            let mut folds = [Fold::new(1, 0), Fold::new(1, 0)];
            let mut read = [0, 0];
            let all = (0..2).map(|one| (one, ends.len(), true, false));
            for (one, count, writes, dies) in turns.into_iter().chain(all) {
                if dies {
                    folds[one] = Fold::new(1, through);
                    read[one] = usize::try_from(folds[one].reads_behind()).unwrap();
                }
                for (n, run) in ends.iter().enumerate().skip(read[one]).take(count) {
                    let position = n as u64 + 1;
                    let (node, success) = runs[*run];
                    let event = ended(nodes[node], position, success);
                    folds[one].see(position, id(*run as u128), event, Moment(0));
                    read[one] = n + 1;
                }
                if !writes {
                    continue;
                }
                for tally in folds[one].tallies() {
                    let record = records.get(&tally.node_id);
                    if let Some(counts) = Counts::with(record, &tally) {
                        records.insert(tally.node_id.clone(), counts);
                    }
                    folds[one].counted(&tally);
                }
                through = through.max(folds[one].through());
            }
            for (n, node) in nodes.iter().enumerate() {
                let ended = runs.iter().enumerate().filter(|(run, _)| ends.contains(run));
                let all = ended.filter(|(_, (node, _))| *node == n);
                let good = all.clone().filter(|(_, (_, success))| *success).count();
                let counts = records.get(&node.parse::<NodeId>().unwrap());
                let counted = counts.map_or((0, 0), |one| (one.execution_count, one.success_count));
                prop_assert_eq!(counted, (all.count() as u64, good as u64));
            }
        }
    }
}
