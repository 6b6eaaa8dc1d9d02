//! onex-registry.

pub mod domain;

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
