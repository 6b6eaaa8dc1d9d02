//! Plain values of the core, as the wire and the registry use them.

pub use onex_core::{call, node, trust};
pub use onex_types::{ids, key, ports as pool, time};
