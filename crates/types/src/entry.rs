//! How an entry of the log is identified: its id, its predecessor, its place. What it says is `onex-core`'s, how it is
//! written and read is `onex-log`'s.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::ids::Invalid;

/// The name of the header that makes a message an entry of the log.
pub const ENTRY_HEADER: &str = "Onex-Entry";

/// A position in the log's stream, counted by the server from 1. 0 stands for "before the first message".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The position behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One entry, however often it is sent: 32 lower-case hex digits. The nil id precedes the first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId(pub Uuid);

impl EntryId {
    /// The predecessor of the first entry.
    pub const NONE: Self = Self(Uuid::nil());
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let id = Uuid::try_parse(text).ok().map(Self);
        // A UUID has several spellings; an entry's id has one.
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| Invalid("must be 32 lower-case hex digits".to_owned()))
    }
}

/// A complete snapshot: where its first chunk is, and that entry's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRef {
    /// The position of its first chunk.
    pub sequence: Sequence,
    /// The id of the entry that holds its first chunk.
    pub id: EntryId,
}

/// What stands in [`ENTRY_HEADER`]: `<id> <predecessor> <format> <snapshot sequence> <snapshot id>`.
///
/// Whether an entry is valid depends on `id` and `predecessor` only, so that every version, older and newer, judges it
/// alike. Their place is fixed for all formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// Which entry.
    pub id: EntryId,
    /// The valid entry before it; [`EntryId::NONE`] for the first.
    pub predecessor: EntryId,
    /// The format of its body.
    pub format: u32,
    /// The newest complete snapshot when it was decided; none in the first entry.
    pub snapshot: Option<SnapshotRef>,
}

impl EntryHeader {
    /// Stands for a format that no version writes: what follows the predecessor could not be read.
    pub const FORMAT_UNREADABLE: u32 = u32::MAX;
}

impl fmt::Display for EntryHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot.unwrap_or(SnapshotRef {
            sequence: Sequence(0),
            id: EntryId::NONE,
        });
        write!(
            f,
            "{} {} {} {} {}",
            self.id, self.predecessor, self.format, snapshot.sequence, snapshot.id
        )
    }
}

impl FromStr for EntryHeader {
    type Err = Invalid;

    /// Fails only where no id and predecessor can be read: such a message is no entry. What follows them belongs to the
    /// format, and where it cannot be read the format is [`EntryHeader::FORMAT_UNREADABLE`].
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut words = text.split(' ');
        let mut id = || words.next().unwrap_or_default().parse::<EntryId>();
        let (id, predecessor) = (id()?, id()?);
        let mut rest = || {
            let format = words.next()?.parse().ok()?;
            let sequence = Sequence(words.next()?.parse().ok()?);
            let snapshot: EntryId = words.next()?.parse().ok()?;
            let snapshot = (sequence > Sequence(0)).then_some(SnapshotRef {
                sequence,
                id: snapshot,
            });
            Some((format, snapshot))
        };
        let (format, snapshot) = rest().unwrap_or((Self::FORMAT_UNREADABLE, None));
        Ok(Self {
            id,
            predecessor,
            format,
            snapshot,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> EntryId {
        EntryId(Uuid::from_u128(n))
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let snapshot = Some(SnapshotRef {
            sequence: Sequence(17),
            id: id(3),
        });
        for snapshot in [snapshot, None] {
            let header = EntryHeader {
                id: id(1),
                predecessor: id(2),
                format: 2,
                snapshot,
            };
            assert_eq!(header.to_string().parse(), Ok(header));
        }
    }

    #[test]
    fn a_header_without_id_and_predecessor_is_none() {
        for text in ["", "a b 2 0 0", "00000000000000000000000000000001"] {
            assert!(text.parse::<EntryHeader>().is_err(), "{text:?}");
        }
        let upper = format!("{} {}", "A".repeat(32), id(1));
        assert!(upper.parse::<EntryHeader>().is_err());
    }

    #[test]
    fn what_follows_the_predecessor_belongs_to_the_format() {
        for rest in ["", " x", " 2", " 2 1", " 2 1 x", " 99999999999 1 1"] {
            let header: EntryHeader = format!("{} {}{rest}", id(1), id(2)).parse().unwrap();
            assert_eq!(header.predecessor, id(2));
            assert_eq!(header.format, EntryHeader::FORMAT_UNREADABLE, "{rest:?}");
        }
    }
}
