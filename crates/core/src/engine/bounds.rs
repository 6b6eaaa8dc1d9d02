//! Sizes and times of the engine.

pub use onex_types::bounds::STALE_MILLIS;

/// Commands that one entry holds at most: with 300 bytes each they fit [`ENTRY_BYTES_MAX`], and an append of that many
/// costs the server hardly more than one of a single command.
pub const ENTRY_COMMANDS_MAX: usize = 512;
/// What ends because its time is up, in an entry that requests are in, at most: whoever asked waits until all of the entry
/// is written.
pub const EXPIRIES_BESIDE_REQUESTS: usize = ENTRY_COMMANDS_MAX / 4;
/// An entry is closed when it is as long as this, in bytes; the last command may exceed it.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// How long an append is waited for before the same is sent again, in milliseconds.
pub const APPEND_SILENCE_MILLIS: u64 = 1_000;
/// How long until an append that nobody took is sent again, because the stream has no leader, in milliseconds.
pub const LEADERLESS_MILLIS: u64 = 100;
/// How long a refused append waits for the entry that took its place, before that is asked for, in milliseconds.
pub const CONFLICT_WAIT_MILLIS: u64 = 100;
/// Entries that change nothing are at least this far apart, in milliseconds.
pub const EMPTY_ENTRY_MILLIS: u64 = 5;
/// An instance that has seen no entry for so long appends an empty one, in milliseconds.
pub const QUIET_MILLIS: u64 = 5_000;
/// Only within this time after a grant was sent is its port tried, in milliseconds.
pub const PROBE_MILLIS: u64 = 1_000;
/// A grant whose port was found free is noted in the next entry: in one of its own only when there was none for so long, in
/// milliseconds.
pub const CONFIRM_MILLIS: u64 = 20;
/// A grant that may be being tried by its granter is answered to others so long after it was applied, in milliseconds.
pub const PROBE_WAIT_MILLIS: u64 = 1_200;
/// Commands of one queue that wait at most: two seconds' worth of what one instance decides.
pub const WAITING_MAX: usize = 65_536;
