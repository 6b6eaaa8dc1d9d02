//! The wire protocol: subjects, headers, requests, replies and errors. Both sides use these types.

pub mod admin;
pub mod attempt;
pub mod bounds;
pub mod bus;
pub mod catalog;
pub mod describe;
pub mod detail;
pub mod details_by_code;
pub mod endpoint;
pub mod error;
pub mod event;
mod event_schema;
mod examples;
pub mod explain;
pub mod frame;
pub mod inbox;
pub mod invoke;
pub mod json;
pub mod message_schema;
pub mod names;
pub mod node;
pub mod node_life;
pub mod node_view;
pub mod percent;
pub mod pointer;
pub mod pool;
pub mod port;
pub mod probe;
pub mod provide;
pub mod provider_error;
mod schema;
pub mod schemas;
mod secrets;
pub mod subject;
pub mod teach;
pub mod time;
pub mod tool;
pub mod trust;
mod unknown;
pub mod uri;
pub mod violation;
pub mod warning;
mod whole;

#[cfg(test)]
mod tests;
