//! Names, numbers, keys and times that every part of onex-registry shares. A value of these types is a valid one: each
//! has a checked constructor. Nothing here reads a clock, draws a random number or does I/O.

pub mod bound_names;
pub mod bounds;
mod causes;
pub mod endpoint_uri;
pub mod entry;
pub mod holder;
pub mod ids;
pub mod key;
pub mod kinds;
pub mod listener;
pub mod ports;
mod schema;
mod span;
mod text_id;
pub mod time;

pub use causes::chain;
pub use span::span;
