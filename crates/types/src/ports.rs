//! Sets and ranges of port numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::Port;

const WORDS: usize = 1024;
/// Words whose members are counted together.
const BLOCK: usize = 32;

/// A set of ports: one bit each, 8 KiB.
#[derive(Clone)]
pub struct PortSet {
    words: Box<[u64; WORDS]>,
    /// How many members each block has.
    counts: [u16; WORDS / BLOCK],
}

impl PortSet {
    /// None.
    pub fn empty() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            counts: [0; WORDS / BLOCK],
        }
    }

    fn at(port: Port) -> (usize, u64) {
        (usize::from(port.number() / 64), 1 << (port.number() % 64))
    }

    /// Whether it is in the set.
    pub fn contains(&self, port: Port) -> bool {
        let (word, bit) = Self::at(port);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Puts it in, or takes it out.
    pub fn set(&mut self, port: Port, member: bool) {
        let (word, bit) = Self::at(port);
        let (bits, count) = (self.words.get_mut(word), self.counts.get_mut(word / BLOCK));
        let (Some(bits), Some(count)) = (bits, count) else {
            return;
        };
        match (*bits & bit != 0, member) {
            (false, true) => *count += 1,
            (true, false) => *count -= 1,
            _ => return,
        }
        *bits ^= bit;
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.counts.iter().map(|count| usize::from(*count)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member with `index` members below it.
    pub fn nth(&self, index: usize) -> Option<Port> {
        let mut left = index;
        let mut first = 0;
        for count in self.counts.map(usize::from) {
            if left < count {
                break;
            }
            left -= count;
            first += BLOCK;
        }
        for (word, bits) in self.words.iter().enumerate().skip(first) {
            let ones = bits.count_ones() as usize;
            if left < ones {
                let mut bits = *bits;
                for _ in 0..left {
                    bits &= bits - 1;
                }
                let number = word * 64 + bits.trailing_zeros() as usize;
                return u16::try_from(number).ok().and_then(Port::new);
            }
            left -= ones;
        }
        None
    }

    /// Its members, upwards from `start`.
    pub fn upwards(&self, start: Port) -> impl Iterator<Item = Port> {
        let is_above = move |port: &Port| *port >= start;
        self.around(start).take_while(is_above)
    }

    /// Its members, upwards from `start` and round to it again. At most 1,025 words are looked at.
    pub fn around(&self, start: Port) -> impl Iterator<Item = Port> {
        let (first, bit) = Self::at(start);
        let words = self.words.as_slice();
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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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

    /// The same ports, in order, with those that touch or overlap as one range.
    pub fn merged(mut ranges: Vec<Self>) -> Vec<Self> {
        ranges.sort_unstable();
        let mut merged: Vec<Self> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.first.number() <= last.last.number().saturating_add(1) => {
                    last.last = last.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        merged
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    #[test]
    fn ranges_that_touch_are_merged() {
        let range = |first, last| PortRange {
            first: port(first),
            last: port(last),
        };
        let ranges = [
            (30, 40),
            (65_000, 65_535),
            (10, 19),
            (20, 25),
            (22, 23),
            (65_535, 65_535),
        ];
        let ranges = ranges.map(|(first, last)| range(first, last)).into();
        let merged = [range(10, 25), range(30, 40), range(65_000, 65_535)];
        assert_eq!(PortRange::merged(ranges), merged);
    }

    proptest! {
        #[test]
        fn each_member_has_its_place(
            changes in prop::collection::vec((1u16.., any::<bool>()), 0..400), index in 0usize..200
        ) {
            let (mut set, mut members) = (PortSet::empty(), std::collections::BTreeSet::new());
            for (n, member) in changes {
                set.set(port(n), member);
                if member { members.insert(n); } else { members.remove(&n); }
            }
            prop_assert_eq!(set.len(), members.len());
            prop_assert_eq!(set.is_empty(), members.is_empty());
            let got = set.nth(index).map(Port::number);
            prop_assert_eq!(got, members.iter().nth(index).copied());
        }

        #[test]
        fn around_names_each_member_once_from_the_start(
            members in prop::collection::btree_set(1u16.., 0..200), start in 1u16..
        ) {
            let mut set = PortSet::empty();
            for n in &members { set.set(port(*n), true); }
            let got: Vec<u16> = set.around(port(start)).map(Port::number).collect();
            let want: Vec<u16> = members.range(start..).chain(members.range(..start)).copied().collect();
            prop_assert_eq!(got, want);
            let got: Vec<u16> = set.upwards(port(start)).map(Port::number).collect();
            let want: Vec<u16> = members.range(start..).copied().collect();
            prop_assert_eq!(got, want);
        }
    }
}
