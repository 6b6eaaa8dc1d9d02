#![doc = include_str!("../docs/architecture.md")]

pub mod cli;
pub mod client;
pub mod connect;
pub mod domain;
pub mod embedded;
pub mod protocol;
pub mod registry;
pub mod server_version;
pub mod store;

/// An error with all that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
