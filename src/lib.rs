//! Ports and nodes of an event bus, over NATS. What programs use is in [`client`]: a [`Client`] with a call for every
//! endpoint, a [`LeaseGuard`] that keeps a port leased, and a [`Node`] that is kept registered with all that it offers.
//!
//! ```no_run
//! # async fn serve(_: tokio::net::TcpListener) {}
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use onex_registry::{Client, Node, protocol::names::Namespace};
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
//! `examples/node.rs` is a whole program. The rest of this page is for whoever changes this crate.
//!
#![doc = include_str!("../docs/architecture.md")]

mod causes;
pub mod cli;
pub mod client;
pub mod codegen;
pub mod embedded;
pub mod machine;
pub mod protocol;
pub mod registry;
mod serving;
mod throttle;

pub use causes::chain;
pub use client::{Client, LeaseGuard, Node};
pub use onex_nats::{connect, server_version};
pub use onex_types::ids;
