//! Typed calls to a registry, for the command line and for other programs.
//!
//! [`Client`] has a call for every endpoint, with timeouts and repetitions. [`Client::hold`] takes a lease and keeps
//! it: [`LeaseGuard`] renews, and tells when the port must no longer be used. [`Node::builder`] registers a node and keeps
//! it alive, with its ports.

mod call;
mod clock;
mod direct;
mod error;
mod hold;
mod invoke;
mod keep;
mod node;
mod nodes;
mod pages;
mod ports;
mod tenure;

pub use crate::machine::own_host;
pub use call::{Client, TIMEOUT_DEFAULT, TIMEOUT_MAX};
pub(crate) use clock::span;
pub use clock::{BootTime, sleep_until};
pub use direct::Direct;
pub use error::{Error, Loss};
pub use hold::LeaseGuard;
pub use keep::Ending;
pub use node::{
    CALLS_AT_ONCE_DEFAULT, CALLS_AT_ONCE_MAX, Call, Calls, DRAIN_DEFAULT, Failure, Life, Node,
    NodeBuilder, OnLoss, OrFail,
};
pub use pages::{Items, Pages};
