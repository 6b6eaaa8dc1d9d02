//! What a run is made of: how many of what, and how often which thing goes wrong.

use crate::domain::mechanism::Mechanisms;

use super::chance::Chance;

/// Rules that a holder keeps; a test switches one off and expects red.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Its time counts from before it first sent the request.
    pub(super) counts_from_first: bool,
    /// Its clock runs while its machine sleeps.
    pub(super) clock_runs_asleep: bool,
    /// It never uses a port again after it sent a release.
    pub(super) stops_at_release: bool,
    /// A process that leases a port with its node says which life of it that is.
    pub(super) names_its_life: bool,
}

/// Chances are per thousand; spans are milliseconds between two faults of a kind, 0 for never.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) instances: usize,
    pub(super) holders: usize,
    pub(super) ports: u16,
    pub(super) ttl: (u64, u64),
    pub(super) ttl_max: u32,
    /// Places at which processes of nodes run, and how many nodes those are.
    pub(super) owners: usize,
    pub(super) names: usize,
    /// For how long nodes and buses that have ended are remembered, in milliseconds.
    pub(super) retention: u64,
    /// For how long the server keeps the marker of a removed key, in milliseconds.
    pub(super) marker: u64,
    /// How many calls may be remembered, and for how long those that have ended are, in milliseconds.
    pub(super) calls_max: usize,
    pub(super) calls_kept: u64,
    /// Who calls tools, and how often one that does no harm twice.
    pub(super) callers: usize,
    pub(super) idempotent: u64,
    /// How often a process says which life of its node it is.
    pub(super) with_epoch: u64,
    /// How often a process that begins anew says the epoch of the one before.
    pub(super) same_epoch: u64,
    /// How often a place belongs to somebody else than the first one of its node.
    pub(super) other_owner: u64,
    /// For how long a place is empty between two processes, in milliseconds.
    pub(super) away: (u64, u64),
    /// For how long a process means to live, in milliseconds.
    pub(super) lingers: (u64, u64),
    /// How often a process that lives does something else than stay alive.
    pub(super) errands: u64,
    /// For how long things go wrong, in milliseconds.
    pub(super) trouble: u64,
    pub(super) latency: (u64, u64),
    pub(super) tick: (u64, u64),
    pub(super) ack_lost: u64,
    pub(super) write_late: u64,
    /// How late, in milliseconds.
    pub(super) late: (u64, u64),
    pub(super) write_unsent: u64,
    pub(super) delivery_dropped: u64,
    pub(super) delivery_slow: u64,
    /// How often a message is sent before the rest of what was written in one piece with it is counted.
    pub(super) piece_uncounted: u64,
    pub(super) request_lost: u64,
    pub(super) request_twice: u64,
    /// How much later the second one arrives, in milliseconds.
    pub(super) twice_after: (u64, u64),
    pub(super) reply_lost: u64,
    pub(super) pause: u64,
    pub(super) crash: u64,
    pub(super) cut: u64,
    pub(super) down: u64,
    pub(super) foreign: u64,
    pub(super) stranger: u64,
    pub(super) probe: bool,
    pub(super) walls_apart: bool,
    /// A stopped instance's clock stands still, as that of a machine that sleeps.
    pub(super) clocks_stand: bool,
    /// An instance that begins anew is the same one to the others.
    pub(super) keeps_id: bool,
    /// A publisher breaks off a round that takes long.
    pub(super) breaks_off: bool,
    /// All holders ask under one name.
    pub(super) one_requester: bool,
    /// The store compares revisions for the checkpoint as well.
    pub(super) checkpoint_compares: bool,
    pub(super) with_request_id: u64,
    pub(super) exact: u64,
    pub(super) named: u64,
    pub(super) other_host: u64,
    pub(super) sleeps: u64,
    pub(super) dies: u64,
    pub(super) releases: u64,
    pub(super) changes_ttl: u64,
    pub(super) mechanisms: Mechanisms,
    pub(super) rules: Rules,
}

impl Setup {
    /// Two instances, three holders, two ports, and nothing goes wrong.
    pub(super) fn calm() -> Self {
        Self {
            instances: 2,
            holders: 3,
            ports: 2,
            ttl: (3, 12),
            ttl_max: 15,
            owners: 0,
            names: 2,
            retention: 60_000,
            marker: 30_000,
            calls_max: 64,
            calls_kept: 120_000,
            callers: 0,
            idempotent: 300,
            with_epoch: 500,
            same_epoch: 0,
            other_owner: 0,
            away: (100, 8_000),
            lingers: (0, 40_000),
            errands: 100,
            trouble: 150_000,
            latency: (1, 8),
            tick: (200, 600),
            ack_lost: 0,
            write_late: 0,
            late: (500, 25_000),
            write_unsent: 0,
            delivery_dropped: 0,
            delivery_slow: 0,
            piece_uncounted: 0,
            request_lost: 0,
            request_twice: 0,
            twice_after: (1, 15_000),
            reply_lost: 0,
            pause: 0,
            crash: 0,
            cut: 0,
            down: 0,
            foreign: 0,
            stranger: 0,
            probe: false,
            walls_apart: false,
            clocks_stand: false,
            keeps_id: false,
            breaks_off: true,
            one_requester: false,
            checkpoint_compares: true,
            with_request_id: 700,
            exact: 200,
            named: 200,
            other_host: 0,
            sleeps: 0,
            dies: 100,
            releases: 500,
            changes_ttl: 0,
            mechanisms: Mechanisms::default(),
            rules: Rules {
                counts_from_first: true,
                clock_runs_asleep: true,
                stops_at_release: true,
                names_its_life: true,
            },
        }
    }

    /// Three processes of two nodes beside one holder, and nothing goes wrong.
    pub(super) fn nodes() -> Self {
        Self {
            holders: 2,
            owners: 3,
            names: 2,
            ports: 3,
            ..Self::calm()
        }
    }

    /// Anything: each kind of trouble is on in some runs and off in others.
    pub(super) fn random(chance: &mut Chance) -> Self {
        let calm = Self::calm();
        let rate = |chance: &mut Chance, most: u64| {
            if chance.hit(500) {
                chance.below(most + 1)
            } else {
                0
            }
        };
        let span = |chance: &mut Chance, often: u64| {
            if chance.hit(450) {
                chance.between((often, often * 6))
            } else {
                0
            }
        };
        let ttl = chance.between((1, 6));
        let probe = chance.hit(600);
        let slow = if chance.hit(150) { 1_500 } else { 40 };
        let latency = (1, chance.between((1, slow)));
        let owners = if chance.hit(700) {
            1 + chance.index(4)
        } else {
            0
        };
        Self {
            instances: 2 + chance.index(2),
            holders: 2 + chance.index(4),
            ports: 1 + u16::try_from(chance.below(4)).unwrap(),
            ttl: (ttl, ttl + chance.below(10)),
            ttl_max: 16,
            owners,
            names: 1 + chance.index(3),
            callers: if chance.hit(500) {
                1 + chance.index(3)
            } else {
                0
            },
            idempotent: chance.below(1_001),
            retention: 1_000 * chance.between((1, 60)),
            marker: 1_000 * chance.between((40, 80)),
            with_epoch: chance.below(1_001),
            same_epoch: rate(chance, 500),
            other_owner: rate(chance, 400),
            away: (100, chance.between((500, 20_000))),
            errands: chance.below(300),
            trouble: chance.between((40_000, 140_000)),
            latency,
            tick: (100, chance.between((200, 2_000))),
            ack_lost: rate(chance, 150),
            write_late: rate(chance, 100),
            write_unsent: rate(chance, 60),
            delivery_dropped: rate(chance, 60),
            delivery_slow: rate(chance, 150),
            piece_uncounted: rate(chance, 1_000),
            request_lost: rate(chance, 60),
            request_twice: rate(chance, 200),
            reply_lost: rate(chance, 200),
            pause: span(chance, 8_000),
            crash: span(chance, 10_000),
            cut: span(chance, 12_000),
            down: span(chance, 20_000),
            foreign: if chance.hit(200) { 30_000 } else { 0 },
            stranger: span(chance, 8_000),
            probe,
            walls_apart: chance.hit(700),
            // A registry tries ports of its own machine only, and whoever holds those has slept as well.
            clocks_stand: !probe && chance.hit(500),
            keeps_id: chance.hit(500),
            one_requester: chance.hit(150),
            with_request_id: chance.between((300, 1000)),
            exact: chance.below(500),
            named: chance.below(500),
            other_host: if chance.hit(200) { 300 } else { 0 },
            sleeps: rate(chance, 200),
            dies: rate(chance, 300),
            releases: chance.below(800),
            changes_ttl: rate(chance, 300),
            ..calm
        }
    }
}
