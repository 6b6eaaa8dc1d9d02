//! How much there is on a host.

use jiff::Timestamp;

/// What there is on a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostUse {
    pub(crate) records: usize,
    pub(crate) held: usize,
    pub(crate) has_pool: bool,
    /// When something last happened to one of its ports, for people.
    pub(crate) last: Timestamp,
}

impl Default for HostUse {
    fn default() -> Self {
        Self {
            records: 0,
            held: 0,
            has_pool: false,
            last: Timestamp::MIN,
        }
    }
}
