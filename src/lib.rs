//! The registry and its command line, `onex`. What programs use is in `crates/client`; this page is for whoever changes the
//! code.
//!
#![doc = include_str!("../docs/architecture.md")]

pub mod cli;
pub mod codegen;
pub mod embedded;
pub mod registry;
mod throttle;

pub use client::{Client, LeaseGuard, Node};
pub use onex_client as client;
pub use onex_contract as contract;
pub use onex_nats::{connect, server_version};
pub use onex_protocol as protocol;
pub use onex_types::ids;
