//! What the tests against real processes share: a nats-server, registries, callers, holders, and what they tell.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]
// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod caller;
mod events;
mod files;
mod follow;
mod greeting;
mod holder;
mod json;
mod ledger;
mod log;
mod nats;
mod node;
mod provider;
mod proxy;
mod registry;
mod terminal;
mod traffic;
mod user;
mod view;
mod waiting;

use std::time::Duration;

pub(crate) use caller::{Caller, Refused, Reply, header_map, lease_request};
pub(crate) use events::{Event, Events};
pub(crate) use files::{installed, root};
pub(crate) use follow::follow;
pub(crate) use greeting::greeting;
pub(crate) use holder::{Holder, HolderPlan};
pub(crate) use json::with;
pub(crate) use ledger::Ledger;
pub(crate) use log::Log;
pub(crate) use nats::{Nats, free_port};
pub(crate) use node::{claim, node, tool};
pub(crate) use provider::{Got, Provider};
pub(crate) use proxy::Proxy;
pub(crate) use registry::Registry;
pub(crate) use terminal::terminal;
pub(crate) use user::{Ran, User, assert_members};
pub(crate) use view::View;
pub(crate) use waiting::{ended, until, wait_for};

/// Far longer than anything here takes; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A host's name, and ports that are not tried: for tests of what is asked and answered.
pub(crate) const UNTRIED: [&str; 3] = ["--host", "here", "--no-probe"];

/// Waits until the server has done all that this connection has told it. To flush is less: then it is only sent, and what
/// another connection says can be before it.
pub(crate) async fn round_trip(nats: &async_nats::Client) {
    let inbox = nats.new_inbox();
    let mut echo = nats.subscribe(inbox.clone()).await.unwrap();
    nats.publish(inbox, "".into()).await.unwrap();
    let echoed = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut echo)).await;
    echoed.unwrap().unwrap();
}

/// A registry, with [`UNTRIED`], whose store can fall silent, and a caller that hears everything.
pub(crate) async fn behind_wire(args: &[&str]) -> (Nats, Proxy, Registry, Caller) {
    let nats = Nats::start();
    let wire = Proxy::to(&nats.url()).await;
    let url = wire.url();
    let mut registry = Registry::spawn(&[&["--nats", &url], &UNTRIED[..], args].concat());
    registry.await_ready();
    let caller = Caller::connect(&nats.url()).await;
    (nats, wire, registry, caller)
}
