//! The running registry.

mod announce;
mod answer;
mod availability;
mod barrier;
mod buses;
mod calls;
mod clock;
mod commit;
mod contracts;
mod executions;
mod fatal;
mod follower;
mod hosts;
mod invoke;
mod journal;
mod micro;
mod mirror;
mod news;
mod nodes;
mod peers;
mod publisher;
mod queries;
mod reaper;
mod requests;
mod seldom;
mod serve;
pub mod settings;
mod shape;
mod stall;
mod start;
mod stop;
mod sys;
mod view;

pub use availability::ephemeral_range;
pub use fatal::Fatal;
pub use start::{Registry, StartError};
