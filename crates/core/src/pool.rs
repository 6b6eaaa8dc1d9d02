//! The ports of one host and transport: how many are in which state, and picking a free one fast.

use onex_types::{ids::Port, ports::PortSet};

use crate::record::PoolPorts;

/// What a port is; each is in exactly one of these states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortState {
    /// Nobody holds it.
    #[default]
    Free,
    /// Nobody holds it, and nobody gets it yet: its last holder may still count on it.
    Resting,
    /// Nobody holds it, and nobody gets it yet: another program was using it, or its lease gave it up for another one.
    Quarantined,
    /// Somebody holds it.
    Held,
}

/// How many ports of a pool are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// May be granted at all.
    pub capacity: usize,
    /// Can be had now.
    pub free: usize,
    /// Are held.
    pub held: usize,
    /// Are resting.
    pub resting: usize,
    /// Are quarantined.
    pub quarantined: usize,
}

/// The ports of one host and transport. Ports outside the ranges, leased before these changed, do not count, but they are
/// held.
#[derive(Clone)]
pub struct Pool {
    usable: PortSet,
    free: PortSet,
    held: PortSet,
    counts: Counts,
}

impl Pool {
    /// All ports of its ranges but the reserved ones, free.
    pub fn new(ports: &PoolPorts) -> Self {
        let mut usable = PortSet::empty();
        for (list, member) in [(&ports.ranges, true), (&ports.reserved, false)] {
            for range in list {
                for port in (range.first.number()..=range.last.number()).filter_map(Port::new) {
                    usable.set(port, member);
                }
            }
        }
        let capacity = usable.len();
        let counts = Counts {
            capacity,
            free: capacity,
            ..Counts::default()
        };
        Self {
            free: usable.clone(),
            usable,
            held: PortSet::empty(),
            counts,
        }
    }

    /// Whether the port may be granted at all.
    pub fn is_usable(&self, port: Port) -> bool {
        self.usable.contains(port)
    }

    /// Whether it is granted to the next who asks.
    pub fn is_free(&self, port: Port) -> bool {
        self.free.contains(port)
    }

    /// How many ports are in which state.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many ports outside the ranges somebody holds.
    pub fn held_outside(&self) -> usize {
        self.held.len().saturating_sub(self.counts.held)
    }

    /// The ports that somebody holds, from `from` upwards.
    pub fn held_from(&self, from: Port) -> impl Iterator<Item = Port> {
        self.held.upwards(from)
    }

    /// A port goes from one state to another.
    pub fn change(&mut self, port: Port, from: PortState, to: PortState) {
        self.held.set(port, to == PortState::Held);
        if from == to || !self.is_usable(port) {
            return;
        }
        *self.count(from) = self.count(from).saturating_sub(1);
        *self.count(to) += 1;
        self.free.set(port, to == PortState::Free);
    }

    fn count(&mut self, state: PortState) -> &mut usize {
        match state {
            PortState::Free => &mut self.counts.free,
            PortState::Resting => &mut self.counts.resting,
            PortState::Quarantined => &mut self.counts.quarantined,
            PortState::Held => &mut self.counts.held,
        }
    }

    /// Free ports, upwards from `start` and round to it again.
    pub fn free_from(&self, start: Port) -> impl Iterator<Item = Port> {
        self.free.around(start)
    }

    /// Free ports, upwards from a start inside the ranges that `seed` chooses. The first costs the same however few
    /// are left.
    pub fn candidates(&self, seed: u64) -> impl Iterator<Item = Port> {
        let capacity = self.counts.capacity as u64;
        let start = seed
            .checked_rem(capacity)
            .and_then(|index| usize::try_from(index).ok());
        let start = start.and_then(|index| self.usable.nth(index));
        start.into_iter().flat_map(|start| self.free.around(start))
    }
}

#[cfg(test)]
mod tests {
    use onex_types::ports::PortRange;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        let port = |number| Port::new(number).unwrap();
        PortRange {
            first: port(first),
            last: port(last),
        }
    }

    fn pool(ranges: &[PortRange], reserved: &[PortRange]) -> Pool {
        Pool::new(&PoolPorts {
            ranges: ranges.to_vec(),
            reserved: reserved.to_vec(),
        })
    }

    #[test]
    fn candidates_are_the_free_ports_of_the_ranges() {
        let mut pool = pool(&[range(10, 20), range(65_535, 65_535)], &[range(12, 19)]);
        let port = Port::new(11).unwrap();
        pool.change(port, PortState::Free, PortState::Held);
        let mut got: Vec<u16> = pool.candidates(7).map(Port::number).collect();
        got.sort_unstable();
        assert_eq!(got, [10, 20, 65_535]);
        let counts = Counts {
            capacity: 4,
            free: 3,
            held: 1,
            ..Counts::default()
        };
        assert_eq!(pool.counts(), counts);
        assert!(super::tests::pool(&[], &[]).candidates(3).next().is_none());
    }

    #[test]
    fn a_port_outside_the_ranges_does_not_count() {
        let mut pool = pool(&[range(10, 10)], &[]);
        let before = pool.counts();
        let outside = Port::new(11).unwrap();
        pool.change(outside, PortState::Free, PortState::Held);
        assert_eq!(pool.counts(), before);
        assert!(pool.held_from(Port::LOWEST).eq([outside]));
        assert_eq!(pool.held_outside(), 1);
        pool.change(outside, PortState::Held, PortState::Resting);
        assert!(pool.held_from(Port::LOWEST).next().is_none());
        assert_eq!(pool.held_outside(), 0);
    }
}
