//! onex-registry.
