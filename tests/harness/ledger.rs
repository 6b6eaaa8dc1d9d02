//! What holders believed, written down while they did: who held which port from when to when, by its own clock, and
//! with which fencing tokens. All holders of a test live in one process and count on one clock.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// One lease as its holder saw it.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    pub(crate) lease_id: String,
    pub(crate) requester: Uuid,
    pub(crate) port: u64,
    /// When the grant's reply came.
    pub(crate) from: Instant,
    /// When it stopped using the port, or would have had to.
    pub(crate) to: Instant,
    /// Those of the replies, in the order in which they came.
    pub(crate) tokens: Vec<u64>,
    pub(crate) released: bool,
}

#[derive(Default)]
pub(crate) struct Ledger {
    beliefs: Mutex<Vec<Belief>>,
    broken: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Ledger {
    pub(crate) fn add(&self, belief: Belief) {
        self.beliefs.lock().unwrap().push(belief);
    }

    /// A promise was broken.
    pub(crate) fn broken(&self, what: String) {
        self.broken.lock().unwrap().push(what);
    }

    pub(crate) fn count(&self, what: &str) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(what.to_owned())
            .or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }

    pub(crate) fn counted(&self, what: &str) -> u64 {
        self.counts().get(what).copied().unwrap_or(0)
    }

    pub(crate) fn beliefs(&self) -> Vec<Belief> {
        self.beliefs.lock().unwrap().clone()
    }

    /// No port had two holders at any moment, later leases of a port have higher fencing tokens, and no promise was
    /// broken.
    pub(crate) fn check(&self) {
        let broken = self.broken.lock().unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
        let mut by_port: BTreeMap<u64, Vec<Belief>> = BTreeMap::new();
        for belief in self.beliefs() {
            // While a lease lives, its token may stay as it is.
            let falls = belief.tokens.windows(2).any(|pair| pair[0] > pair[1]);
            assert!(!falls, "{belief:#?}");
            by_port.entry(belief.port).or_default().push(belief);
        }
        for beliefs in by_port.values_mut() {
            beliefs.sort_by_key(|belief| belief.from);
            for pair in beliefs.windows(2) {
                let [one, two] = pair else { unreachable!() };
                assert!(one.to <= two.from, "held twice: {one:#?} and {two:#?}");
                assert!(
                    one.tokens.last() < two.tokens.first(),
                    "tokens do not grow: {one:#?} and {two:#?}"
                );
            }
        }
    }

    /// The longest time between two grants: for how long nobody was served.
    pub(crate) fn longest_pause(&self) -> Duration {
        let mut moments: Vec<Instant> = self.beliefs().iter().map(|belief| belief.from).collect();
        moments.sort();
        let pauses = moments.windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default()
    }
}
