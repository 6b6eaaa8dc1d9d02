//! Bounds that programs, the registry and its log share.

/// What every contract hash begins with: by which rules it was made. Those of `1` counted a tool's version, and began
/// with `sha256:`.
pub const CONTRACT_HASH_PREFIX: &str = "c2:";

/// Tools of one node, at most.
pub const NODE_TOOLS_MAX: usize = 256;
/// Regular expressions in all tools of one node, at most: a short one may take long to compile.
pub const NODE_PATTERNS_MAX: usize = 256;

/// Ports of one lease in each port space, at most.
pub const LEASE_PORTS_MAX: u16 = 64;

/// Ranges of a host's pool, and of what of it is reserved, at most.
pub const POOL_RANGES_MAX: usize = 64;

/// An instance that has heard nothing of its log for so long may know less than others, in milliseconds: what it knows is
/// told only to who asks for that.
pub const STALE_MILLIS: u64 = 10_000;

/// Names and addresses that one host may have beside its own name.
pub const ALIASES_MAX: usize = 128;
