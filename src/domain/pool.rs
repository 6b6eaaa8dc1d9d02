//! The ports of one host and transport: which may be granted, and picking one fast.

pub use onex_types::ports::{PortRange, PortSet};

use super::ids::{Port, Transport};

/// What a port is to the pool; each is in exactly one of these states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nobody has it, and nothing is remembered that is worth keeping it for.
    Free,
    /// Nobody has it; the request that last got it may still be repeated. Granted when nothing else is free.
    Young,
    /// Nobody has it, and nobody gets it yet: its last holder did not end the lease.
    Resting,
    /// Nobody has it, and nobody gets it yet: another program was using it.
    Quarantined,
    /// Someone has it.
    Held,
}

/// The ports of one host and transport.
#[derive(Clone)]
pub struct Pool {
    usable: PortSet,
    free: PortSet,
    young: PortSet,
    counts: Counts,
}

/// How many ports of a pool are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// That may be granted at all.
    pub capacity: usize,
    /// That can be had now.
    pub free: usize,
    /// That someone has.
    pub held: usize,
    /// That rest because their last holder did not end the lease.
    pub resting: usize,
    /// That rest because another program was using them.
    pub quarantined: usize,
}

impl Pool {
    /// All ports of `ranges` but those of `reserved`, free.
    pub fn new(ranges: &[PortRange], reserved: &[PortRange]) -> Self {
        let mut usable = PortSet::empty();
        for (list, member) in [(ranges, true), (reserved, false)] {
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
            young: PortSet::empty(),
            counts,
        }
    }

    /// Whether it may be granted at all.
    pub fn is_usable(&self, port: Port) -> bool {
        self.usable.contains(port)
    }

    /// How many are in which state. A lease outside the ranges, from before they changed, does not count.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn count(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Free | Class::Young => &mut self.counts.free,
            Class::Resting => &mut self.counts.resting,
            Class::Quarantined => &mut self.counts.quarantined,
            Class::Held => &mut self.counts.held,
        }
    }

    /// A port goes from one state to another.
    pub fn reclass(&mut self, port: Port, from: Class, to: Class) {
        if !self.is_usable(port) || from == to {
            return;
        }
        *self.count(from) = self.count(from).saturating_sub(1);
        *self.count(to) += 1;
        self.free.set(port, to == Class::Free);
        self.young.set(port, to == Class::Young);
    }

    /// Ports that can be had: upwards from a start that `seed` chooses, those nobody remembers first.
    pub fn candidates(&self, seed: u64) -> impl Iterator<Item = Port> {
        // Below 65,536 by the modulus; 0 is no port and starts at 1.
        let start = u16::try_from(seed % 65_536)
            .ok()
            .and_then(Port::new)
            .or(Port::new(1));
        let start = self.nth_start(start);
        start
            .into_iter()
            .flat_map(move |start| self.free.around(start).chain(self.young.around(start)))
    }

    /// A start inside the ranges, so that the first candidates are spread over them evenly.
    fn nth_start(&self, start: Option<Port>) -> Option<Port> {
        let capacity = self.counts.capacity;
        let wanted = usize::from(start?.number()).checked_rem(capacity)?;
        self.usable.nth(wanted)
    }
}

/// Both pools of a host: it has them from its first use on.
pub struct HostPools {
    tcp: Pool,
    udp: Pool,
}

impl HostPools {
    /// Both as `pool`.
    pub fn fresh(pool: &Pool) -> Self {
        Self {
            tcp: pool.clone(),
            udp: pool.clone(),
        }
    }

    /// The one of that transport.
    pub fn of(&self, transport: Transport) -> &Pool {
        match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        }
    }

    /// The one of that transport, to change it.
    pub fn of_mut(&mut self, transport: Transport) -> &mut Pool {
        match transport {
            Transport::Tcp => &mut self.tcp,
            Transport::Udp => &mut self.udp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    fn range(first: u16, last: u16) -> PortRange {
        PortRange {
            first: port(first),
            last: port(last),
        }
    }

    #[test]
    fn what_is_remembered_comes_last() {
        let mut pool = Pool::new(&[range(10, 12)], &[]);
        pool.reclass(port(10), Class::Free, Class::Young);
        pool.reclass(port(11), Class::Free, Class::Held);
        for seed in 0..9 {
            let got: Vec<u16> = pool.candidates(seed).map(Port::number).collect();
            assert_eq!(got, [12, 10]);
        }
        assert_eq!(
            pool.counts(),
            Counts {
                capacity: 3,
                free: 2,
                held: 1,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn reserved_ports_are_no_candidates() {
        let pool = Pool::new(&[range(10, 20), range(65_535, 65_535)], &[range(12, 19)]);
        let mut got: Vec<u16> = pool.candidates(7).map(Port::number).collect();
        got.sort_unstable();
        assert_eq!(got, [10, 11, 20, 65_535]);
        assert!(Pool::new(&[], &[]).candidates(3).next().is_none());
    }

    #[test]
    fn starts_are_spread() {
        let pool = Pool::new(&[range(20_000, 29_999)], &[]);
        let starts: std::collections::BTreeSet<u16> = (0..1000u64)
            .map(|n| pool.candidates(n * 65).next().unwrap().number())
            .collect();
        assert!(starts.len() > 900, "{}", starts.len());
    }
}
