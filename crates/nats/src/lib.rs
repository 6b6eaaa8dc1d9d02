//! Reaching a NATS server, and which servers are new enough. Knows nothing of the registry.

pub mod connect;
mod elsewhere;
pub mod server_version;
pub mod serving;
