//! The wire protocol: subjects, headers, requests, replies and errors. Both sides use these types.

mod admits;
pub mod bounds;
pub mod bus;
mod call_records;
pub mod canonical;
pub mod catalog;
pub mod contract;
pub mod describe;
pub mod detail;
pub mod endpoint;
pub mod error;
pub mod event;
mod event_schema;
mod exact;
mod examples;
pub mod frame;
pub mod invoke;
pub mod json;
mod keyword;
pub mod names;
pub mod node;
pub mod node_life;
mod node_records;
pub mod node_view;
mod pointer;
pub mod pool;
pub mod port;
pub mod provide;
pub mod records;
pub mod schema;
mod schema_graph;
pub mod schemas;
mod secrets;
pub mod subject;
pub mod teach;
pub mod time;
pub mod tool;
pub mod trust;
mod unknown;
pub mod uri;
pub mod validator;
mod violation;
mod whole;

#[cfg(test)]
mod tests;
