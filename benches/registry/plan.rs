//! How much is measured.

use std::{ops::RangeInclusive, time::Duration};

/// What is printed where `cargo test` asks for tests by names that are not ours, or for a list of them.
pub(crate) const NOTHING: &str = "running 0 tests";

/// By what name `cargo test NAME` finds the short run.
const NAME: &str = "bench_still_works";

/// Rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Writes,
    Cluster,
    Instances,
    Offers,
    Sets,
    Pool,
    Mix,
    Due,
    Large,
    Sustained,
}

impl Part {
    const ALL: [Self; 10] = [
        Self::Writes,
        Self::Cluster,
        Self::Instances,
        Self::Offers,
        Self::Sets,
        Self::Pool,
        Self::Mix,
        Self::Due,
        Self::Large,
        Self::Sustained,
    ];

    /// What `make bench ARGS=…` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Cluster => "cluster",
            Self::Instances => "instances",
            Self::Offers => "offers",
            Self::Sets => "sets",
            Self::Pool => "pool",
            Self::Mix => "mix",
            Self::Due => "due",
            Self::Large => "large",
            Self::Sustained => "sustained",
        }
    }

    fn named(name: &str) -> Self {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        found.unwrap_or_else(|| panic!("{name:?} is none of {names}"))
    }
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<Part>,
    /// How often each thing and its yardstick are measured, one after the other. Round 0 warms up.
    rounds: RangeInclusive<usize>,
    /// The same where a round takes long.
    long_rounds: RangeInclusive<usize>,
    /// How long each is measured in a round.
    pub(crate) window: Duration,
    /// How long nothing must have come until all is written that changes leave behind: events are gathered for a tenth of
    /// a second, and the view follows a quarter of a second after a change.
    pub(crate) quiet: Duration,
    /// How many callers at the same time; those behind [`Plan::READING_MAX`] only write.
    pub(crate) callers: Vec<usize>,
    /// How many callers where only one number of them is measured.
    pub(crate) many: usize,
    /// Connections that these share.
    pub(crate) connections: usize,
    /// Nodes of the registry with many tools, each with [`NODE_TOOLS`] tools.
    pub(crate) tool_nodes: usize,
    /// Ports of the pool that is full but for one.
    pub(crate) pool: usize,
    /// Leases and nodes of the large registry.
    pub(crate) leases: usize,
    pub(crate) nodes: usize,
    /// Leases that are due in the same second, and how long before that the first one is granted.
    pub(crate) due: usize,
    pub(crate) due_after: Duration,
    /// A third of the time for which ports are leased and given back.
    pub(crate) sustained_part: Duration,
}

/// Tools of each node in the registry with many tools: a registration is limited in size.
pub(crate) const NODE_TOOLS: usize = 100;

impl Plan {
    /// More callers than that read nothing: what many of them read is as fast as what some read.
    pub(crate) const READING_MAX: usize = 64;

    /// As the arguments say that `cargo bench` and `cargo test` give; none where nothing is asked for.
    pub(crate) fn of(args: &[String]) -> Option<Self> {
        let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
        if args.iter().any(|arg| arg == "--bench") {
            let parts = match names.peek() {
                None => Part::ALL.to_vec(),
                Some(_) => names.map(|name| Part::named(name)).collect(),
            };
            return Some(Self::whole(parts));
        }
        let asked = names.peek().is_none() || names.any(|name| NAME.contains(name.as_str()));
        let listed = args.iter().any(|arg| arg == "--list" || arg == "--ignored");
        (asked && !listed).then(Self::brief)
    }

    fn whole(parts: Vec<Part>) -> Self {
        Self {
            parts,
            rounds: 0..=9,
            long_rounds: 1..=3,
            window: Duration::from_millis(400),
            quiet: Duration::from_millis(400),
            callers: vec![1, 64, 512],
            many: 64,
            connections: 4,
            tool_nodes: 100,
            pool: 10_000,
            leases: 100_000,
            nodes: 10_000,
            due: 20_000,
            due_after: Duration::from_secs(15),
            sustained_part: Duration::from_secs(10),
        }
    }

    fn brief() -> Self {
        Self {
            parts: Part::ALL.to_vec(),
            rounds: 1..=1,
            long_rounds: 1..=1,
            window: Duration::from_millis(40),
            quiet: Duration::from_millis(20),
            callers: vec![1, 4],
            many: 4,
            connections: 2,
            tool_nodes: 2,
            pool: 20,
            leases: 200,
            nodes: 20,
            due: 100,
            due_after: Duration::from_secs(4),
            sustained_part: Duration::from_millis(100),
        }
    }

    /// What each round measured. The first one warms up, and is left out.
    pub(crate) async fn rounds<T>(&self, part: &str, once: impl AsyncFnMut() -> T) -> Vec<T> {
        measure(part, self.rounds.clone(), once).await
    }

    /// The same where a round takes long: there are fewer, and none warms up.
    pub(crate) async fn long_rounds<T>(&self, part: &str, once: impl AsyncFnMut() -> T) -> Vec<T> {
        measure(part, self.long_rounds.clone(), once).await
    }

    pub(crate) fn rounds_count(&self) -> usize {
        *self.rounds.end()
    }
}

async fn measure<T>(
    part: &str,
    rounds: RangeInclusive<usize>,
    mut once: impl AsyncFnMut() -> T,
) -> Vec<T> {
    let mut measured = Vec::new();
    for n in rounds.clone() {
        eprintln!("{part}, round {n} of {}", rounds.end());
        let of_round = once().await;
        if n > 0 {
            measured.push(of_round);
        }
    }
    measured
}
