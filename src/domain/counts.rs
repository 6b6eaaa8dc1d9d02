//! How often a node's tools were run, folded from the stream of events: each end counts once, whoever folds, because
//! the record says up to where it has come.

use std::collections::BTreeMap;

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
    uncounted: BTreeMap<NodeId, Vec<Ended>>,
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

impl<T: Clone> Fold<T> {
    /// Reads on behind `read`.
    pub fn new(stream: u64, read: u64) -> Self {
        Self {
            stream,
            read,
            open: BTreeMap::new(),
            uncounted: BTreeMap::new(),
        }
    }

    /// Which stream of events.
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// The stream says that of a run, at `position`.
    pub fn see(&mut self, position: u64, id: ExecutionId, event: Event<T>, now: Moment) {
        self.read = self.read.max(position);
        match event {
            Event::Began { timeout_ms, told } if self.open.len() < OPEN_MAX => {
                let lasts = timeout_ms + slack(timeout_ms) + LATE_MILLIS_MAX;
                let open = Open {
                    position,
                    due: now.plus(lasts),
                    told,
                };
                self.open.insert(id, open);
            }
            Event::Began { .. } | Event::BeganNamed => {}
            Event::Ended { of, at, success } => {
                self.open.remove(&id);
                if let Some(node_id) = of {
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
        /// records say, count each end once.
        #[test]
        fn each_end_counts_once(
            ends in prop::collection::vec((0..3_usize, any::<bool>()), 1..60),
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
                    read[one] = usize::try_from(through).unwrap();
                }
                for (n, (node, success)) in ends.iter().enumerate().skip(read[one]).take(count) {
                    let position = n as u64 + 1;
                    let event = ended(nodes[*node], position, *success);
                    folds[one].see(position, id(n as u128), event, Moment(0));
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
                let all = ends.iter().filter(|(node, _)| *node == n);
                let good = all.clone().filter(|(_, success)| *success).count();
                let counts = records.get(&node.parse::<NodeId>().unwrap());
                let counted = counts.map_or((0, 0), |one| (one.execution_count, one.success_count));
                prop_assert_eq!(counted, (all.count() as u64, good as u64));
            }
        }
    }
}
