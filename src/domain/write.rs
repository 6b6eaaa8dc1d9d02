//! One message to the bucket.

use super::{
    key::{Key, Revision},
    record::Stored,
};

/// A compare-and-set: `value` goes under `key` if that is still at `expected`.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// The revision that was judged; 0 where nothing was ever written.
    pub expected: Revision,
    /// What.
    pub value: Stored,
}
