//! What one command changes, one key at a time, as it is written; `read` reads it.

use jiff::Timestamp;
use onex_types::ids::Ttl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::EventRecord;
use crate::{
    key::Key,
    lease::LeaseEnd,
    record::Record,
    record_parts::{Json, Request, is_false, is_zero},
};

/// One change of one key: an object whose first member names its kind, and holds the key.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Change {
    /// The key has this record now.
    Put {
        /// The key of the record.
        #[serde(rename = "put")]
        key: Key,
        /// The record as it is from now on.
        #[serde(flatten)]
        record: Record,
        /// It is a grant whose port is still being tried, and that its granter may roll back.
        #[serde(skip_serializing_if = "is_false")]
        tentative: bool,
        /// What to publish.
        #[serde(rename = "ev", skip_serializing_if = "Option::is_none")]
        event: Option<EventRecord>,
    },
    /// A lease or a node lasts its TTL again, and more changes than that.
    Renew {
        /// The key of the lease or life.
        #[serde(rename = "renew")]
        key: Key,
        /// Its TTL from now on, in seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<Ttl>,
        /// The request that asked for it.
        #[serde(rename = "req", skip_serializing_if = "Option::is_none")]
        request: Option<Request>,
        /// Of a node: what it says of its health, where that has changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        health: Option<Json>,
    },
    /// A grant is tentative no longer: it is never rolled back.
    Confirm {
        /// The key of the lease.
        #[serde(rename = "confirm")]
        key: Key,
    },
    /// A lease ends: the key has a `cooldown` now. What becomes of its other ports is said of each.
    End {
        /// The key of the lease.
        #[serde(rename = "end")]
        key: Key,
        /// How the lease ends.
        how: LeaseEnd,
        /// How long nobody gets the port, in milliseconds, where that does not follow from how it ended: one minute for
        /// `in_use` and `rebound`, no time for the others.
        #[serde(skip_serializing_if = "Option::is_none")]
        cooldown_ms: Option<u64>,
        /// The request that asked for it.
        #[serde(rename = "req", skip_serializing_if = "Option::is_none")]
        request: Option<Request>,
        /// What to publish.
        #[serde(rename = "ev", skip_serializing_if = "Option::is_none")]
        event: Option<EventRecord>,
    },
    /// More executions of a node's tools have ended: they add to its `counts`.
    Add {
        /// Which counts.
        #[serde(rename = "add")]
        key: Key,
        /// How many.
        runs: u64,
        /// How many of them were answered with a result; absent for none.
        #[serde(skip_serializing_if = "is_zero")]
        ok: u64,
    },
    /// The key has no record any more.
    Delete {
        /// The key of the record.
        #[serde(rename = "del")]
        key: Key,
        /// What to publish.
        #[serde(rename = "ev", skip_serializing_if = "Option::is_none")]
        event: Option<EventRecord>,
    },
    /// No command has the revisions up to that one: the next has a higher one.
    Skip {
        /// The revision.
        #[serde(rename = "skip")]
        to: u64,
    },
    /// A part of a snapshot: every record of a range of keys. Changes nothing.
    Chunk {
        /// The part.
        chunk: Box<Chunk>,
    },
}

impl Change {
    /// Numbers what is told of it: `next` says which number is next for its key.
    pub(crate) fn number(&mut self, mut next: impl FnMut(&Key) -> u64) {
        if let Self::Put { key, event, .. }
        | Self::End { key, event, .. }
        | Self::Delete { key, event } = self
            && let Some(event) = event
        {
            event.n = next(key);
        }
    }

    /// Whether something in it may be nested as deeply as somebody outside likes. Ids, names, numbers and times are not: what
    /// is written of those can be read.
    pub(crate) fn is_free_form(&self) -> bool {
        let record = match self {
            Self::Put { record, .. } => match record {
                Record::Lease(lease) => !lease.unknown.is_empty(),
                Record::Member(_) | Record::Cooldown(_) | Record::Request(_) => false,
                _ => true,
            },
            Self::Renew { health, .. } => health.is_some(),
            Self::Confirm { .. }
            | Self::End { .. }
            | Self::Add { .. }
            | Self::Delete { .. }
            | Self::Skip { .. } => false,
            Self::Chunk { .. } => true,
        };
        record || self.event().is_some_and(EventRecord::is_free_form)
    }

    /// The key whose record it changes.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. }
            | Self::Renew { key, .. }
            | Self::Confirm { key }
            | Self::End { key, .. }
            | Self::Add { key, .. }
            | Self::Delete { key, .. } => Some(key),
            Self::Skip { .. } | Self::Chunk { .. } => None,
        }
    }

    /// What to publish of it.
    pub fn event(&self) -> Option<&EventRecord> {
        match self {
            Self::Put { event, .. } | Self::End { event, .. } | Self::Delete { event, .. } => {
                event.as_ref()
            }
            Self::Renew { .. }
            | Self::Confirm { .. }
            | Self::Add { .. }
            | Self::Skip { .. }
            | Self::Chunk { .. } => None,
        }
    }
}

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Which snapshot.
    pub snapshot: Uuid,
    /// Counts its chunks from 0.
    pub n: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// The lowest key of its range; absent in the first chunk, which has no lower end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Key>,
    /// The lowest key above its range; absent in the last chunk, which has no upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Key>,
    /// Every record of the range as of this entry.
    pub records: Vec<Kept>,
}

/// A record of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Its key.
    pub key: Key,
    /// The revision of the command that last changed it.
    pub rev: u64,
    /// When that was.
    pub at: Timestamp,
    /// Whether it is a tentative grant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tentative: bool,
    /// The number of its last event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub event_count: u64,
    /// The record.
    pub record: Record,
}
