//! The running registry.

mod announce;
mod availability;
mod background;
mod clock;
mod contracts;
mod doctor;
mod driver;
mod fatal;
mod handlers;
mod high_water;
mod host_records;
mod hosts;
mod intake;
mod invoke;
mod journal;
mod lanes;
mod lifecycle;
mod micro;
mod news;
mod own_host;
mod peers;
mod queries;
mod refusal;
mod requests;
mod rights;
mod seldom;
pub mod settings;
mod shape;
mod stall;
mod stop;

pub use availability::ephemeral_range;
pub use doctor::{Accepted, Doctor, DoctorError, Report};
pub use fatal::Fatal;
pub use high_water::{Note, Notes};
pub use lifecycle::{Registry, StartError};
pub use refusal::error as refusal_error;
