//! The running registry.

mod agent;
mod background;
mod bus;
mod callers;
mod clock;
mod connection_events;
mod contracts;
mod doctor;
mod driver;
mod fair_queue;
mod fatal;
mod grants;
mod handlers;
mod high_water;
mod host_records;
mod hosts;
mod intake;
mod invoke;
mod journal;
mod lifecycle;
mod message;
mod micro;
mod on_the_wire;
mod own_host;
mod own_ranges;
mod pause;
mod peers;
mod probing;
mod queries;
mod refusal;
mod registration;
mod request;
mod request_id;
mod rights;
mod session;
pub mod settings;
mod start;
mod start_error;
mod stop;
pub mod stored;

pub use agent::{Agent, AgentSettings};
pub use doctor::{
    Accepted, Check, Doctor, DoctorError, LeftRecord, Report, Status, StreamReport, Unreached,
    Upgraded, check_names,
};
pub use fatal::Fatal;
pub use high_water::{Note, Notes};
pub use lifecycle::Registry;
pub use onex_log::{BackupError, Saved};
pub use start_error::StartError;
