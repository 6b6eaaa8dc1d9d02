//! The ports of one host and transport: which may be granted, and picking one fast.

use super::ids::{Port, Transport};

const WORDS: usize = 1024;

/// A set of ports: one bit each, 8 KiB.
#[derive(Clone)]
pub struct PortSet(Box<[u64; WORDS]>);

impl PortSet {
    /// None.
    pub fn empty() -> Self {
        Self(Box::new([0; WORDS]))
    }

    fn at(port: Port) -> (usize, u64) {
        (usize::from(port.number() / 64), 1 << (port.number() % 64))
    }

    /// Whether it is in the set.
    pub fn contains(&self, port: Port) -> bool {
        let (word, bit) = Self::at(port);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Puts it in, or takes it out.
    pub fn set(&mut self, port: Port, member: bool) {
        let (word, bit) = Self::at(port);
        if let Some(bits) = self.0.get_mut(word) {
            if member { *bits |= bit } else { *bits &= !bit }
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    /// Its members, upwards from `start` and round to it again. At most 1,025 words are looked at.
    pub fn around(&self, start: Port) -> impl Iterator<Item = Port> {
        let (first, bit) = Self::at(start);
        let words = self.0.as_slice();
        let word = move |index: usize| words.get(index % WORDS).copied().unwrap_or(0);
        let above = !(bit - 1);
        (first..=first + WORDS).flat_map(move |index| {
            let mut bits = word(index);
            if index == first {
                bits &= above;
            } else if index == first + WORDS {
                bits &= !above;
            }
            std::iter::from_fn(move || {
                let low = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                // Below 65,536: the index is below 1,024 and `low` below 64 unless no bit is left.
                let number = (low < 64).then_some((index % WORDS) * 64 + low as usize)?;
                u16::try_from(number).ok().and_then(Port::new)
            })
        })
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest.
    pub first: Port,
    /// The highest.
    pub last: Port,
}

impl PortRange {
    /// Whether it is in the range.
    pub fn contains(self, port: Port) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

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
        let mut left = wanted;
        for (index, bits) in self.usable.0.iter().enumerate() {
            let ones = bits.count_ones() as usize;
            if left < ones {
                let mut bits = *bits;
                for _ in 0..left {
                    bits &= bits - 1;
                }
                let number = index * 64 + bits.trailing_zeros() as usize;
                return u16::try_from(number).ok().and_then(Port::new);
            }
            left -= ones;
        }
        None
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn around_names_each_member_once_from_the_start(
            members in prop::collection::btree_set(1u16.., 0..200), start in 1u16..
        ) {
            let mut set = PortSet::empty();
            for n in &members { set.set(port(*n), true); }
            let got: Vec<u16> = set.around(port(start)).map(Port::number).collect();
            let want: Vec<u16> = members.range(start..).chain(members.range(..start)).copied().collect();
            prop_assert_eq!(got, want);
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
