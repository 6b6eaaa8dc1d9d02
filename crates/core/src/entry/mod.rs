//! What an entry of the log says: the changes of all commands that were decided together.
//!
//! ```json
//! {"rev":48211,"at":"2026-11-29T18:00:00.000Z","cmds":[
//!   "port.build-7.tcp.20018",
//!   {"c":"port.lease","x":"deploy-81","do":[{"put":"port.build-7.tcp.20017","lease":{…},"ev":{"kind":"port.leased"}}]}]}
//! ```

mod change;
mod event;
mod read;
mod reported;

use std::fmt;

use jiff::Timestamp;
use onex_types::ids::RequesterId;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapAccessDeserializer},
};

pub use change::{Change, Chunk, Kept};
pub use event::{EventRecord, Gap};
pub use onex_types::kinds::EventKind;
pub use reported::Reported;

use crate::key::Key;

/// The format of entries that this version writes and understands, once the log was raised to it. Format 1 was a bucket
/// with a key for each record.
pub const FORMAT: u32 = 2;
/// The format of a log that was never raised.
pub const FORMAT_FIRST: u32 = 2;

/// Whether this version understands entries of that format.
pub fn is_understood(format: u32) -> bool {
    (FORMAT_FIRST..=FORMAT).contains(&format)
}

/// An entry's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The revision of its first command; the others follow one by one.
    pub rev: u64,
    /// When it was decided, for people.
    pub at: Timestamp,
    /// What its commands changed, in the order in which they were decided. A command that changed nothing is not here.
    pub cmds: Vec<CommandRecord>,
}

impl Entry {
    /// How many events it has.
    pub fn event_count(&self) -> usize {
        let changes = self.cmds.iter().flat_map(CommandRecord::changes);
        changes.filter(|change| change.event().is_some()).count()
    }

    /// Its commands, each with its revision.
    pub fn commands(&self) -> impl Iterator<Item = (u64, &CommandRecord)> {
        self.cmds.iter().scan(self.rev, |next, command| {
            let revision = *next;
            *next = command.reaches(revision).saturating_add(1);
            Some((revision, command))
        })
    }

    /// The revision that the state has reached with it.
    pub fn last_revision(&self) -> u64 {
        let last = self.commands().last();
        last.map_or(self.rev.saturating_sub(1), |(revision, command)| {
            command.reaches(revision)
        })
    }
}

/// What one command changed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CommandRecord {
    /// A lease or a node lasts its TTL again. Written as the bare key, because nine commands in ten are this one.
    Renewal(Key),
    /// Anything else.
    Other(Box<Changes>),
}

impl CommandRecord {
    /// Its changes, but for a renewal, which is one by itself.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Renewal(_) => &[],
            Self::Other(changes) => &changes.changes,
        }
    }
}

impl CommandRecord {
    /// The revision that the state has with it, if it is the command of that revision.
    pub fn reaches(&self, revision: u64) -> u64 {
        let skips = self.changes().iter().filter_map(|change| match change {
            Change::Skip { to } => Some(*to),
            _ => None,
        });
        skips.fold(revision, u64::max)
    }
}

/// The changes of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// What was asked for: the name of an endpoint, or of something that the registry does by itself.
    #[serde(rename = "c")]
    pub command: String,
    /// The correlation id of the request.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Who asked.
    #[serde(rename = "by", default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// What it did; never empty.
    #[serde(rename = "do")]
    pub changes: Vec<Change>,
}

impl<'de> Deserialize<'de> for CommandRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyOrChanges;
        impl<'de> de::Visitor<'de> for KeyOrChanges {
            type Value = CommandRecord;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key or an object")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandRecord, E> {
                text.parse().map(CommandRecord::Renewal).map_err(E::custom)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<CommandRecord, A::Error> {
                let changes = Changes::deserialize(MapAccessDeserializer::new(map))?;
                Ok(CommandRecord::Other(Box::new(changes)))
            }
        }
        deserializer.deserialize_any(KeyOrChanges)
    }
}

#[cfg(test)]
mod tests;
