//! The wire protocol: subjects, headers, requests, replies and errors. Both sides use these types.

pub mod describe;
pub mod endpoint;
pub mod error;
pub mod frame;
pub mod names;
pub mod pool;
pub mod port;
pub mod schema;
pub mod time;
