//! onex-registry.

pub mod connect;
pub mod domain;
pub mod protocol;
pub mod store;
