//! onex-registry.

pub mod embedded;
