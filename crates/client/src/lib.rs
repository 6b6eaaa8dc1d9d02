//! Typed calls to a registry, for the command line and for other programs.
//!
//! [`Client`] has a call for every endpoint, with timeouts and repetitions. [`Client::hold`] takes a lease and keeps
//! it: [`LeaseGuard`] renews, and tells when the port must no longer be used. [`Node::builder`] registers a node and keeps
//! it alive, with its ports.
//!
//! ```no_run
//! # async fn serve(_: tokio::net::TcpListener) {}
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use onex_client::{Client, Node, protocol::names::Namespace};
//!
//! let nats = async_nats::connect("nats://127.0.0.1:4222").await?;
//! let client = Client::new(nats, Namespace::default());
//! let node = Node::builder("calc").version("1.0.0").port("http", "http").start(&client).await?;
//! let life = node.online().await?;
//! let listener = life.listen("http", [127, 0, 0, 1].into()).await?;
//! tokio::select! {
//!     () = serve(listener) => {}
//!     ending = life.ending() => eprintln!("the port is not used any more: {}", ending.why),
//! }
//! node.deregister().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/node.rs` of this repository is a whole program.

mod admin;
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
mod rebind;
mod tenure;

pub use call::{AGE_MAX, AGE_MIN, Client, TIMEOUT_DEFAULT, TIMEOUT_MAX};
pub use clock::{BootTime, sleep_until};
pub use direct::Direct;
pub use error::{Error, Loss};
pub use hold::LeaseGuard;
pub use keep::Ending;
pub use node::{
    CALLS_AT_ONCE_DEFAULT, CALLS_AT_ONCE_MAX, Call, Calls, DRAIN_DEFAULT, Failure, Life, Node,
    NodeBuilder, OnLoss, OrFail,
};
pub use onex_machine::own_host;
pub use onex_protocol as protocol;
pub use onex_types::{chain, holder::Holder, ids, span};
pub use pages::{Items, Pages};
