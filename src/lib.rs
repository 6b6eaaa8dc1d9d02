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

pub mod cli;
pub mod client;
pub mod codegen;
pub mod embedded;
pub mod machine;
pub mod protocol;
pub mod registry;
mod serving;
mod throttle;

pub use client::{Client, LeaseGuard, Node};
pub use onex_nats::{connect, server_version};
pub use onex_types::ids;

/// An error with all that caused it, on one line. What an error and its cause both say is said once, where the cause
/// says it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // Some errors say of what caused them themselves.
        for part in error.to_string().split(": ") {
            said.retain(|before| before != part);
            said.push(part.to_owned());
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    /// An error of these texts, the outermost first.
    #[track_caller]
    fn check(texts: &[&'static str], chain: &str) {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Said(
            &'static str,
            #[source] Option<Box<dyn std::error::Error + Send + Sync>>,
        );
        let causes = texts.iter().rev();
        let error = causes.fold(None, |cause, text| {
            Some(Box::new(Said(text, cause)) as Box<dyn std::error::Error + Send + Sync>)
        });
        let error = Error::other(error.unwrap());
        assert_eq!(super::chain(&error), chain);
    }

    #[test]
    fn chain_says_everything_once() {
        check(&["no connection", "refused"], "no connection: refused");
        let once = "cannot connect: nats: authorization violation";
        let refused = "authorization violation: nats: authorization violation";
        check(&["cannot connect", refused], once);
        check(
            &["cannot connect", refused, "nats: authorization violation"],
            once,
        );
        check(&["IO error: gone", "gone"], "IO error: gone");
        check(&["a", "b", "b"], "a: b");
    }
}
