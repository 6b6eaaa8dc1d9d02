//! The first storage format: a key-value bucket with a key for each record, from which a log is made once.
//!
//! Everything that a record promised goes on: leases with their ports, holders, ids, fencing tokens and requests, lives of
//! nodes and what belongs to them. A port whose record cannot be read stays reserved for the longest TTL, as it would have
//! been in that format.

mod convert;
mod written;

#[cfg(test)]
mod tests;

use onex_types::ids::Ttl;

use crate::{key::Key, record::Record};

pub use convert::convert;

/// Bits of a revision of that format that hold a position in the stream; those above count how often the store went back.
const LINEAGE_SHIFT: u32 = 44;

/// The last message of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The key, as it is spelled in the bucket.
    pub key: String,
    /// Its position in the stream.
    pub sequence: u64,
    /// What it says.
    pub value: Value,
}

/// What the last message of a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A record.
    Body(Vec<u8>),
    /// The key was removed by a registry.
    Forgotten,
    /// The key was removed by somebody else.
    Removed,
}

/// What a log begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Converted {
    /// The records, in the order in which they are to be put: what belongs to a life behind that.
    pub records: Vec<(Key, Record)>,
    /// The highest revision that anybody can know of.
    pub revision: u64,
    /// How many there are of each kind.
    pub counts: ConvertedCounts,
    /// What cannot be taken over.
    pub left: Vec<Left>,
}

/// How many records were taken over, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConvertedCounts {
    /// Leases that have not ended.
    pub leases: usize,
    /// Ports that cool down, or that remember their last lease.
    pub ports: usize,
    /// Nodes, ended ones that are remembered included.
    pub nodes: usize,
    /// Buses, ended ones that are remembered included.
    pub buses: usize,
    /// Nodes of which validators have said something.
    pub trust: usize,
    /// Calls with a request id.
    pub calls: usize,
    /// Nodes whose executions are counted.
    pub counts: usize,
    /// Hosts whose names are known.
    pub hosts: usize,
    /// Changes that no event has told of.
    pub unpublished: usize,
}

/// A record that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its key.
    pub key: String,
    /// Why it was left out.
    pub why: String,
    /// For how long the port that it is about stays reserved; absent where it is about none.
    pub reserved: Option<Ttl>,
}

/// A revision as programs outside saw it.
fn revision(lineage: u64, sequence: u64) -> u64 {
    (lineage << LINEAGE_SHIFT) | sequence
}
