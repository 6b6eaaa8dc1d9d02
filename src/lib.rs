//! onex-registry.

pub mod domain;
