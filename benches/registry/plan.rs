//! How much is measured.

use std::time::Duration;

/// What is printed where `cargo test` asks for tests by names that are not ours, or for a list of them.
pub(crate) const NOTHING: &str = "running 0 tests";

/// By what name `cargo test NAME` finds the short run.
const NAME: &str = "bench_still_works";
/// By what name only leases are measured.
const WRITES: &str = "writes";

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How often each thing and its yardstick are measured, one after the other.
    pub(crate) rounds: usize,
    /// How long each is measured in a round.
    pub(crate) window: Duration,
    /// How many callers at the same time; those behind [`Plan::READING_MAX`] only write.
    pub(crate) callers: Vec<usize>,
    /// Whether anything but leases is measured.
    pub(crate) offers: bool,
    /// Connections that these share.
    pub(crate) connections: usize,
    /// Nodes of the large registry, each with [`NODE_TOOLS`] tools.
    pub(crate) nodes: usize,
}

/// Tools of each of the large registry's nodes: a registration is limited in size.
pub(crate) const NODE_TOOLS: usize = 100;

impl Plan {
    /// More callers than that read nothing: what many of them read is as fast as what some read.
    pub(crate) const READING_MAX: usize = 64;

    /// As the arguments say that `cargo bench` and `cargo test` give; none where nothing is asked for.
    pub(crate) fn of(args: &[String]) -> Option<Self> {
        if args.iter().any(|arg| arg == "--bench") {
            return Some(Self {
                rounds: 9,
                window: Duration::from_millis(400),
                callers: vec![1, 64, 512],
                offers: !args.iter().any(|arg| arg == WRITES),
                connections: 4,
                nodes: 100,
            });
        }
        let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
        let asked = names.peek().is_none() || names.any(|name| NAME.contains(name.as_str()));
        let listed = args.iter().any(|arg| arg == "--list" || arg == "--ignored");
        (asked && !listed).then_some(Self {
            rounds: 1,
            window: Duration::from_millis(40),
            callers: vec![1, 4],
            offers: true,
            connections: 2,
            nodes: 2,
        })
    }
}
