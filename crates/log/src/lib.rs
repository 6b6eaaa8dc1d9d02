//! The ordered log: one JetStream stream with one subject, `$KV.<bucket>.log`, whose history is kept. This crate moves
//! bytes: it appends entries by compare-and-append, follows them in order, reads single ones and trims the front. It knows
//! nothing of what an entry's body says, and decides nothing: which entry to send at which sequence, what a refusal or
//! silence means, and where to follow from is the engine's.
//!
//! - [`Store`] answers questions, from any task: settings, state, one entry, the last one; and trims.
//! - [`Derived`] is a stream of what is made from the log: events, and a bucket that shows the state to people.
//! - [`Inspector`] looks at a server and its streams as they are, and refuses nothing.
//! - [`Log`] belongs to one loop. [`Log::follow`] starts a *session*: a TCP connection, an inbox for acknowledgements and a
//!   consumer. [`Log::next`] hands out what comes. A session ends with [`Event::Lost`], and everything of it ends with it:
//!   no acknowledgement of an old session follows, nothing is sent again by itself, and nothing starts before the caller
//!   says from which sequence.
//!
//! The client library panics on some header blocks, in the task of its connection. Nothing here may be built with
//! `panic = "abort"`.

mod account;
mod api;
mod append;
mod backup;
mod batch;
mod bucket;
mod derived;
mod derived_append;
mod error;
mod event;
#[cfg(test)]
mod fake;
mod follow;
mod format_one;
mod header;
mod history;
mod inspect;
mod link;
mod log;
mod open;
mod session;
mod settings;
mod starting;
mod store;
mod upgrade;

pub use account::Account;
pub use api::{Found, Info, Peer};
pub use append::Append;
pub use backup::{BackupError, Saved, backup, restore};
pub use bucket::{BucketNames, REMOVED_KEPT_SECONDS};
pub use derived::{Derived, DerivedMessage, DerivedOptions, Tail};
pub use error::{Difference, Error, Lost};
pub use event::{Delivery, Event, Refusal};
pub use inspect::{Inspector, Server, Stream, published, published_of};
pub use log::Log;
pub use open::{Options, exists, open, open_existing};
pub use starting::Size;
pub use store::Store;
pub use upgrade::{Bucket, FormatOne, KeyMessage, Upgrade};
